"""The identity of test rows, by which the ledgers of openings follow them, whatever the options that read them."""

import hashlib
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from epochal.data.checks import row_hashes
from epochal.data.rows import Rows
from epochal.data.table import Column, Table

_BLOCK_ROWS = 1 << 18
_MISSING = 0x7FF8DEADBEEF0001
_WHOLE_BYTES, _PIECE_BYTES, _PIECES = 64 << 20, 1 << 20, 64


def ledger_keys(test: Rows | Table, files: Sequence[Path], held_out: np.ndarray | None) -> tuple[str, ...]:
    """Names of the ledgers that count the openings of the rows `test`, as they were read: hexadecimal SHA-256.

    One is of their content, before it is cast, divided or standardised. Rows of a table that comes from `files` have
    another, of the files and of the rows' place in them (their numbers, where they are `held_out`), since the content
    that is read depends on the columns that are left out. An opening counts in all of them.
    """
    if not isinstance(test, Table):
        return (_digest(row_hashes(test)),)
    keys = [_digest(table_hashes(test))]
    if files:
        place = "a split of its own" if held_out is None else _digest(held_out)
        keys.append(hashlib.sha256(f"{[file_digest(path) for path in files]} {place}".encode()).hexdigest())
    return tuple(keys)


def _digest(array: np.ndarray) -> str:
    return hashlib.sha256(np.ascontiguousarray(array).data).hexdigest()


def table_hashes(table: Table) -> np.ndarray:
    """A 64-bit hash of every row's cells, by the names of the columns in any order: uint64 [rows]."""
    total = np.zeros(len(table), np.uint64)
    texts = {name: _text_hashes(column) for name, column in table.columns.items()}
    for begin, block in table.blocks(_BLOCK_ROWS):
        for name, column in block.columns.items():
            if column.kind == "category":
                cells = texts[name][column.array]
            else:
                values = column.array.astype(np.float64) + 0.0  # one zero, not two
                cells = np.where(np.isnan(values), np.uint64(_MISSING), values.view(np.uint64))
            mixed = (cells ^ np.uint64(_text_hash(name))) * np.uint64(0x9E3779B97F4A7C15)
            total[begin : begin + len(cells)] += (mixed ^ (mixed >> np.uint64(29))) * np.uint64(0xBF58476D1CE4E5B9)
    return total


def _text_hashes(column: Column) -> np.ndarray:
    """Hashes of the categories by code; the last one is that of a missing value, whose code is -1."""
    return np.array([*map(_text_hash, column.categories), _MISSING], np.uint64)


def _text_hash(text: str) -> int:
    return int.from_bytes(hashlib.blake2b(text.encode(errors="surrogatepass"), digest_size=8).digest(), "little")


def file_digest(path: Path) -> str:
    """SHA-256 of a file's size and content; of one above 64 MiB, of 64 pieces of a MiB that are spread over it."""
    try:
        with path.open("rb") as file:
            size = path.stat().st_size
            digest = hashlib.sha256(str(size).encode())
            if size <= _WHOLE_BYTES:
                digest.update(file.read())
                return digest.hexdigest()
            for piece in range(_PIECES):
                file.seek((size - _PIECE_BYTES) * piece // (_PIECES - 1))
                digest.update(file.read(_PIECE_BYTES))
            return digest.hexdigest()
    except OSError:
        return "unreadable"
