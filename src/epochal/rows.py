"""Rows of features on the host: a NumPy array, or rows of a file that is larger than the memory granted.

Of such a file only the rows that are asked for are read, run by run. It is mapped for its header alone: pages that are
touched through a mapping count as memory of the process, two megabytes of them for a single row, and a file that is cut
short under a mapping ends the process.
"""

import mmap
import os
import weakref
from collections.abc import Iterator
from math import prod
from pathlib import Path
from typing import Any

import numpy as np

from epochal.errors import DataError

BLOCK_BYTES = 1 << 24
"""Bytes of rows that are looked at in one go."""

_PIECE_BYTES = 1 << 26


class MappedFile(mmap.mmap):
    """The bytes of a file, and where it is."""

    path: Path

    @classmethod
    def open(cls, path: Path) -> "MappedFile":
        """Map `path` to be read. Raises OSError, ValueError for an empty file."""
        with path.open("rb") as file:
            mapped = cls(file.fileno(), 0, access=mmap.ACCESS_READ)
        mapped.path = path.resolve()
        return mapped


class FileRows:
    """Rows of a file, or some of them, read when they are asked for; a slice or a choice copies nothing."""

    def __init__(self, source: "_Source", count: int, shape: tuple[int, ...], index: np.ndarray | None = None):
        self._source, self._index = source, index
        self.dtype = source.dtype.newbyteorder("=")
        self.shape, self.ndim = (count if index is None else len(index), *shape), 1 + len(shape)

    def __len__(self) -> int:
        return self.shape[0]

    def __getitem__(self, rows: Any) -> Any:
        if isinstance(rows, (int, np.integer)):
            return self.gather(np.arange(len(self))[rows : rows + 1 or None])[0]
        index = np.arange(len(self)) if self._index is None else self._index
        return FileRows(self._source, len(self), self.shape[1:], index[rows])

    def gather(self, rows: np.ndarray, out: np.ndarray | None = None) -> np.ndarray:
        """The rows numbered `rows`, in that order, in new memory or in `out`. Raises DataError for a changed file."""
        out = np.empty((len(rows), *self.shape[1:]), self.dtype) if out is None else out
        numbers = rows if self._index is None else self._index[rows]
        step = max(1, _PIECE_BYTES // self._source.width)
        for begin in range(0, len(numbers), step):
            piece = numbers[begin : begin + step]
            order = np.argsort(piece, kind="stable")
            found = self._source.read(piece[order]).reshape(len(piece), *self.shape[1:])
            out[begin : begin + step][order] = found
        return out

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> np.ndarray:
        return self.gather(np.arange(len(self))).astype(dtype or self.dtype, copy=False)


class _Source:
    """Where rows lie in a file: from byte `offset` on, `width` bytes each, of the file's own dtype."""

    def __init__(self, path: Path, offset: int, width: int, dtype: np.dtype):
        self.path, self.offset, self.width, self.dtype = path, offset, width, dtype
        self._handle = os.open(path, os.O_RDONLY | getattr(os, "O_CLOEXEC", 0))
        weakref.finalize(self, os.close, self._handle)
        self._state = self._stat()

    def read(self, numbers: np.ndarray) -> np.ndarray:
        """The rows of these numbers, which are in order, as one array of numbers."""
        if self._stat() != self._state:
            raise self._changed()
        buffer = np.empty(len(numbers) * self.width, np.uint8)
        bounds = [0, *(np.flatnonzero(np.diff(numbers) != 1) + 1).tolist(), len(numbers)]
        view = memoryview(buffer.data)
        firsts = (self.offset + numbers[bounds[:-1]] * self.width).tolist() if len(numbers) else []
        for place, begin, end in zip(firsts, bounds, bounds[1:], strict=False):
            wanted = view[begin * self.width : end * self.width]
            if os.preadv(self._handle, [wanted], place) != len(wanted):
                self._finish(wanted, place)
        return buffer.view(self.dtype)

    def _finish(self, wanted: memoryview, place: int) -> None:
        """Read again what came only in part, as a signal or a network may cause."""
        done = 0
        while done < len(wanted):
            count = os.preadv(self._handle, [wanted[done:]], place + done)
            if count == 0:
                raise self._changed()
            done += count

    def _stat(self) -> tuple[int, int]:
        try:
            told = self.path.stat()
        except OSError as error:
            raise DataError(f"{self.path}: cannot be read any more: {error.strerror}; bring the file back") from None
        return told.st_size, told.st_mtime_ns

    def _changed(self) -> DataError:
        return DataError(
            f"{self.path}: the file has changed while it was in use: it had {self._state[0]:,} bytes, now "
            f"{self._stat()[0]:,}; bring the old file back, or train anew"
        )


Rows = np.ndarray | FileRows


def as_rows(x: np.ndarray) -> Rows:
    """`x`, as rows of a file where its memory is a mapped file. Raises DataError where rows are not whole there."""
    base: Any = x
    while isinstance(base, np.ndarray):
        base = base.base
    if not (isinstance(base, memoryview) and isinstance(base.obj, MappedFile)):
        return x
    if not x.flags.c_contiguous:
        raise DataError(f"{base.obj.path}: larger than the memory granted, and in Fortran order; write it in C order")
    offset = x.ctypes.data - np.frombuffer(base.obj, np.uint8).ctypes.data
    width = prod(x.shape[1:]) * x.dtype.itemsize
    return FileRows(_Source(base.obj.path, offset, width, x.dtype), len(x), x.shape[1:])


def blocks(x: Rows, size: int = 0) -> Iterator[tuple[int, np.ndarray]]:
    """All rows in order, some at a time: the number of the first, and the rows."""
    width = max(1, prod(x.shape[1:]) * x.dtype.itemsize)
    step = max(1, (size or BLOCK_BYTES) // width)
    for begin in range(0, len(x), step):
        end = min(begin + step, len(x))
        yield begin, x.gather(np.arange(begin, end)) if isinstance(x, FileRows) else x[begin:end]


def as_array(x: Rows) -> np.ndarray:
    """All rows as an array; what is read for it nobody else can write to."""
    if isinstance(x, FileRows):
        x = np.asarray(x)
        x.flags.writeable = False
    return x


def gather(x: Rows, rows: np.ndarray, out: np.ndarray) -> None:
    """Copy the rows numbered `rows` to `out`."""
    if isinstance(x, FileRows):
        x.gather(rows, out)
    else:
        # mode="clip" lets NumPy write to `out` directly; the numbers come from a plan, none is out of range.
        np.take(x, rows, axis=0, out=out, mode="clip")
