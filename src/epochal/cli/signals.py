"""SIGINT and SIGTERM: the first one lets a run save itself and end, a second one ends the process at once."""

import os
import signal
from types import FrameType
from typing import TYPE_CHECKING, Self

if TYPE_CHECKING:
    from epochal.training import Training


class Interrupted(BaseException):
    """A signal came where there is nothing to save yet. `code` is the exit code: 130 for SIGINT, 143 for SIGTERM."""

    def __init__(self, code: int):
        super().__init__(code)
        self.code = code


class Signals:
    """While it is entered, the first signal asks `training` to stop after its stretch; before there is one, it raises.

    All files are written whole or not at all, so that a second signal may end the process wherever it is.
    """

    def __init__(self) -> None:
        self.training: Training | None = None
        self.code = 0

    def __enter__(self) -> Self:
        self._before = {number: signal.signal(number, self._receive) for number in (signal.SIGINT, signal.SIGTERM)}
        return self

    def __exit__(self, *error: object) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)

    def _receive(self, number: int, frame: FrameType | None) -> None:
        if self.code:
            os._exit(128 + number)
        self.code = 128 + number
        if self.training is None:
            raise Interrupted(self.code)
        self.training.stop("interrupted")
