"""What is wanted next is made while what is at hand is used: chunks of rows, orders of epochs."""

import threading
from collections.abc import Callable, Iterator
from queue import Queue
from typing import Generic, TypeVar, cast

T = TypeVar("T")

BUFFERS = 2
"""The one in use, and the one being made."""


class Stream(Generic[T]):
    """Runs makers in a thread of its own, one after another; never more than `BUFFERS` of what they make is alive."""

    def __init__(self, makers: Iterator[Callable[[], T]]):
        self._made: Queue[tuple[T | None, BaseException | None]] = Queue()
        self._room = threading.Semaphore(BUFFERS)
        self._closed = threading.Event()
        self._taken = False
        self._thread = threading.Thread(target=self._run, args=(makers,), name="epochal-stream", daemon=True)
        self._thread.start()

    def take(self) -> T:
        """What the next maker made; the caller has let go of the one before. Raises what the maker raised."""
        if self._taken:
            self._room.release()
        self._taken = True
        made, error = self._made.get()
        if error is not None:
            raise error
        return cast(T, made)

    def close(self) -> None:
        """Let the thread end; what is being made is finished and dropped."""
        self._closed.set()
        self._room.release()
        self._thread.join()

    def _run(self, makers: Iterator[Callable[[], T]]) -> None:
        try:
            for make in makers:
                self._room.acquire()
                if self._closed.is_set():
                    return
                self._made.put((make(), None))
        except BaseException as error:  # whatever it is, the thread that waits must hear of it
            self._made.put((None, error))
