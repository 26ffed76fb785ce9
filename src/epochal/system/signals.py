"""SIGINT, SIGTERM and SIGHUP: the first one lets a run save itself and end, a second one ends the process at once.

The command imports this before anything else, so it imports nothing that takes long.
"""

import _thread
import os
import signal
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from types import FrameType
from typing import Any, Self

NUMBERS = tuple(getattr(signal, name) for name in ("SIGINT", "SIGTERM", "SIGHUP") if hasattr(signal, name))
CODES = tuple(128 + number for number in NUMBERS)
"""Exit codes of an interrupted command: 130, 143, 129."""

_DELICATE = frozenset({"_xla_gc_callback", "__del__", "__eq__", "__hash__"})
_RETRY_SECONDS = 0.01


class Interrupted(BaseException):
    """A signal came where no training runs. `code` is the exit code: 130 for SIGINT, 143 SIGTERM, 129 SIGHUP."""

    def __init__(self, code: int):
        super().__init__(code)
        self.code = code


class Signals:
    """While it is entered, the first signal asks the training that runs to stop after its stretch, or raises.

    All files are written whole or not at all, so that a second signal may end the process wherever it is.
    """

    def __init__(self) -> None:
        self._training: Any = None  # a training or a selection: what can be asked to stop
        self._again, self._over = False, False
        self.code = 0
        self.meaning = "interrupted, nothing was left half-written"

    def __enter__(self) -> Self:
        # `nohup` has SIGHUP ignored, and means it.
        mine = [n for n in NUMBERS if n == signal.SIGINT or signal.getsignal(n) is not signal.SIG_IGN]
        self._hook, sys.unraisablehook = sys.unraisablehook, self._unraisable
        self._before = {number: signal.signal(number, self._receive) for number in mine}
        _ACTIVE.append(self)
        return self

    def __exit__(self, *error: object) -> None:
        _ACTIVE.remove(self)
        for number, handler in self._before.items():
            signal.signal(number, handler)
        sys.unraisablehook = self._hook

    def watch(self, training: Any) -> None:
        """Signals stop `training` from now on; so does one that has come already, if an `except` has swallowed it."""
        self._training = training
        if self.code:
            training.stop()

    @contextmanager
    def raising(self) -> Iterator[None]:
        """Once training has ended: signals raise again, also one that came at its end."""
        training, self._training = self._training, None
        if self.code:
            raise Interrupted(self.code)
        yield
        self._training = training

    def unwatch(self, meaning: str) -> None:
        """All is saved: signals raise again, and mean this."""
        self._training, self.meaning = None, meaning

    def over(self) -> None:
        """The outcome is settled: a first signal changes nothing any more, a second one ends the process."""
        self._over = True

    def _receive(self, number: int, frame: FrameType | None) -> None:
        if self._again:
            self._again = False
        elif self.code:
            os._exit(128 + number)
        self.code = self.code or 128 + number
        if self._over:
            return
        if self._training is not None:
            self._training.stop()
        elif _raisable(frame):
            raise Interrupted(self.code)
        else:
            self._retry()

    def _retry(self) -> None:
        """Receive the signal once more, a little later."""

        def later() -> None:
            time.sleep(_RETRY_SECONDS)
            self._again = True
            with suppress(RuntimeError):
                _thread.interrupt_main(signal.Signals(self.code - 128))

        with suppress(RuntimeError):  # no thread can be started
            _thread.start_new_thread(later, ())

    def _unraisable(self, unraisable: Any) -> None:
        if isinstance(unraisable.exc_value, Interrupted):  # where Python, or JAX, can only drop it
            self._retry()
        else:
            self._hook(unraisable)


_ACTIVE: list[Signals] = []


@contextmanager
def listening() -> Iterator[Signals]:
    """The `Signals` that this process has entered, or new ones."""
    if _ACTIVE:
        yield _ACTIVE[-1]
        return
    with Signals() as signals:
        yield signals


def _raisable(frame: FrameType | None) -> bool:
    """Whether an exception may come out of `frame`.

    Not while something is imported: the initialisation of C extensions that call Python (jaxlib's, NumPy's) ends in
    SIGSEGV or SIGABRT. Nor out of calls that a garbage collection or a hash table of C++ makes.
    """
    while frame is not None:
        code = frame.f_code
        if code.co_filename.startswith("<frozen importlib") or code.co_name in _DELICATE:
            return False
        frame = frame.f_back
    return True
