"""Parquet and Arrow files, decoded in a child process (see `system.isolated`)."""

import json
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from epochal.data.column_file import CELL_BYTES, ColumnWriter
from epochal.data.options import Reading
from epochal.data.sources.files import brief
from epochal.data.sources.tables.arrow_tables import ArrowColumn, answer, feature_kind, grow, too_much, unlike
from epochal.data.sources.tables.roles import assign
from epochal.errors import DataError

PARQUET = (".parquet", ".pq")
_BATCH_ROWS = 1 << 16


def decode(
    paths: list[str],
    options: dict[str, Any],
    inherited: list[str],
    labelled: bool,
    limit: int,
    file: str = "",
    size: int = 0,
) -> dict[str, Any]:
    """The columns of Parquet or Arrow files of one schema, one after the other: see `arrow_tables.answer`."""
    import pyarrow as pa

    pa.set_memory_pool(pa.system_memory_pool())
    given = {name: value for name, value in options.items() if name not in inherited}
    reading = Reading.from_dict(given).inheriting({name: options[name] for name in options if name in inherited})

    def read(writer: ColumnWriter | None) -> tuple[dict[str, ArrowColumn], dict[str, Any]]:
        schema, columns, rows = _merged(paths, reading, labelled, limit, writer)
        return columns, {"rows": rows, "names": schema.names, "index": index_of(schema)}

    return answer(file, paths[0], size, read)


def index_of(schema: Any) -> list[str]:
    """The columns that hold the index of the pandas frame which was written."""
    return [name for name in _of_pandas(schema, "index_columns") if isinstance(name, str) and name in schema.names]


def _categories_of(schema: Any) -> list[str]:
    """The columns that were categories of a pandas frame: Parquet keeps those of numbers as numbers."""
    columns = [one for one in _of_pandas(schema, "columns") if isinstance(one, dict)]
    return [
        one["name"] for one in columns if one.get("pandas_type") == "categorical" and one.get("name") in schema.names
    ]


def _of_pandas(schema: Any, key: str) -> list[Any]:
    try:
        value = json.loads((schema.metadata or {}).get(b"pandas", b"{}"))[key]
    except (ValueError, TypeError, KeyError, RecursionError):  # none of pandas, or damaged
        return []
    return value if isinstance(value, list) else []


def _merged(
    paths: list[str], reading: Reading, labelled: bool, limit: int, writer: ColumnWriter | None
) -> tuple[Any, dict[str, ArrowColumn], list[int]]:
    """The schema of the first file, the columns that have a role, and the rows of each file."""
    import pyarrow as pa

    first: Any = None
    merged: dict[str, ArrowColumn] = {}
    ends = [0]
    for path in paths:
        try:
            schema, batches, count = _opened(path, limit if writer else 0)
            first = first or (path, schema)
            roles = assign(schema.names, reading, path, labelled=labelled, index=index_of(first[1]))
            declared = [name for name in _categories_of(first[1]) if name in roles.features]
            roles = replace(roles, categorical=(*roles.categorical, *declared))
            _same_columns(first[0], first[1], path, schema, roles.categorical)
            if count is not None and writer:
                writer.check(count, len(roles.features))
            elif count is not None and count * 4 * len(roles.features) > limit:
                raise too_much(path, limit)
            merged = grow(schema, batches, roles, path, limit, merged, writer)
        except (DataError, MemoryError):
            raise
        except (pa.ArrowException, OSError, ValueError, OverflowError, TypeError, KeyError, IndexError) as error:
            raise DataError(f"{path}: is damaged: {brief(error)[:200]}; fetch or write it again") from None
        ends.append(next(iter(merged.values())).rows)
    return first[1], merged, np.diff(ends).tolist()


def _opened(path: str, sparing: int) -> tuple[Any, Iterator[Any], int | None]:
    """Schema, record batches, and the number of rows where the file declares it. `sparing`: the bytes of memory, where
    batches must be small.
    """
    import pyarrow as pa

    with Path(path).open("rb") as file:
        head = file.read(8)
    if not head:
        raise DataError(f"{path}: byte 0: the file is empty; fetch or write it again")
    if head[:4] == b"FEA1":
        raise DataError(
            f"{path}: is Feather version 1, which is no longer read; write it again as Feather 2 or Parquet"
        )
    if head[:2] == b"\x1f\x8b":
        raise DataError(f"{path}: is compressed as a whole; unpack it, these forms compress inside")
    if Path(path).suffix.lower() in PARQUET:
        from pyarrow import parquet

        opened = parquet.ParquetFile(path, memory_map=False, pre_buffer=False, buffer_size=1 << 16 if sparing else 0)
        rows = _batch_rows(len(opened.schema_arrow.names), sparing)
        return opened.schema_arrow, opened.iter_batches(batch_size=rows), opened.metadata.num_rows
    # Of a mapped file the pages that were read can be dropped again, whatever the size of its batches.
    source = pa.memory_map(path) if sparing else pa.OSFile(path)
    if head[:6] == b"ARROW1":
        reader = pa.ipc.open_file(source)
        batches = (reader.get_batch(i) for i in range(reader.num_record_batches))
        return reader.schema, _cut(batches, sparing), None
    stream = pa.ipc.open_stream(source)
    return stream.schema, _cut(stream, sparing), None


def _batch_rows(columns: int, sparing: int) -> int:
    return max(256, min(_BATCH_ROWS, sparing // 16 // (CELL_BYTES * columns))) if sparing else _BATCH_ROWS


def _cut(batches: Iterable[Any], sparing: int) -> Iterator[Any]:
    """The batches, large ones in slices where memory is sparing."""
    for batch in batches:
        step = _batch_rows(batch.num_columns, sparing) if sparing else max(1, batch.num_rows)
        for begin in range(0, max(1, batch.num_rows), step):
            yield batch.slice(begin, step)


def _same_columns(path: str, schema: Any, other: str, others: Any, categorical: Sequence[str]) -> None:
    if sorted(schema.names) != sorted(others.names):
        raise DataError(different(path, schema.names, other, others.names))
    for name in schema.names:
        kinds = [feature_kind(name, one.field(name).type, categorical) for one in (schema, others)]
        if kinds[0] != kinds[1] and "empty" not in kinds:
            raise DataError(f"{other}: column {name!r} {unlike(kinds[1], path, kinds[0])}")


def different(path: str, names: Sequence[str], other: str, others: Sequence[str]) -> str:
    """The message about files of one split whose columns differ."""
    lacks, extra = ([n for n in a if n not in b] for a, b in ((names, others), (others, names)))
    parts = [
        f"{verb} {', '.join(map(repr, columns[:5]))}"
        for verb, columns in (("lacks", lacks), ("has besides", extra))
        if columns
    ]
    return f"{other}: {' and '.join(parts)}, unlike {path}; files of one split must have the same columns"
