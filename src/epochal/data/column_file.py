"""Columns of a table in one file: 8 bytes a cell, chunk after chunk of rows, and in each chunk column after column.

So a table is written as it comes, and both a column and a block of rows are read in long runs. Cells are float64 (codes
of categories too; NaN is a missing value) or int64.
"""

from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np

from epochal.data.rows import FileRows
from epochal.errors import DataError, option
from epochal.system.disk import File, Output
from epochal.system.memory import format_bytes

CELL_BYTES = 8
MOST_FOLD = 1000
HARMLESS_BYTES = 1 << 28
_CHUNK_BYTES = 1 << 23
_CHUNK_ROWS = 1 << 16


class ColumnWriter(Output):
    """Writes the columns of a table; `starts` numbers the first row of each chunk, and the row behind the last one."""

    def __init__(self, path: Path, source: str, source_bytes: int):
        """`source` names what the table is read from. What unpacks to more than a thousandfold of it is a bomb."""
        super().__init__(path)
        self.source, self.most, self.starts = source, max(MOST_FOLD * source_bytes, HARMLESS_BYTES), [0]

    def check(self, rows: int, columns: int) -> None:
        """Raise DataError where so many rows more are too many."""
        total = (self.starts[-1] + rows) * columns * CELL_BYTES
        if total > self.most:
            raise DataError(
                f"{self.source}: its columns take {format_bytes(total)} or more, above {MOST_FOLD:,} times the bytes "
                f"of the file; is it damaged or hostile? if it is sound, grant more with "
                f"{option('host_memory')}, so that it is read in memory"
            )

    def add(self, columns: Sequence[np.ndarray]) -> None:
        """More rows: float64 or int64 [rows] of every column. Raises DataError where the disk is full."""
        rows = len(columns[0])
        self.check(rows, len(columns))
        step = max(1, min(_CHUNK_ROWS, _CHUNK_BYTES // (CELL_BYTES * len(columns))))
        for begin in range(0, rows, step):
            chunk = [column[begin : begin + step].view(np.int64) for column in columns]
            self.write(np.concatenate(chunk))
            self.starts.append(self.starts[-1] + len(chunk[0]))


class ColumnReader:
    """One column of the file: numbers (`f8`, `i8`), codes (`i4`, -1 for a missing value), or what codes look up."""

    width = CELL_BYTES

    def __init__(self, file: File, starts: np.ndarray, columns: int, at: int, form: str, lookup: Sequence[float] = ()):
        self.file, self.starts, self.columns, self.at, self.form = file, starts, columns, at, form
        self.lookup = np.array([*lookup, np.nan]) if lookup else None
        self.dtype = np.dtype("f8" if lookup else form)
        self.identity = f"{file.identity} column {at} {form} {list(lookup)}"

    def read(self, numbers: np.ndarray) -> np.ndarray:
        self.file.check()
        cells = np.empty(len(numbers), np.int64)
        first, last = np.searchsorted(self.starts, numbers[[0, -1]], "right") - 1
        starts = self.starts[first : last + 2]
        bounds = np.searchsorted(numbers, starts).tolist()
        for (start, stop), (begin, end) in zip(pairwise(starts.tolist()), pairwise(bounds), strict=True):
            if begin == end:
                continue
            first, last = int(numbers[begin]), int(numbers[end - 1])
            piece = np.empty(last - first + 1, np.int64)
            place = CELL_BYTES * (start * self.columns + self.at * (stop - start) + first - start)
            self.file.fill(memoryview(piece.view(np.uint8).data), place)
            cells[begin:end] = piece[numbers[begin:end] - first]
        if self.form == "i8":
            return cells
        values = cells.view(np.float64)
        if self.form == "f8":
            return values
        codes = np.where(np.isnan(values), -1, values).astype(np.int32)
        return codes if self.lookup is None else self.lookup[codes]


def opened(path: Path, starts: Sequence[int], forms: Sequence[tuple[str, Sequence[float]]]) -> list[FileRows]:
    """The columns of a file, each in its form: see `ColumnReader`. Raises OSError."""
    file, bounds = File(path), np.array(starts, np.int64)
    sources: list[Any] = [ColumnReader(file, bounds, len(forms), at, *form) for at, form in enumerate(forms)]
    return [FileRows(source, int(bounds[-1]), ()) for source in sources]
