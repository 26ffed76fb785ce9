"""Features of a table by its preprocessing: in memory, or rows of a file in the user's cache where they are many."""

import hashlib
from math import prod

import numpy as np

from epochal.data.preprocessing import Preprocessing
from epochal.data.rows import FileRows, Rows, file_rows
from epochal.data.table import Column, Table
from epochal.errors import DataError
from epochal.system import disk_cache
from epochal.system.disk import Output
from epochal.system.disk_cache import Entry

_FILE = "features"
_BLOCK_CELLS = 1 << 20


def features(preprocessing: Preprocessing, table: Table, where: str, limit: int) -> tuple[Rows, str]:
    """The features of every row: float32 [rows, features], all finite; and a note where they are kept in a file.

    Those of more than `limit` bytes are made block by block, once. Raises what `Preprocessing.apply` raises.
    """
    shape = len(table), preprocessing.width
    size = 4 * prod(shape)
    if size <= limit:
        return preprocessing.apply(table, where), ""
    preprocessing.check(table, where)
    key = disk_cache.key(["features", preprocessing.to_json(), [_identity(*item) for item in table.columns.items()]])
    entry = disk_cache.find(key) or _made(preprocessing, table, where, key, size)
    try:
        rows = file_rows(entry.folder / _FILE, shape, np.dtype(np.float32))
    except OSError as error:
        raise DataError(f"{entry.folder}: cannot be read: {error.strerror or error}; try again") from None
    return rows, entry.note(f"its {shape[1]:,} features take")


def _made(preprocessing: Preprocessing, table: Table, where: str, key: str, size: int) -> Entry:
    step = max(1, _BLOCK_CELLS // max(preprocessing.width, len(table.columns)))
    with disk_cache.writing(key) as writer, Output(writer.folder / _FILE, size) as file:
        for first, block in table.blocks(step):
            file.write(preprocessing.apply_block(block, where, first))
        return writer.commit({}, {_FILE: file.digest})


def _identity(name: str, column: Column) -> list[str]:
    """Tells a column from all others."""
    texts = hashlib.sha256("\0".join(column.categories).encode(errors="surrogatepass")).hexdigest()
    values = column.values
    if isinstance(values, FileRows):
        return [name, column.kind, texts, values.identity]
    told = hashlib.sha256(np.ascontiguousarray(values).data).hexdigest()
    return [name, column.kind, texts, f"{values.dtype} {told}"]
