"""What every reader returns."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from epochal.data.rows import Rows
from epochal.data.table import Table

_SPLITS = {
    "train": "train", "valid": "valid", "validation": "valid", "val": "valid", "dev": "valid", "test": "test",
}  # fmt: skip
SPLIT_NAMES = "train, valid (or validation, val, dev) and test"


def split_of(name: Any) -> str | None:
    """The split that a name means, in any case of letters; None where it means none."""
    return _SPLITS.get(str(name).strip().lower())


@dataclass(frozen=True, eq=False)
class RawSplit:
    """Rows as they were found: features, and labels where the source has them. Unpacks as `x, y`.

    `groups` and `times`, one value a row, say how rows may be held out.
    """

    x: Rows | Table
    y: Any = None
    groups: np.ndarray | None = None
    times: np.ndarray | None = None

    def __iter__(self) -> Iterator[Any]:
        return iter((self.x, self.y))


@dataclass(frozen=True)
class RawDataset:
    """What a source holds, by the name of the split: train, valid, test."""

    name: str
    splits: Mapping[str, RawSplit]
    files: tuple[Path, ...] = ()
    divisor: float | None = None  # what stored features are divided by, where the source knows
    classes: Sequence[str] | None = None  # names of the labels 0 …, where the source knows
    ordered_holdout: bool = False  # hold the last rows out, in order, as is usual for this data set
    notes: tuple[str, ...] = ()  # what was inferred, in words
    dropped: tuple[str, ...] = ()  # columns that were left out as asked
