"""Where decoded images gather: in memory, or where they take more than is granted, in a file of the user's cache."""

from collections import Counter
from collections.abc import Callable, Mapping
from contextlib import ExitStack
from math import prod
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import numpy as np

from epochal.data.rows import Rows, blocks, file_rows
from epochal.errors import DataError
from epochal.system import disk_cache
from epochal.system.aligned import frozen, zeros
from epochal.system.disk import Output
from epochal.system.disk_cache import Entry

FILE, _GREY = "rows", "grey"


def with_channels(x: np.ndarray, axes: int) -> np.ndarray:
    """Images with a channel for each colour, where they are to have four `axes` and are grey: [rows, h, w, 1 or 3]."""
    return np.repeat(x[..., None], 3, axis=3) if x.ndim < axes else x


def stored(entry: Entry, shape: tuple[int, ...], dtype: np.dtype) -> Rows:
    """The rows that an entry keeps. Raises DataError where it has gone."""
    try:
        return file_rows(entry.folder / FILE, shape, dtype)
    except OSError as error:
        raise DataError(f"{entry.folder}: cannot be read: {error.strerror or error}; try again") from None


class ImageBuffer:
    """Rows of images that come in order, uint8; grey ones get three channels once one with colours comes.

    A context: what is not closed as a whole is removed.
    """

    def __init__(self, rows: int, limit: int, told: Callable[[], Any] | None):
        """Room for `rows` images; `told` makes the key of what is kept, it is asked for where that is needed."""
        self.rows, self.limit, self._told = rows, limit, told
        self.done, self.end = Counter[str](), 0
        self._x: np.ndarray[Any, Any] = np.empty((0, 0, 0), np.uint8)
        self._stack = ExitStack()
        self._entry: Entry | None = None
        self._output: Output | None = None
        self._making: disk_cache.EntryWriter | None = None
        self._shape: tuple[int, ...] = ()
        self._state: Any = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, where: TracebackType | None):
        self._stack.close()

    def add(self, answer: Mapping[str, Any]) -> bool:
        """More images; whether nothing more is needed, as all are in the cache already. Raises DataError."""
        x = answer["x"]
        if self._entry is None and (not self._shape or x.ndim > 1 + len(self._shape)):
            self._widen(x.shape[1:])
        if self._entry:
            return True
        x = with_channels(x, 1 + len(self._shape))
        if self._output:
            self._output.write(x)
        else:
            self._x[self.end : self.end + len(x)] = x
        self.end += len(x)
        self.done += Counter(answer["done"])
        return False

    def closed(self) -> tuple[Rows, Counter[str], list[str]]:
        """All rows, what was done to how many, and a note where they are kept."""
        if self._making and self._entry is None:
            assert self._output
            self._output.close()
            if self._state != self._told_now():
                raise DataError(f"{self._making.folder}: the images have changed while they were read; begin again")
            told = {"shape": [self.rows, *self._shape], "done": dict(self.done)}
            self._entry = self._making.commit(told, {FILE: self._output.digest})
        if self._entry:
            told = self._entry.metadata
            x = stored(self._entry, tuple(told["shape"]), np.dtype(np.uint8))
            return x, Counter(told["done"]), [self._entry.note("the images take", self.limit)]
        return frozen(self._x), self.done, []

    def _widen(self, shape: tuple[int, ...]) -> None:
        """Make room for images of a new shape, and bring those that are there already."""
        size = self.rows * prod(shape)
        before, self._shape = self._shape, shape
        if self._told is None or size <= self.limit:
            room = zeros((self.rows, *shape), np.uint8)
            if self.end:  # they were grey
                room[: self.end] = self._x[: self.end, ..., None]
            self._x = room
            return
        if not self._making:
            self._state = self._told_now()
            key = disk_cache.key(["images", self._state])
            self._entry = disk_cache.find(key)
            if self._entry:
                return
            self._making = self._stack.enter_context(disk_cache.writing(key))
        place, grey = self._making.folder / FILE, self._making.folder / _GREY
        old: Rows = self._x[: self.end]
        if self._output:
            self._output.close()
            place.rename(grey)
            old = file_rows(grey, (self.end, *before), np.dtype(np.uint8))
        self._output = output = self._stack.enter_context(Output(place, size))
        for _, block in blocks(old) if self.end else ():
            output.write(with_channels(block, 1 + len(shape)))
        Path(grey).unlink(missing_ok=True)
        self._x = np.empty((0, 0, 0), np.uint8)

    def _told_now(self) -> Any:
        assert self._told
        return self._told()
