"""Arrow record batches, of files and of data frames, as columns of numbers and of codes."""

from collections.abc import Callable, Collection, Iterator, Mapping
from contextlib import nullcontext
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from epochal.data.column_file import ColumnWriter
from epochal.data.sources.files import TooLarge
from epochal.data.sources.tables.column_builder import (
    CELLS,
    MOVED_BYTES,
    ColumnBuilder,
    ColumnInfo,
    held,
    move,
    open_columns,
)
from epochal.data.sources.tables.roles import Roles
from epochal.data.sources.tables.splits import unpointed
from epochal.data.table import MAX_CATEGORIES, no_features, too_many
from epochal.errors import DataError, option
from epochal.system.disk_cache import Overflow
from epochal.system.memory import format_bytes

Columns = list[tuple[ColumnInfo, list[Any]]]
"""Columns that have been read, each with its values in chunks."""

_EXACT = 2**53  # whole numbers up to this are exact as float64
FEATURES = ("number", "boolean", "category", "empty")


@dataclass
class ArrowColumn(ColumnBuilder):
    """A column of Arrow arrays."""

    rounded: bool = False
    typed: bool = False

    def extend(self, array: Any) -> None:
        import pyarrow as pa

        if self.kind == "category":
            empty = pa.types.is_null(array.type)
            self.add(np.full(len(array), -1, np.int32) if empty else self._coded(array))
        elif self.kind == "whole" and not array.null_count:
            self.add(array.to_numpy(zero_copy_only=False).astype(np.int64))
        else:
            plain = array.dictionary_decode() if pa.types.is_dictionary(array.type) else array
            if pa.types.is_integer(plain.type) and plain.type.bit_width == 64:
                values = plain.drop_null().to_numpy(zero_copy_only=False)
                self.rounded |= bool(len(values) and (values.max() > _EXACT or values.min() < -_EXACT))
            self.add(plain.cast(pa.float64(), safe=False).to_numpy(zero_copy_only=False))

    def become(self, kind: str, where: str) -> None:
        """Go on with values of `kind`; a column without any value has the kind that it has in other files."""
        if kind in (self.kind, "empty"):
            return
        if self.kind != "empty":
            raise DataError(f"{where}: {unlike(kind, 'the files before it', self.kind)}")
        if kind == "category":
            self.become_category()
        self.kind = kind

    def _coded(self, array: Any) -> np.ndarray:
        import pyarrow as pa

        if not pa.types.is_dictionary(array.type):
            view = pa.types.is_string_view(array.type) or pa.types.is_boolean(array.type)
            array = (array.cast(pa.large_string()) if view else array).dictionary_encode()
        places = np.full(len(array.dictionary) + 1, -1, np.int32)
        for i, text in enumerate(_texts(array.dictionary)):
            if text is not None:
                if text not in self.codes:
                    self.add_text(text)
                places[i] = self.codes[text]
        indices = array.indices.cast(pa.int64()).fill_null(len(array.dictionary))
        return places[indices.to_numpy(zero_copy_only=False)]

    def info(self, name: str) -> ColumnInfo:
        return replace(super().info(name), rounded=self.rounded, typed=self.typed)


def grow(
    schema: Any,
    batches: Iterator[Any],
    roles: Roles,
    where: str,
    limit: int,
    merged: Mapping[str, ArrowColumn] | None = None,
    writer: ColumnWriter | None = None,
) -> dict[str, ArrowColumn]:
    """The columns that have a role, of all batches, behind those `merged` of other files.

    With a `writer` the cells go to a file when they are many. Raises DataError for a kind that cannot be a feature,
    TooLarge where the columns take more than `limit` bytes.
    """
    columns, casts, problems = _columns(schema, roles, where, merged)
    rows = 0
    for batch in batches:
        rows += batch.num_rows
        if writer:
            writer.check(sum(map(len, next(iter(columns.values())).chunks)) + batch.num_rows, len(columns))
        elif rows * 4 * len(columns) > limit:  # also of columns that take no room in the file
            raise too_much(where, limit)
        batch.validate(full=True)
        for name, column in columns.items():
            array = batch.column(schema.get_field_index(name))
            column.extend(array.cast(casts[name]) if name in casts else array)
        if held(columns) > (min(limit, MOVED_BYTES) if writer else limit):
            if writer is None:
                raise too_much(where, limit)
            move(columns, writer)
            if held(columns) > limit:
                raise DataError(str(too_much(where, limit, "the texts of its columns")))
    if not rows:
        raise DataError(f"{where}: has {len(schema.names):,} columns, but no row; fetch or write it again")
    if problems:  # all of them at once
        many = {name: len(column.codes) for name, column in columns.items() if name in roles.features}
        many = {name: too_many(count) for name, count in many.items() if count > MAX_CATEGORIES}
        raise DataError(_problems(where, schema, problems | many))
    return columns


