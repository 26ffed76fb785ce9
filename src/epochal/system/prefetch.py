"""Prefetching: a thread computes what is needed next, such as a chunk of rows or the plan of an epoch."""

import threading
from collections.abc import Callable, Iterator
from functools import partial
from queue import Queue
from typing import Generic, TypeVar, cast

K = TypeVar("K")
T = TypeVar("T")

BUFFERS = 2
"""The result in use, and the one in work."""


class Prefetcher(Generic[T]):
    """Calls functions in a thread, one after another; never more than `BUFFERS` of their results are alive."""

    def __init__(self, makers: Iterator[Callable[[], T]]):
        self._results: Queue[tuple[T | None, BaseException | None]] = Queue()
        self._room = threading.Semaphore(BUFFERS)
        self._closed = threading.Event()
        self._holding = False
        self._thread = threading.Thread(target=self._run, args=(makers,), name="epochal-prefetch", daemon=True)
        self._thread.start()

    def take(self) -> T:
        """The next result; the caller has let go of the one before. Raises what the function raised."""
        if self._holding:
            self._room.release()
        self._holding = True
        result, error = self._results.get()
        if error is not None:
            raise error
        return cast(T, result)

    def close(self) -> None:
        """End the thread; the result that is in work is dropped."""
        self._closed.set()
        self._room.release()
        self._thread.join()

    def _run(self, makers: Iterator[Callable[[], T]]) -> None:
        try:
            for make in makers:
                self._room.acquire()
                if self._closed.is_set():
                    return
                self._results.put((make(), None))
        except BaseException as error:  # whatever it is, it is raised in the thread that waits
            self._results.put((None, error))


class Prefetched(Generic[K, T]):
    """Values by key: one is held at a time, and that of the following key is computed meanwhile."""

    def __init__(self, make: Callable[[K], T], following: Callable[[K], K]):
        """`make` runs in a thread of its own; a key that does not follow the last one starts a new thread."""
        self._make, self._following = make, following
        self._prefetcher: Prefetcher[T] | None = None
        self._held: tuple[K, T] | None = None

    def get(self, key: K) -> T:
        """The value of `key`; the caller has let go of the one before. Raises what `make` raises."""
        if self._held is None or self._held[0] != key:
            follows = self._held is not None and self._following(self._held[0]) == key
            self._held = None  # its memory is needed
            if not follows:
                self.close()
            if self._prefetcher is None:
                self._prefetcher = Prefetcher(self._makers(key))
            self._held = key, self._prefetcher.take()
        return self._held[1]

    def close(self) -> None:
        """End the thread, and let go of what is held."""
        if self._prefetcher:
            self._prefetcher.close()
        self._prefetcher, self._held = None, None

    def _makers(self, key: K) -> Iterator[Callable[[], T]]:
        while True:
            yield partial(self._make, key)
            key = self._following(key)
