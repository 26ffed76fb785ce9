"""Where decoded images gather: in memory, or where they take more than is granted, in a file of the user's cache."""

from collections import Counter
from collections.abc import Callable, Mapping
from contextlib import ExitStack
from math import prod
from typing import Any, Self

import numpy as np

from epochal.data.rows import ROWS, Rows, blocks, entry_rows, file_rows
from epochal.errors import DataError
from epochal.system.aligned import frozen, zeros
from epochal.system.disk import Output
from epochal.system.disk_cache import Overflow

_GREY = "grey"


def with_channels(x: np.ndarray, axes: int) -> np.ndarray:
    """Images with a channel for each colour, where they are to have four `axes` and are grey: [rows, h, w, 1 or 3]."""
    return np.repeat(x[..., None], 3, axis=3) if x.ndim < axes else x


class ImageBuffer:
    """Rows of images that come in order, uint8; grey ones get three channels once one with colours comes.

    A context: what is not closed as a whole is removed.
    """

    def __init__(self, rows: int, limit: int, key: Callable[[], Any] | None):
        """Room for `rows` images; `key` tells them from all others, and is called where they go to a file."""
        self.rows, self.limit, self._key = rows, limit, key
        self.done, self.end = Counter[str](), 0
        self._x: np.ndarray[Any, Any] = np.empty((0, 0, 0), np.uint8)
        self._stack = ExitStack()
        self._overflow: Overflow | None = None
        self._output: Output | None = None
        self._shape: tuple[int, ...] = ()
        self._state: Any = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        self._stack.close()

    def add(self, answer: Mapping[str, Any]) -> bool:
        """More images; whether nothing more is needed, as all are in the cache already. Raises DataError."""
        x = answer["x"]
        if not self._shape or x.ndim > 1 + len(self._shape):
            self._widen(x.shape[1:])
        if self._overflow and self._overflow.entry:
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
        if self._overflow is None:
            return frozen(self._x), self.done, []
        if self._output and self._overflow.entry is None:
            self._output.close()
            if self._key and self._state != self._key():
                raise DataError(f"{self._overflow.folder}: the images have changed while they were read; begin again")
            metadata = {"shape": [self.rows, *self._shape], "done": dict(self.done)}
            self._overflow.commit(metadata, {ROWS: self._output.digest})
        assert self._overflow.entry
        metadata = self._overflow.entry.metadata
        x = entry_rows(self._overflow.entry, metadata["shape"], np.uint8)
        return x, Counter(metadata["done"]), self._overflow.notes("the images take")

    def _widen(self, shape: tuple[int, ...]) -> None:
        """Make room for images of a new shape, and bring those that are there already."""
        size = self.rows * prod(shape)
        before, self._shape = self._shape, shape
        if self._key is None or size <= self.limit:
            room = zeros((self.rows, *shape), np.uint8)
            if self.end:  # they were grey
                room[: self.end] = self._x[: self.end, ..., None]
            self._x = room
            return
        if self._overflow is None:
            self._state = self._key()
            self._overflow = self._stack.enter_context(Overflow(["images", self._state], self.limit))
            if self._overflow.entry:
                return
        place, grey = self._overflow.folder / ROWS, self._overflow.folder / _GREY
        old: Rows = self._x[: self.end]
        if self._output:
            self._output.close()
            place.rename(grey)
            old = file_rows(grey, (self.end, *before), np.dtype(np.uint8))
        self._output = output = self._stack.enter_context(Output(place, size))
        for _, block in blocks(old) if self.end else ():
            output.write(with_channels(block, 1 + len(shape)))
        grey.unlink(missing_ok=True)
        self._x = np.empty((0, 0, 0), np.uint8)