def _columns(
    schema: Any, roles: Roles, where: str, merged: Mapping[str, ArrowColumn] | None
) -> tuple[dict[str, ArrowColumn], dict[str, Any], dict[str, str]]:
    """The columns that have a role, what arrays of some are cast to before, and why others cannot be features."""
    casts: dict[str, Any] = {}
    columns: dict[str, ArrowColumn] = {}
    problems: dict[str, str] = {}
    for name in (*roles.features, *roles.keys):
        arrow_type, is_key = schema.field(name).type, name in roles.keys
        kind, cast = feature_kind(name, arrow_type, roles.categorical), None
        if is_key:
            kind, cast = _key_kind(arrow_type, as_time=name == roles.time)
        if kind not in (*FEATURES, "whole"):
            dates = f"dates or times ({arrow_type}), which are no features"
            problems[name] = f"holds {dates if kind == 'time' else f'{kind}; features are numbers, booleans and text'}"
            if is_key:
                raise DataError(f"{where}: column {name!r} {problems[name]}, nor labels; name another column")
            continue
        columns[name] = merged[name] if merged else ArrowColumn(kind, typed=not is_key and _is_text(arrow_type))
        columns[name].become(kind, f"{where}: column {name!r}")
        if cast is not None:
            casts[name] = cast
    if not columns:
        raise DataError(_problems(where, schema, problems))
    return columns, casts, problems


def _problems(where: str, schema: Any, problems: Mapping[str, str]) -> str:
    times = [name for name in problems if _kind_of(schema.field(name).type) == "time"]
    remedy = f", or order the rows by it with {option('time', times[0])}" if times else ""
    return no_features(where, problems) + remedy


def unlike(kind: str, others: str, expected: str) -> str:
    """The problem of a column that has another kind in other files."""
    return f"holds {kind}, but in {others} {expected}; files of one split must be alike"


def too_much(where: str, limit: int, what: str = "its columns") -> TooLarge:
    return TooLarge(
        f"{where}: {what} take more than {format_bytes(limit)}, the memory granted for reading; grant more with "
        f"{option('host_memory')}, or leave columns out with {option('drop')}"
    )


def answer(
    file: str,
    where: str,
    size: int,
    read: Callable[[ColumnWriter | None], tuple[dict[str, ArrowColumn], dict[str, Any]]],
) -> dict[str, Any]:
    """What a child process answers to `read_isolated`: the columns that `read` returns, and what is known besides.

    With the name of a `file` the cells go there; without, `larger` says where they do not fit. The tables have `size`
    bytes.
    """
    with ColumnWriter(Path(file), where, size) if file else nullcontext() as writer:
        try:
            columns, more = read(writer)
        except TooLarge:
            return {"larger": True}
        if writer:
            move(columns, writer)
            more |= {"starts": writer.starts, "digest": writer.digest}
        infos = [asdict(column.info(name)) for name, column in columns.items()]
        return more | {"columns": infos, "chunks": [column.chunks for column in columns.values()]}


def read_isolated(overflow: Overflow, read: Callable[[str], dict[str, Any]]) -> tuple[Columns, dict[str, Any]]:
    """The columns in a child's `answer`, and what is known besides; in memory, or in a file where that is too small.

    `read` asks a child, with no name or with that of the file. Raises DataError.
    """
    if overflow.entry is None:
        reply = read("")
        overflow.check()
        infos = [ColumnInfo(**info) for info in reply.get("columns", ())]
        if "larger" not in reply:
            return list(zip(infos, reply["chunks"], strict=True)), reply
        reply = read(str(overflow.folder / CELLS))
        rows = sum(reply["rows"])
        size = sum(rows * (4 if one["kind"] == "category" else 8) + ColumnInfo(**one).bytes for one in reply["columns"])
        metadata = {name: value for name, value in reply.items() if name not in ("chunks", "digest")}
        overflow.commit(metadata | {"bytes": max(size, overflow.limit + 1)}, {CELLS: reply["digest"]})
    assert overflow.entry
    infos = [ColumnInfo(**info) for info in overflow.entry.metadata["columns"]]
    columns = open_columns(overflow.entry, infos)
    return [(info, [values]) for info, values in zip(infos, columns, strict=True)], overflow.entry.metadata


def _kind_of(arrow_type: Any) -> str:
    """number, boolean, category, empty, time, or for anything else the type's own name.

    A dictionary is a category, also of numbers: its maker declared it so.
    """
    import pyarrow as pa

    if pa.types.is_dictionary(arrow_type):
        inner = _kind_of(arrow_type.value_type)
        return "category" if inner in ("number", "boolean", "category", "time") else f"dictionary of {inner}"
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


def feature_kind(name: str, arrow_type: Any, categorical: Collection[str]) -> str:
    """The kind of a feature, where some are `categorical` by the user's word."""
    kind = _kind_of(arrow_type)
    return "category" if name in categorical and kind in (*FEATURES, "time") else kind


def _is_text(arrow_type: Any) -> bool:
    """Whether a column is text by its type, and so a category for want of anything better."""
    import pyarrow as pa

    return _kind_of(arrow_type) == "category" and not pa.types.is_dictionary(arrow_type)


def _texts(values: Any) -> list[str | None]:
    """Values of any kind as text: whole numbers as their digits, booleans in small letters."""
    import pyarrow as pa

    texts = values.cast(pa.large_string()).to_pylist()
    numbers = pa.types.is_floating(values.type) or pa.types.is_decimal(values.type)
    return [None if text is None else unpointed(text) for text in texts] if numbers else texts


def _key_kind(arrow_type: Any, *, as_time: bool) -> tuple[str, Any]:
    """How a column of labels, splits, groups or times is kept, and what its arrays are cast to before."""
    import pyarrow as pa

    kind = _kind_of(arrow_type)
    if kind == "time":
        narrow = arrow_type.bit_width == 32
        return ("whole", pa.int32() if narrow else pa.int64()) if as_time else ("category", pa.large_string())
    if pa.types.is_integer(arrow_type):
        return ("whole", None) if arrow_type != pa.uint64() else ("category", pa.large_string())
    return ("category", pa.large_string()) if kind == "boolean" else (kind, None)
