"""Parquet and Arrow files, decoded in a process of their own (see `isolated`)."""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from epochal.errors import DataError
from epochal.reading import Reading
from epochal.sources.columnar import Grown, grow, kind_of, too_much
from epochal.sources.files import brief
from epochal.sources.roles import assign

PARQUET = (".parquet", ".pq")
ARROW = (".arrow", ".feather", ".ipc")
_BATCH_ROWS = 1 << 16


def decode(paths: list[str], reading: dict[str, Any], labelled: bool, limit: int) -> dict[str, Any]:
    """The columns of Parquet or Arrow files of one schema, one after the other, as plain values. Raises DataError."""
    import pyarrow as pa

    pa.set_memory_pool(pa.system_memory_pool())
    first: Any = None
    merged: dict[str, Grown] = {}
    rows = []
    for path in paths:
        try:
            schema, batches, count = _opened(path)
            names = schema.names
            roles = assign(names, Reading.from_dict(reading), path, labelled=labelled)
            first = first or (path, schema)
            _same_columns(first[0], first[1], path, schema)
            if count is not None and count * 4 * len(roles.features) > limit:
                too_much(path, limit)
            grown = grow(schema, batches, roles, path, limit)
        except (DataError, MemoryError):
            raise
        except (pa.ArrowException, OSError, ValueError, OverflowError, TypeError, KeyError, IndexError) as error:
            raise DataError(f"{path}: is damaged: {brief(error)[:200]}; fetch or write it again") from None
        rows.append(sum(map(len, next(iter(grown.values())).chunks)))
        _append(merged, grown, path, limit)
    columns = [column.plain(name) for name, column in merged.items()]
    return {"columns": columns, "rows": rows, "names": first[1].names}


def _opened(path: str) -> tuple[Any, Iterator[Any], int | None]:
    """Schema, record batches, and the number of rows where the file tells it."""
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

        opened = parquet.ParquetFile(path, memory_map=False, pre_buffer=False)
        return opened.schema_arrow, opened.iter_batches(batch_size=_BATCH_ROWS), opened.metadata.num_rows
    if head[:6] == b"ARROW1":
        reader = pa.ipc.open_file(pa.OSFile(path))
        return reader.schema, (reader.get_batch(i) for i in range(reader.num_record_batches)), None
    stream = pa.ipc.open_stream(pa.OSFile(path))
    return stream.schema, iter(stream), None


def _same_columns(path: str, schema: Any, other: str, others: Any) -> None:
    if sorted(schema.names) != sorted(others.names):
        raise DataError(different(path, schema.names, other, others.names))
    for name in schema.names:
        kinds = kind_of(schema.field(name).type), kind_of(others.field(name).type)
        if kinds[0] != kinds[1] and "empty" not in kinds:
            raise DataError(f"{other}: {_unlike(name, kinds[1], path, kinds[0])}")


def _unlike(name: str, kind: str, others: str, expected: str) -> str:
    return f"column {name!r} holds {kind}, but in {others} {expected}; files of one split must be alike"


def different(path: str, names: Sequence[str], other: str, others: Sequence[str]) -> str:
    """The message about files of one split whose columns differ."""
    lacks, extra = ([n for n in a if n not in b] for a, b in ((names, others), (others, names)))
    parts = [
        f"{verb} {', '.join(map(repr, found[:5]))}"
        for verb, found in (("lacks", lacks), ("has besides", extra))
        if found
    ]
    return f"{other}: {' and '.join(parts)}, unlike {path}; files of one split must have the same columns"


def _append(merged: dict[str, Grown], grown: dict[str, Grown], path: str, limit: int) -> None:
    for name, more in grown.items():
        column = merged.setdefault(name, Grown(more.kind))
        if more.kind == "category":
            places = np.array(
                [column.codes.setdefault(text, len(column.codes)) for text in more.codes] + [-1], np.int32
            )
            more.chunks = [places[chunk] for chunk in more.chunks]
        if column.kind != more.kind:
            # A column without any value in one file has the kind that it has in the others.
            empty, other = (column, more) if column.kind == "empty" else (more, column)
            if empty.kind != "empty":
                raise DataError(f"{path}: {_unlike(name, more.kind, 'the files before it', column.kind)}")
            if other.kind == "category":
                empty.chunks = [np.full(len(chunk), -1, np.int32) for chunk in empty.chunks]
            column.kind, column.codes = other.kind, other.codes
        column.chunks += more.chunks
        column.bytes += more.bytes
        column.rounded |= more.rounded
    if sum(column.bytes for column in merged.values()) > limit:
        too_much(path, limit)
