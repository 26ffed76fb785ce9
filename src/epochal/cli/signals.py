"""SIGINT and SIGTERM: the first one lets a run save itself and end, a second one ends the process at once."""

import os
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Any, Self


class Interrupted(BaseException):
    """A signal came where no training runs. `code` is the exit code: 130 for SIGINT, 143 for SIGTERM."""

    def __init__(self, code: int):
        super().__init__(code)
        self.code = code


class Signals:
    """While it is entered, the first signal asks the training that runs to stop after its stretch, or raises.

    All files are written whole or not at all, so that a second signal may end the process wherever it is.
    """

    def __init__(self) -> None:
        self._training: Any = None  # a training or a selection: what can be asked to stop
        self.code = 0

    def __enter__(self) -> Self:
        self._before = {number: signal.signal(number, self._receive) for number in (signal.SIGINT, signal.SIGTERM)}
        return self

    def __exit__(self, *error: object) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)

    def watch(self, training: Any) -> None:
        """Signals stop `training` from now on; so does one that has come already, if an `except` has swallowed it."""
        self._training = training
        if self.code:
            training.stop("interrupted")

    @contextmanager
    def raising(self) -> Iterator[None]:
        """Once training has ended: signals raise again, also one that came at its end."""
        training, self._training = self._training, None
        if self.code:
            raise Interrupted(self.code)
        yield
        self._training = training

    def _receive(self, number: int, frame: FrameType | None) -> None:
        if self.code:
            os._exit(128 + number)
        self.code = 128 + number
        if self._training is None:
            raise Interrupted(self.code)
        self._training.stop("interrupted")
