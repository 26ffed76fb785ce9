"""`ColumnBuilder`: a column of a table as it is read, chunk by chunk. Text cells and Arrow arrays only feed it.

The cells of a table that is larger than the memory granted go to a file (`column_file`); texts stay in memory.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from epochal.data import column_file
from epochal.data.column_file import ColumnWriter
from epochal.data.rows import FileRows, Rows, as_array
from epochal.data.sources.tables.splits import KeyColumn
from epochal.data.table import Column
from epochal.errors import reading
from epochal.system.disk_cache import Entry

CELLS = "cells"
MOVED_BYTES = 1 << 25
"""Cells in memory that are written to the file in one go."""

_ENTRY_BYTES = 184  # of a text in a dictionary, beside its characters, with its count and its first row
_FORMS = {"whole": "i8", "category": "i4"}  # others are float64


@dataclass
class ColumnInfo:
    """What the cells of a column do not tell, in plain values."""

    name: str
    kind: str  # number, boolean, category, or for a key: whole
    texts: Sequence[str] = ()
    lookup: Sequence[float] = ()  # what the texts mean as booleans
    words: Sequence[str] = ()  # cells that were read as missing values
    rounded: bool = False  # some whole numbers are too large for float64
    missing: int | None = None  # a row of whole numbers in a file that has none
    typed: bool = False  # text by its type, and no category that its maker declared

    @property
    def bytes(self) -> int:
        return sum(map(_text_bytes, self.texts))


@dataclass
class ColumnBuilder:
    """A column that grows; `bytes` is what is in memory of it."""

    kind: str = "number"
    chunks: list[np.ndarray] = field(default_factory=list)
    codes: dict[str, int] = field(default_factory=dict)
    bytes: int = 0
    rows: int = 0
    missing: int | None = None

    def add(self, chunk: np.ndarray) -> None:
        """More values: float64, int64 of `whole` numbers, or int32 codes of a `category`."""
        self.chunks.append(chunk)
        self.bytes += chunk.nbytes
        self.rows += len(chunk)

    def add_text(self, text: str) -> None:
        """A text that has no code yet."""
        self.codes[text] = len(self.codes)
        self.bytes += _text_bytes(text)

    def become_category(self) -> None:
        """Go on with codes, where all values so far are missing."""
        self.kind = "category"
        self.chunks = [np.full(len(chunk), -1, np.int32) for chunk in self.chunks]

    def take(self) -> np.ndarray:
        """Remove the values in memory, and return them as a file keeps them: float64 or int64."""
        values = np.concatenate(self.chunks)
        self.bytes -= sum(chunk.nbytes for chunk in self.chunks)
        self.chunks = []
        if self.kind == "whole" and values.dtype.kind == "f":
            absent = np.isnan(values)
            if self.missing is None:
                self.missing = self.rows - len(values) + int(np.argmax(absent))
            return np.where(absent, 0, values).astype(np.int64)
        return np.where(values < 0, np.nan, values) if self.kind == "category" else values

    def info(self, name: str) -> ColumnInfo:
        return ColumnInfo(name, "number" if self.kind == "empty" else self.kind, list(self.codes), missing=self.missing)


def _text_bytes(text: str) -> int:
    return _ENTRY_BYTES + 4 * len(text)


def held(columns: Mapping[str, ColumnBuilder]) -> int:
    return sum(column.bytes for column in columns.values())


def move(columns: Mapping[str, ColumnBuilder], writer: ColumnWriter, *more: np.ndarray) -> None:
    """Write the values in memory to the file, with `more` columns behind them; texts stay in memory."""
    if next(iter(columns.values())).chunks:
        writer.add([*(column.take() for column in columns.values()), *more])


def joined(chunks: list[Any]) -> Any:
    """All values of a column; the chunks are let go of."""
    values = chunks[0] if len(chunks) == 1 else np.concatenate(chunks)
    chunks.clear()
    return values


def open_columns(entry: Entry, infos: Sequence[ColumnInfo], *more: str) -> list[FileRows]:
    """The columns of an entry, and behind them those of the forms `more`. Raises DataError where it has gone."""
    forms = [("i4" if one.lookup else _FORMS.get(one.kind, "f8"), one.lookup) for one in infos]
    with reading(entry.folder, "try again"):
        return column_file.opened(
            entry.folder / CELLS, entry.metadata["starts"], [*forms, *((form, ()) for form in more)]
        )


def as_feature(info: ColumnInfo, values: Rows) -> Column:
    """A column as a feature; codes of booleans that are in memory are looked up."""
    category = Column("category", values, tuple(info.texts))
    if info.kind == "category":
        return category
    if info.lookup and isinstance(values, np.ndarray):
        return Column("boolean", np.array([*info.lookup, np.nan])[values], text=category)
    return Column("boolean" if info.kind == "boolean" else "number", values)


def as_key(info: ColumnInfo, values: Rows) -> KeyColumn:
    array = as_array(values)
    if info.missing is not None:
        array = array.astype(np.float64)
        array[info.missing] = np.nan
    return KeyColumn(array, tuple(info.texts) if info.kind == "category" else None, tuple(info.words))
