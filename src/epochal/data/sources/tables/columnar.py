"""Arrow record batches, of files and of data frames, as columns of numbers and of codes."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any, NoReturn

import numpy as np

from epochal.data.column_file import ColumnWriter
from epochal.data.rows import as_array
from epochal.data.sources.files import TooLarge
from epochal.data.sources.tables import arrow_types
from epochal.data.sources.tables.roles import Roles
from epochal.data.sources.tables.splits import KeyColumn
from epochal.data.table import MAX_CATEGORIES, Column, no_features, too_many
from epochal.errors import DataError, option
from epochal.system.memory import format_bytes

_MOVED_BYTES = 1 << 25
_EXACT = 2**53  # whole numbers up to this are exact as float64


@dataclass
class Grown:
    """A column that grows by Arrow arrays: numbers in chunks, or codes in chunks and their texts."""

    kind: str
    chunks: list[np.ndarray] = field(default_factory=list)
    codes: dict[str, int] = field(default_factory=dict)
    bytes: int = 0
    rounded: bool = False  # some whole numbers are too large for float64
    missing: int | None = None  # a row of whole numbers in a file that has none
    rows: int = 0
    text: bool = False  # by its type, and no category that its maker declared

    def extend(self, array: Any) -> None:
        """More values."""
        import pyarrow as pa

        if self.kind == "category" and not pa.types.is_null(array.type):
            chunk = self._coded(array)
        elif self.kind == "category":
            chunk = np.full(len(array), -1, np.int32)
        elif self.kind == "whole" and not array.null_count:
            chunk = array.to_numpy(zero_copy_only=False).astype(np.int64)
        else:
            plain = array.dictionary_decode() if pa.types.is_dictionary(array.type) else array
            if pa.types.is_integer(plain.type) and plain.type.bit_width == 64:
                values = plain.drop_null().to_numpy(zero_copy_only=False)
                self.rounded |= bool(len(values) and (values.max() > _EXACT or values.min() < -_EXACT))
            chunk = plain.cast(pa.float64(), safe=False).to_numpy(zero_copy_only=False)
        self.chunks.append(chunk)
        self.bytes += chunk.nbytes
        self.rows += len(chunk)

    def become(self, kind: str, refuse: Callable[[], NoReturn]) -> None:
        """Go on with values of `kind`; a column without any value has the kind that it has in other files."""
        if kind in (self.kind, "empty"):
            return
        if self.kind != "empty":
            refuse()
        self.kind = kind
        if kind == "category":
            self.chunks = [np.full(len(chunk), -1, np.int32) for chunk in self.chunks]

    def taken(self) -> np.ndarray:
        """The cells in memory as a file keeps them, float64 or int64, which are let go."""
        cells = np.concatenate(self.chunks)
        self.bytes -= sum(chunk.nbytes for chunk in self.chunks)
        self.chunks = []
        if self.kind == "whole":
            if cells.dtype.kind == "f":
                absent = np.isnan(cells)
                if self.missing is None:
                    self.missing = self.rows - len(cells) + int(np.argmax(absent))
                cells = np.where(absent, 0, cells).astype(np.int64)
            return cells
        if self.kind == "category":
            return np.where(cells < 0, np.nan, cells)
        return cells

    def _coded(self, array: Any) -> np.ndarray:
        import pyarrow as pa

        if not pa.types.is_dictionary(array.type):
            view = pa.types.is_string_view(array.type) or pa.types.is_boolean(array.type)
            array = (array.cast(pa.large_string()) if view else array).dictionary_encode()
        places = np.full(len(array.dictionary) + 1, -1, np.int32)
        for i, text in enumerate(arrow_types.texts(array.dictionary)):
            if text is not None:
                if text not in self.codes:
                    self.codes[text] = len(self.codes)
                    self.bytes += 160 + 4 * len(text)
                places[i] = self.codes[text]
        indices = array.indices.cast(pa.int64()).fill_null(len(array.dictionary))
        return places[indices.to_numpy(zero_copy_only=False)]

    def plain(self, name: str) -> list[Any]:
        """As plain values that can be sent."""
        kind = "number" if self.kind == "empty" else self.kind
        return [name, kind, self.chunks, list(self.codes), self.rounded, self.missing, self.text]


def grow(
    schema: Any,
    batches: Iterator[Any],
    roles: Roles,
    where: str,
    limit: int,
    merged: Mapping[str, Grown] | None = None,
    keep: ColumnWriter | None = None,
) -> dict[str, Grown]:
    """The columns that have a role, of all batches, behind those `merged` of other files.

    With `keep` the cells go to a file when they are many. Raises DataError for a kind that cannot be a feature,
    TooLarge where the columns take more than `limit` bytes.
    """
    columns, ways, problems = _columns(schema, roles, where, merged)
    rows = 0
    for batch in batches:
        rows += batch.num_rows
        if keep:
            keep.check(sum(len(chunk) for chunk in next(iter(columns.values())).chunks) + batch.num_rows, len(columns))
        elif rows * 4 * len(columns) > limit:  # also of columns that take no room in the file
            too_much(where, limit)
        batch.validate(full=True)
        for name, column in columns.items():
            array = batch.column(schema.get_field_index(name))
            column.extend(ways[name](array) if name in ways else array)
        if sum(column.bytes for column in columns.values()) > (min(limit, _MOVED_BYTES) if keep else limit):
            _move(columns, keep, where, limit)
    if not rows:
        raise DataError(f"{where}: has {len(schema.names):,} columns, but no row; fetch or write it again")
    if problems:  # all of them at once
        many = {name: len(column.codes) for name, column in columns.items() if name in roles.features}
        many = {name: too_many(count) for name, count in many.items() if count > MAX_CATEGORIES}
        raise DataError(_problems(where, schema, problems, many))
    return columns


def _columns(
    schema: Any, roles: Roles, where: str, merged: Mapping[str, Grown] | None
) -> tuple[dict[str, Grown], dict[str, Callable[[Any], Any]], dict[str, str]]:
    """The columns that have a role, how arrays of some are cast before, and why others cannot be features."""
    ways: dict[str, Callable[[Any], Any]] = {}
    columns: dict[str, Grown] = {}
    problems = {}
    for name in (*roles.features, *roles.keys):
        arrow_type, told = schema.field(name).type, name in roles.keys
        kind, way = arrow_types.feature_kind(name, arrow_type, roles.categorical), None
        if told:
            kind, way = arrow_types.key_kind(arrow_type, as_time=name == roles.time)
        if kind not in (*arrow_types.FEATURES, "whole"):
            problems[name] = arrow_types.problem(kind, arrow_type)
            if told:
                raise DataError(f"{where}: column {name!r} {problems[name]}, nor labels; name another column")
            continue
        columns[name] = merged[name] if merged else Grown(kind, text=not told and arrow_types.is_text(arrow_type))
        columns[name].become(kind, partial(_unlike_before, where, name, kind, columns[name].kind))
        if way is not None:
            ways[name] = lambda array, way=way: array.cast(way)
    if not columns:
        raise DataError(_problems(where, schema, problems, {}))
    return columns, ways, problems


def _problems(where: str, schema: Any, problems: Mapping[str, str], many: Mapping[str, str]) -> str:
    message = no_features(where, {**problems, **many})
    times = [name for name in problems if arrow_types.kind_of(schema.field(name).type) == "time"]
    return message + (arrow_types.time_remedy(times[0]) if times else "")


def _move(columns: Mapping[str, Grown], keep: ColumnWriter | None, where: str, limit: int) -> None:
    """Write the cells that are in memory to the file; texts stay."""
    if keep is None:
        too_much(where, limit)
    move(columns, keep)
    if sum(column.bytes for column in columns.values()) > limit:
        raise DataError(
            f"{where}: the texts of its columns take more than {format_bytes(limit)}, the memory granted for reading; "
            f"grant more with {option('host_memory')}, or leave columns out with {option('drop')}"
        )


def move(columns: Mapping[str, Grown], keep: ColumnWriter) -> None:
    """Write the cells that are in memory to the file."""
    if next(iter(columns.values())).chunks:
        keep.add([column.taken() for column in columns.values()])


def unlike(name: str, kind: str, others: str, expected: str) -> str:
    """The message about a column that has another kind in other files."""
    return f"column {name!r} holds {kind}, but in {others} {expected}; files of one split must be alike"


def _unlike_before(where: str, name: str, kind: str, expected: str) -> NoReturn:
    raise DataError(f"{where}: {unlike(name, kind, 'the files before it', expected)}")


def too_much(where: str, limit: int) -> NoReturn:
    """Raise TooLarge for columns that take more than `limit` bytes."""
    raise TooLarge(
        f"{where}: its columns take more than {format_bytes(limit)}, the memory granted for reading; grant more with "
        f"{option('host_memory')}, or leave columns out with {option('drop')}"
    )


def received(told: Sequence[Any]) -> tuple[Column, Callable[[], KeyColumn]]:
    """A column of its plain values, as a feature and as a label, split, group or time (one of the two is meant)."""
    _, kind, chunks, texts, _, missing, _ = told
    values: Any = chunks[0] if len(chunks) == 1 else np.concatenate(chunks)
    chunks.clear()

    def labels() -> KeyColumn:
        found = as_array(values)
        if missing is not None:
            found = found.astype(np.float64)
            found[missing] = np.nan
        return KeyColumn(found, tuple(texts) if kind == "category" else None)

    if kind == "category":
        return Column("category", values, tuple(texts)), labels
    return Column("boolean" if kind == "boolean" else "number", values), labels
