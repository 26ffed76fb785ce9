"""Features of a table by its preprocessing: in memory, or rows of a file in the user's cache where they are many."""

import hashlib
from math import prod

import numpy as np

from epochal.data.preprocessing import Preprocessing
from epochal.data.rows import ROWS, FileRows, Rows, entry_rows
from epochal.data.table import Column, Table
from epochal.system.disk import Output
from epochal.system.disk_cache import Overflow

_BLOCK_CELLS = 1 << 20


def features(preprocessing: Preprocessing, table: Table, where: str, limit: int) -> tuple[Rows, str]:
    """The features of every row: float32 [rows, features], all finite; and a note where they are kept in a file.

    Those of more than `limit` bytes are computed by blocks, once, and go to a file. Raises as `Preprocessing.apply`.
    """
    shape = len(table), preprocessing.width
    size = 4 * prod(shape)
    if size <= limit:
        return preprocessing.apply(table, where), ""
    preprocessing.check(table, where)
    parts = ["features", preprocessing.to_json(), [_identity(*item) for item in table.columns.items()]]
    with Overflow(parts, limit) as overflow:
        if overflow.entry is None:
            step = max(1, _BLOCK_CELLS // max(preprocessing.width, len(table.columns)))
            with Output(overflow.folder / ROWS, size) as file:
                for first, block in table.blocks(step):
                    file.write(preprocessing.apply_block(block, where, first))
            overflow.commit({}, {ROWS: file.digest})
    assert overflow.entry
    return entry_rows(overflow.entry, shape, np.float32), overflow.entry.note(f"its {shape[1]:,} features take")


def _identity(name: str, column: Column) -> list[str]:
    """Tells a column from all others."""
    texts = hashlib.sha256("\0".join(column.categories).encode(errors="surrogatepass")).hexdigest()
    values = column.values
    if isinstance(values, FileRows):
        return [name, column.kind, texts, values.identity]
    content = hashlib.sha256(np.ascontiguousarray(values).data).hexdigest()
    return [name, column.kind, texts, f"{values.dtype} {content}"]
