"""Arrow record batches, of files and of data frames, as columns of numbers and of codes."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any, NoReturn

import numpy as np

from epochal.errors import DataError
from epochal.memory import format_bytes
from epochal.sources.roles import Roles, Told
from epochal.table import Column

_EXACT = 2**53  # whole numbers up to this are exact as float64


@dataclass
class Grown:
    """A column that grows by Arrow arrays: numbers in chunks, or codes in chunks and their texts."""

    kind: str
    chunks: list[np.ndarray] = field(default_factory=list)
    codes: dict[str, int] = field(default_factory=dict)
    bytes: int = 0
    rounded: bool = False  # some whole numbers are too large for float64

    def extend(self, array: Any) -> None:
        """More values."""
        import pyarrow as pa

        if self.kind == "category":
            chunk = self._coded(array)
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

    def _coded(self, array: Any) -> np.ndarray:
        import pyarrow as pa

        if not pa.types.is_dictionary(array.type):
            text = array if pa.types.is_string(array.type) else array.cast(pa.large_string())
            array = text.dictionary_encode()
        places = np.full(len(array.dictionary) + 1, -1, np.int32)
        for i, text in enumerate(array.dictionary.cast(pa.large_string()).to_pylist()):
            if text is not None:
                if text not in self.codes:
                    self.codes[text] = len(self.codes)
                    self.bytes += 160 + 4 * len(text)
                places[i] = self.codes[text]
        indices = array.indices.cast(pa.int64()).fill_null(len(array.dictionary))
        return places[indices.to_numpy(zero_copy_only=False)]

    def plain(self, name: str) -> list[Any]:
        """As plain values that can be sent."""
        return [name, "number" if self.kind == "empty" else self.kind, self.chunks, list(self.codes), self.rounded]


def kind_of(arrow_type: Any) -> str:
    """number, boolean, category, empty, time, or for anything else the type's own name."""
    import pyarrow as pa

    if pa.types.is_dictionary(arrow_type):
        inner = kind_of(arrow_type.value_type)
        return inner if inner in ("number", "category") else f"dictionary of {inner}"
    kinds: dict[str, tuple[Callable[[Any], bool], ...]] = {
        "number": (pa.types.is_integer, pa.types.is_floating, pa.types.is_decimal),
        "boolean": (pa.types.is_boolean,),
        "category": (pa.types.is_string, pa.types.is_large_string, pa.types.is_string_view),
        "empty": (pa.types.is_null,),
        "time": (pa.types.is_date, pa.types.is_timestamp, pa.types.is_time),
    }
    return next(
        (kind for kind, tests in kinds.items() if any(test(arrow_type) for test in tests)), str(arrow_type)[:80]
    )


def grow(schema: Any, batches: Iterator[Any], roles: Roles, where: str, limit: int) -> dict[str, Grown]:
    """The columns that have a role, of all batches. Raises DataError for a kind that cannot be a feature."""
    ways: dict[str, Callable[[Any], Any]] = {}
    columns = {}
    for name in (*roles.features, *roles.told):
        arrow_type = schema.field(name).type
        kind, way = (
            _told_kind(arrow_type, as_time=name == roles.time) if name in roles.told else (kind_of(arrow_type), None)
        )
        if kind not in ("number", "boolean", "category", "empty", "whole"):
            _refuse_kind(name, kind, arrow_type, where)
        columns[name] = Grown(kind)
        if way is not None:
            ways[name] = lambda array, way=way: array.cast(way)
    rows = 0
    for batch in batches:
        rows += batch.num_rows
        if rows * 4 * len(columns) > limit:  # also of columns that take no room in the file
            too_much(where, limit)
        batch.validate(full=True)
        for name, column in columns.items():
            array = batch.column(schema.get_field_index(name))
            column.extend(ways[name](array) if name in ways else array)
        if sum(column.bytes for column in columns.values()) > limit:
            too_much(where, limit)
    if not rows:
        raise DataError(f"{where}: has {len(schema.names):,} columns, but no row; fetch or write it again")
    return columns


def _told_kind(arrow_type: Any, *, as_time: bool) -> tuple[str, Any]:
    """How a column of labels, splits, groups or times is kept, and what its arrays are cast to before."""
    import pyarrow as pa

    kind = kind_of(arrow_type)
    if kind == "time":
        narrow = arrow_type.bit_width == 32
        return ("whole", pa.int32() if narrow else pa.int64()) if as_time else ("category", pa.large_string())
    if pa.types.is_integer(arrow_type):
        return ("whole", None) if arrow_type != pa.uint64() else ("category", pa.large_string())
    if pa.types.is_dictionary(arrow_type) and kind == "number":
        return "category", pa.large_string()
    return ("category", pa.large_string()) if kind == "boolean" else (kind, None)


def _refuse_kind(name: str, kind: str, arrow_type: Any, where: str) -> NoReturn:
    if kind == "time":
        raise DataError(
            f"{where}: column {name!r} holds dates or times ({arrow_type}), which are no features; leave it out with "
            f"--drop {name}, or order the rows by it with --time {name}"
        )
    raise DataError(
        f"{where}: column {name!r} holds {kind}; features are numbers, booleans and text: leave it out with --drop "
        f"{name}"
    )


def too_much(where: str, limit: int) -> NoReturn:
    """Raise DataError for columns that take more than `limit` bytes."""
    raise DataError(
        f"{where}: its columns take more than {format_bytes(limit)}, the memory granted for reading; grant more with "
        f"--host-memory (memory_bytes=…), or leave columns out with --drop"
    )


def received(told: Sequence[Any]) -> tuple[Column, Told]:
    """A column of its plain values, as a feature and as a label, split, group or time (one of the two is meant)."""
    _, kind, chunks, texts, _ = told
    values = np.concatenate(chunks)
    chunks.clear()
    if kind == "category":
        return Column("category", values, tuple(texts)), Told(values, tuple(texts))
    return Column("boolean" if kind == "boolean" else "number", values), Told(values)
