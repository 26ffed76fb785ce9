"""The rows of a data set by digests, so that they are recognised when they come again, in whatever file or frame.

A digest is 64 bits of a row's stored features; labels are not looked at. Of very many rows those with the smallest
digests are kept, the same ones wherever they are met, and what is counted is then an estimate.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import NamedTuple, Self

import numpy as np

from epochal.data.checks import row_hashes
from epochal.data.rows import Rows

MOST_ROWS = 1 << 20
NAMES = ("train", "valid", "test")
_LARGEST = 2**64 - 1


class Digests(NamedTuple):
    """Digests of one split: sorted uint64, all that are at most `limit`."""

    values: np.ndarray
    limit: int

    @classmethod
    def of(cls, hashes: np.ndarray, most: int = MOST_ROWS) -> Self:
        mixed = _mixed(hashes)
        limit = _LARGEST if len(mixed) <= most else 2**64 * most // len(mixed)
        return cls(np.unique(mixed[mixed <= np.uint64(limit)]), limit)

    def holds(self, digests: np.ndarray) -> np.ndarray:
        """Which of `digests` are among these: bool."""
        if not len(self.values):
            return np.zeros(len(digests), bool)
        places = np.minimum(np.searchsorted(self.values, digests), len(self.values) - 1)
        return self.values[places] == digests


class Counts(NamedTuple):
    """How many rows are known from each split of a run. A row of several splits counts for the first of them."""

    train: int
    valid: int
    test: int

    @property
    def any(self) -> int:
        return sum(self)


@dataclass(frozen=True)
class KnownRows:
    """The digests of the three splits of a run, which has so many `rows` in all."""

    train: Digests
    valid: Digests
    test: Digests
    rows: int

    @property
    def splits(self) -> tuple[Digests, Digests, Digests]:
        return self.train, self.valid, self.test

    @classmethod
    def of(cls, hashes: Mapping[str, np.ndarray]) -> Self:
        train, valid, test = (Digests.of(hashes[name]) for name in NAMES)
        return cls(train, valid, test, sum(map(len, hashes.values())))

    @property
    def exact(self) -> bool:
        """Whether every row has its digest here."""
        return all(split.limit == _LARGEST for split in self.splits)

    def count(self, x: Rows) -> Counts:
        """How many rows of `x`, in the storage form of the run, are known."""
        if not len(x):
            return Counts(0, 0, 0)
        digests = _mixed(row_hashes(x))
        limit = min(split.limit for split in self.splits)
        sampled = digests[digests <= np.uint64(limit)]
        counts, left = [], np.ones(len(sampled), bool)
        for split in self.splits:
            known = split.holds(sampled) & left
            left &= ~known
            counts.append(round(int(known.sum()) * len(digests) / max(1, len(sampled))))
        return Counts(*counts)

    def arrays(self) -> dict[str, np.ndarray]:
        return {name: split.values for name, split in zip(NAMES, self.splits, strict=True)}

    def limits(self) -> dict[str, int]:
        """For the same file: the largest digest that each split keeps, and the number of rows."""
        return {name: split.limit for name, split in zip(NAMES, self.splits, strict=True)} | {"rows": self.rows}

    @classmethod
    def from_arrays(cls, arrays: Mapping[str, np.ndarray], limits: Mapping[str, int]) -> Self:
        """What `arrays` and `limits` gave. Raises KeyError, ValueError."""
        train, valid, test = (Digests(arrays[name].astype(np.uint64), int(limits[name])) for name in NAMES)
        return cls(train, valid, test, int(limits["rows"]))


def _mixed(hashes: np.ndarray) -> np.ndarray:
    """Hashes whose every bit depends on all bits (the finaliser of SplitMix64, Steele et al., OOPSLA 2014)."""
    z = hashes + np.uint64(0x9E3779B97F4A7C15)
    z = (z ^ (z >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    z = (z ^ (z >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return z ^ (z >> np.uint64(31))
