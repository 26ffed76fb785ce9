"""Checked data on the host: three disjoint splits, in the file's own dtype, with what describes them."""

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from math import prod
from pathlib import Path

import numpy as np

from epochal.data.checks import row_hashes
from epochal.data.known_rows import KnownRows
from epochal.data.options import Reading
from epochal.data.preprocessing import Preprocessing
from epochal.data.rows import Rows, blocks
from epochal.errors import DataError

SPLITS = ("train", "valid", "test")
DEFAULT_READING = Reading()


@dataclass(frozen=True, eq=False)
class Split:
    """Rows of one split: x of shape [rows, *example_shape] in the storage dtype, y int32 [rows].

    `weight`, where there is one, float [rows], is what each row counts in the loss; scores count rows whole. `opens`
    are the ledgers that keep count of how often these rows are scored, where they are of a test split.
    Unpacks as `x, y`; a slice of it is a Split.
    """

    x: Rows
    y: np.ndarray
    divisor: float = 1.0
    weight: np.ndarray | None = None
    opens: tuple[str, ...] = ()

    def __iter__(self) -> Iterator[Rows]:
        return iter((self.x, self.y))

    def __len__(self) -> int:
        return len(self.y)

    def __getitem__(self, rows: slice | np.ndarray) -> "Split":
        if not isinstance(rows, slice) and (isinstance(rows, tuple) or np.ndim(rows) != 1):
            raise TypeError(f"Split: rows must be a slice or a list of row numbers, got {rows!r}")
        weight = None if self.weight is None else self.weight[rows]
        return Split(self.x[rows], self.y[rows], self.divisor, weight, self.opens)

    @property
    def example_shape(self) -> tuple[int, ...]:
        return tuple(self.x.shape[1:])

    @property
    def row_bytes(self) -> int:
        """Bytes of one row in its storage dtype, its label included."""
        return prod(self.example_shape) * self.x.dtype.itemsize + self.y.dtype.itemsize

    def __repr__(self) -> str:
        return f"Split({len(self):,} rows of {self.x.dtype}{list(self.example_shape)})"


@dataclass(frozen=True, eq=False)
class Dataset:
    """Train, valid and test split, disjoint by construction; unpacks as those three.

    `classes` are the class names in the order of the labels 0 …; stored features over `divisor` are the features that
    a model sees (255 for pixels kept as uint8). `source` says where the data came from.
    """

    train: Split
    valid: Split
    test: Split
    classes: tuple[str, ...]
    source: str = "arrays"
    files: tuple[Path, ...] = ()
    notes: tuple[str, ...] = ()
    preprocessing: Preprocessing | None = None  # how a table became features
    reading: Reading = DEFAULT_READING
    origin: str | None = None  # the path or name that `load` reads it from again; None for arrays
    groups: np.ndarray | None = None  # of the train rows, then of the validation rows, where they were read with some
    warnings: tuple[str, ...] = ()  # those of the notes that `load` warns of, too

    def __iter__(self) -> Iterator[Split]:
        return iter((self.train, self.valid, self.test))

    @property
    def example_shape(self) -> tuple[int, ...]:
        return self.train.example_shape

    @property
    def divisor(self) -> float:
        return self.train.divisor

    @cached_property
    def fingerprint(self) -> str:
        """SHA-256 (hexadecimal) over the three splits: dtypes, shapes, divisor, class names, and every byte."""
        digest = hashlib.sha256(repr((self.classes, self.divisor)).encode())
        for split in self:
            for array in (*split, *([] if split.weight is None else [split.weight])):
                digest.update(f"{array.dtype.str}{array.shape}".encode())
                for _, block in blocks(array):
                    digest.update(np.ascontiguousarray(block).view(np.uint8).data)
        return digest.hexdigest()

    @cached_property
    def known_rows(self) -> KnownRows:
        """Digests of the rows, by which they are recognised when they come again."""
        return KnownRows.of({name: row_hashes(split.x) for name, split in zip(SPLITS, self, strict=True)})

    @property
    def ledger_keys(self) -> tuple[str, ...]:
        """Names of the ledgers that count the openings of the test split: by its rows, not by how they are read."""
        return self.test.opens or (hashlib.sha256(row_hashes(self.test.x).data).hexdigest(),)

    @property
    def class_counts(self) -> dict[str, list[int]]:
        """How many rows of each class every split has."""
        count = len(self.classes)
        return {name: np.bincount(s.y, minlength=count).tolist() for name, s in zip(SPLITS, self, strict=True)}

    def __repr__(self) -> str:
        sizes = ", ".join(f"{name} {len(split):,}" for name, split in zip(SPLITS, self, strict=True))
        examples = f"{self.train.x.dtype}{list(self.example_shape)}"
        return f"Dataset({self.source}: {sizes}; {len(self.classes)} classes; {examples})"


def check_data(data: object) -> None:
    """Raise DataError, with the remedy, for any object but a `Dataset`."""
    if not isinstance(data, Dataset):
        how = "data, label=…" if hasattr(data, "columns") else "data" if not isinstance(data, str) else repr(data)
        raise DataError(
            f"data: must be a Dataset, got {type(data).__name__}; make one with epochal.load({how}), and train on that"
        )
