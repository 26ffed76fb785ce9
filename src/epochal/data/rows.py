"""Rows of features on the host: a NumPy array, or rows of a file that is larger than the memory granted.

Of such a file only the rows that are asked for are read, run by run. It is mapped for its header alone: pages that are
touched through a mapping count as memory of the process, two megabytes of them for a single row, and a file that is cut
short under a mapping ends the process.
"""

import hashlib
from collections.abc import Iterator, Sequence
from math import prod
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from epochal.errors import DataError, reading
from epochal.system.aligned import frozen, zeros
from epochal.system.disk import File, MappedFile
from epochal.system.disk_cache import Entry

BLOCK_BYTES = 1 << 24
"""Bytes of rows that are looked at in one go."""

ROWS = "rows"
_PIECE_BYTES = 1 << 26


class Source(Protocol):
    """Where rows lie: each of `width` bytes, read as one array of numbers of `dtype`, row after row."""

    width: int
    dtype: np.dtype
    identity: str
    """Tells these rows, and the content that they had when they were opened, from all others."""

    def read(self, numbers: np.ndarray) -> np.ndarray:
        """The rows of these numbers, which are in order and at least one."""
        ...


class FileRows:
    """Rows of a file, or some of them, read when they are asked for; a slice or a choice copies nothing."""

    def __init__(
        self,
        source: Source,
        count: int,
        shape: tuple[int, ...],
        index: np.ndarray | None = None,
        dtype: np.dtype | None = None,
    ):
        """`count` rows of `shape`; or those that `index` numbers. They become `dtype` where it is not the source's."""
        self.source, self.index, self._count = source, index, count
        self.dtype = source.dtype.newbyteorder("=") if dtype is None else dtype
        self.shape, self.ndim = (count if index is None else len(index), *shape), 1 + len(shape)

    def __len__(self) -> int:
        return self.shape[0]

    def __getitem__(self, rows: Any) -> Any:
        if isinstance(rows, (int, np.integer)):
            if not -len(self) <= rows < len(self):
                raise IndexError(f"row {rows} of {len(self)}")
            return self.gather(np.array([rows % len(self)]))[0]
        index = np.arange(len(self)) if self.index is None else self.index
        return self.chosen(index[rows])

    def chosen(self, index: np.ndarray) -> "FileRows":
        """The rows of the source that `index` numbers."""
        return FileRows(self.source, self._count, self.shape[1:], index, self.dtype)

    def narrowed(self, dtype: np.dtype) -> "FileRows":
        """The same rows, cast to `dtype` when they are read."""
        return FileRows(self.source, self._count, self.shape[1:], self.index, dtype)

    def gather(self, rows: np.ndarray, out: np.ndarray | None = None) -> np.ndarray:
        """The rows numbered `rows`, in that order, in new memory or in `out`. Raises DataError for a changed file."""
        out = np.empty((len(rows), *self.shape[1:]), self.dtype) if out is None else out
        numbers = rows if self.index is None else self.index[rows]
        step = max(1, _PIECE_BYTES // self.source.width)
        for begin in range(0, len(numbers), step):
            piece, part = numbers[begin : begin + step], out[begin : begin + step]
            if bool((piece[1:] >= piece[:-1]).all()):
                part[...] = self.source.read(piece).reshape(part.shape)
            else:
                order = np.argsort(piece, kind="stable")
                part[order] = self.source.read(piece[order]).reshape(part.shape)
        return out

    @property
    def identity(self) -> str:
        """Tells these rows from all others, like a digest of their content."""
        chosen = b"" if self.index is None else np.ascontiguousarray(self.index, np.int64).data
        return f"{self.source.identity} {self.dtype} {self.shape} {hashlib.sha256(chosen).hexdigest()}"

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> np.ndarray:
        return self.gather(np.arange(len(self))).astype(dtype or self.dtype, copy=False)


class _Plain:
    """Rows one after the other from byte `offset` of a file on."""

    def __init__(self, file: File, offset: int, width: int, dtype: np.dtype):
        self.file, self.offset, self.width, self.dtype = file, offset, width, dtype
        self.identity = f"{file.identity} {offset} {width} {dtype}"

    def read(self, numbers: np.ndarray) -> np.ndarray:
        buffer = np.empty(len(numbers) * self.width, np.uint8)
        bounds = [0, *(np.flatnonzero(np.diff(numbers) != 1) + 1).tolist(), len(numbers)]
        view = memoryview(buffer.data)
        firsts = (self.offset + numbers[bounds[:-1]] * self.width).tolist()
        for place, begin, end in zip(firsts, bounds, bounds[1:], strict=False):
            self.file.fill(view[begin * self.width : end * self.width], place)
        self.file.check()  # afterwards, so that no change goes unseen
        return buffer.view(self.dtype)


class _Joined:
    """Rows of several sources, one after the other."""

    def __init__(self, parts: "Sequence[Rows]", width: int):
        self.parts, self.width, self.dtype = parts, width, parts[0].dtype
        self.ends = np.cumsum([len(part) for part in parts])
        self.identity = f"joined {[part.identity if isinstance(part, FileRows) else id(part) for part in parts]}"

    def read(self, numbers: np.ndarray) -> np.ndarray:
        bounds = np.searchsorted(numbers, [0, *self.ends])
        pieces = []
        for part, first, begin, end in zip(self.parts, [0, *self.ends], bounds, bounds[1:], strict=False):
            rows = numbers[begin:end] - first
            pieces.append((part.gather(rows) if isinstance(part, FileRows) else part[rows]).reshape(-1))
        return np.concatenate(pieces)


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
    return FileRows(_Plain(File(base.obj.path), offset, width, x.dtype), len(x), x.shape[1:])


def file_rows(path: Path, shape: tuple[int, ...], dtype: np.dtype) -> FileRows:
    """All rows of a file that holds nothing else: `shape` is [rows, …]. Raises OSError."""
    return FileRows(_Plain(File(path), 0, prod(shape[1:]) * dtype.itemsize, dtype), shape[0], shape[1:])


def entry_rows(entry: Entry, shape: Sequence[int], dtype: Any) -> FileRows:
    """The rows in the file `ROWS` of an entry of the cache. Raises DataError where it has gone."""
    with reading(entry.folder, "try again"):
        return file_rows(entry.folder / ROWS, tuple(shape), np.dtype(dtype))


def joined(parts: Sequence[Rows]) -> Rows:
    """The rows of several, one after the other; in files where one of them is."""
    if len(parts) == 1 or not any(isinstance(part, FileRows) for part in parts):
        return parts[0] if len(parts) == 1 else np.concatenate([as_array(part) for part in parts])
    width = prod(parts[0].shape[1:]) * parts[0].dtype.itemsize
    return FileRows(_Joined(parts, width), sum(map(len, parts)), parts[0].shape[1:])


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
        return frozen(x.gather(np.arange(len(x)), zeros(x.shape, x.dtype)))
    return x


def gather(x: Rows, rows: np.ndarray, out: np.ndarray) -> None:
    """Copy the rows numbered `rows` to `out`."""
    if isinstance(x, FileRows):
        x.gather(rows, out)
    else:
        # mode="clip" lets NumPy write to `out` directly; the numbers come from a plan, none is out of range.
        np.take(x, rows, axis=0, out=out, mode="clip")
