"""The data in a selection: without the test split, and divided into folds for cross-validation.

Every train and validation row is validated once.
Features of a table keep the preprocessing that was fitted on the data set's own train rows.
"""

from dataclasses import replace
from typing import Any

import numpy as np

from epochal.data.dataset import Dataset, Split
from epochal.data.rows import FileRows
from epochal.errors import DataError, RunError, option
from epochal.system.aligned import frozen
from epochal.system.permutations import permutation


class HiddenSplit(Split):
    """The test split during a selection: to look at its rows raises RunError."""

    def __getattribute__(self, name: str) -> Any:
        if name in ("x", "y", "weight"):
            raise RunError("the test split is closed during a selection; open it for the chosen one, at the end")
        return super().__getattribute__(name)

    def __len__(self) -> int:
        raise RunError("the test split is closed during a selection; open it for the chosen one, at the end")


def closed(data: Dataset) -> Dataset:
    """`data` as a selection sees them: train and validation rows alone."""
    nothing = np.zeros(0, np.int32)
    return replace(data, test=HiddenSplit(nothing, nothing))


def train_and_valid(data: Dataset) -> Split:
    """The train and validation rows as one split. Raises DataError where they stay in a file."""
    if isinstance(data.train.x, FileRows) or isinstance(data.valid.x, FileRows):
        raise DataError(
            f"{data.source}: its rows stay in the file, they are larger than the memory granted for reading; folds and "
            f"a refit on train and validation rows need them in memory: grant more with {option('host_memory')}"
        )
    x, y = (np.concatenate([getattr(split, name) for split in (data.train, data.valid)]) for name in ("x", "y"))
    weight = None
    if data.train.weight is not None or data.valid.weight is not None:
        weight = np.concatenate([np.ones(len(s)) if s.weight is None else s.weight for s in (data.train, data.valid)])
    return Split(frozen(x), frozen(y), data.divisor, weight)


def folds(data: Dataset, count: int, seed: int) -> list[Dataset]:
    """`count` views of the data, each with another part of the rows as its validation split. Raises DataError.

    A fold holds every class in its share, or whole groups where the data were read with a group column.
    """
    whole = train_and_valid(data)
    number = _stratified(whole.y, count, seed) if data.groups is None else _grouped(data.groups, count, seed)
    views = []
    for fold in range(count):
        train, valid = np.flatnonzero(number != fold), np.flatnonzero(number == fold)
        lacking = set(range(len(data.classes))) - set(np.unique(whole.y[train]).tolist())
        if lacking or not len(valid):
            name = data.classes[min(lacking)] if lacking else ""
            what = f"the rows outside of fold {fold + 1} have no {name!r}" if lacking else f"fold {fold + 1} is empty"
            raise DataError(f"{data.source}: {count} folds are too many: {what}; take fewer, or bring more rows")
        views.append(replace(data, train=_rows(whole, train), valid=_rows(whole, valid), groups=None))
    return views


def _rows(whole: Split, rows: np.ndarray) -> Split:
    split = whole[rows]
    for array in split:
        assert isinstance(array, np.ndarray)
        frozen(array)
    return split


def _stratified(y: np.ndarray, count: int, seed: int) -> np.ndarray:
    """The fold of each row: each class is dealt out in random order, on from where the last one ended."""
    number, dealt = np.empty(len(y), np.int64), 0
    for label in np.unique(y).tolist():
        rows = np.flatnonzero(y == label)
        number[rows[permutation(len(rows), seed, label)]] = (dealt + np.arange(len(rows))) % count
        dealt += len(rows)
    return number


def _grouped(groups: np.ndarray, count: int, seed: int) -> np.ndarray:
    """The fold of each row: groups from the largest on, in random order among equals, each to the smallest fold."""
    names, codes, sizes = np.unique(groups, return_inverse=True, return_counts=True)
    order = permutation(len(names), seed, 0)
    of, filled = np.empty(len(names), np.int64), np.zeros(count, np.int64)
    for group in order[np.argsort(-sizes[order], kind="stable")]:
        of[group] = int(np.argmin(filled))
        filled[of[group]] += sizes[group]
    return of[codes]
