"""Checked data on the host: three disjoint splits, in the file's own dtype, with the numbers that describe them."""

import hashlib
import warnings
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from math import prod
from pathlib import Path
from typing import Any

import numpy as np

from epochal import checks
from epochal.errors import DataError
from epochal.sources import Raw, read
from epochal.sources.files import locate

SPLITS = ("train", "valid", "test")
HOLDOUTS = ("auto", "last", "stratified")
HELD_OUT = 6
"""One row in so many is held out where a source brings no validation or test split; the tutorials: 10,000 of 60,000."""


@dataclass(frozen=True, eq=False)
class Split:
    """Rows of one split: x of shape [rows, *example_shape] in the storage dtype, y int32 [rows].

    Unpacks as `x, y`; a slice of it is a Split.
    """

    x: np.ndarray
    y: np.ndarray
    divisor: float = 1.0

    def __iter__(self) -> Iterator[np.ndarray]:
        return iter((self.x, self.y))

    def __len__(self) -> int:
        return len(self.y)

    def __getitem__(self, rows: slice | np.ndarray) -> "Split":
        if not isinstance(rows, slice) and (isinstance(rows, tuple) or np.ndim(rows) != 1):
            raise TypeError(f"Split: rows must be a slice or a list of row numbers, got {rows!r}")
        return Split(self.x[rows], self.y[rows], self.divisor)

    @property
    def example_shape(self) -> tuple[int, ...]:
        """Shape of one example."""
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
    reading: Mapping[str, Any] | None = None  # the arguments of `load` that read it again; None for arrays

    def __iter__(self) -> Iterator[Split]:
        return iter((self.train, self.valid, self.test))

    @property
    def example_shape(self) -> tuple[int, ...]:
        """Shape of one example."""
        return self.train.example_shape

    @property
    def divisor(self) -> float:
        """What stored features are divided by inside the compiled step."""
        return self.train.divisor

    @cached_property
    def fingerprint(self) -> str:
        """SHA-256 (hexadecimal) over the three splits: shapes, dtypes, divisor, class names, and every byte."""
        digest = hashlib.sha256(repr((self.classes, self.divisor)).encode())
        for split in self:
            for array in split:
                digest.update(f"{array.dtype.str}{array.shape}".encode())
                digest.update(np.ascontiguousarray(array).data)
        return digest.hexdigest()

    def __repr__(self) -> str:
        sizes = ", ".join(f"{name} {len(split):,}" for name, split in zip(SPLITS, self, strict=True))
        examples = f"{self.train.x.dtype}{list(self.example_shape)}"
        return f"Dataset({self.source}: {sizes}; {len(self.classes)} classes; {examples})"


def load(
    source: Any = "digits",
    *,
    labels: Any = None,
    divisor: float | None = None,
    holdout: str = "auto",
    split_seed: int = 0,
    offline: bool = False,
    memory_bytes: int | None = None,
) -> Dataset:
    """Read, check and split a data set.

    `source` is a path (a `.pkl` or `.pkl.gz` of the tutorials, IDX files or their folder, `.npz`, `.npy`), a name
    (digits, mnist, fashion-mnist), arrays `(x, y)`, or splits `((x, y), (x, y), (x, y))` (two: train and test) or
    `{"train": (x, y), …}`. `labels` is a path or array for sources that hold x alone. `divisor` overrides what stored
    features are divided by: 255 for uint8 arrays of three or more axes (images), 1 otherwise. `holdout` says which rows
    become the validation (and test) split where the source has none: the `last` sixth in order, a `stratified` sixth
    drawn with `split_seed`, or `auto`: last for MNIST and Fashion-MNIST in IDX form, stratified otherwise. `offline`
    forbids downloads. `memory_bytes` bounds what files may unpack to (default: half of the free memory).

    Raises DataError, with the place and the remedy, for anything that cannot be used as it is.
    """
    raw = read(source, labels=labels, offline=offline, memory_bytes=memory_bytes)
    data = assemble(raw, divisor=divisor, holdout=holdout, split_seed=split_seed)
    if not isinstance(source, (str, Path)):
        return data
    reading = {
        "source": _absolute(source), "labels": _absolute(labels) if isinstance(labels, (str, Path)) else None,
        "divisor": None if divisor is None else data.divisor, "holdout": holdout, "split_seed": split_seed,
    }  # fmt: skip
    return replace(data, reading=reading)


def _absolute(source: str | Path) -> str:
    path = locate(source)
    return str(path.resolve()) if path else str(source)


def assemble(raw: Raw, *, divisor: float | None = None, holdout: str = "auto", split_seed: int = 0) -> Dataset:
    """The checked Dataset of what a reader found; holds out what is missing. Raises DataError."""
    if holdout not in HOLDOUTS:
        raise DataError(f"holdout: must be one of {', '.join(HOLDOUTS)}, got {holdout!r}")
    if type(split_seed) is not int or split_seed < 0:
        raise DataError(f"split_seed: must be a whole number from 0, got {split_seed!r}")
    splits, classes = _checked(raw, divisor)
    checks.all_classes(splits["train"].y, classes, raw.name)
    notes = []
    for name in ("test", "valid"):
        if name not in splits:
            last = holdout == "last" or (holdout == "auto" and raw.ordered_holdout)
            splits["train"], splits[name] = hold_out(splits["train"], last=last, seed=split_seed, source=raw.name)
            how = "the last rows in order" if last else f"a stratified draw with seed {split_seed}"
            notes.append(f"{name}: {len(splits[name]):,} rows held out of train, {how}")
    checks.all_classes(splits["train"].y, classes, raw.name, "the last rows held them: use holdout='stratified'")
    shared = checks.shared_rows(splits["train"].x, splits["test"].x)
    if shared:
        note = f"{raw.name}: {shared:,} of {len(splits['test']):,} test rows are identical to a train row"
        warnings.warn(note, stacklevel=3)
        notes.append(note)
    train, valid, test = splits["train"], splits["valid"], splits["test"]
    return Dataset(train, valid, test, classes, raw.name, raw.files, tuple(notes))


def _checked(raw: Raw, divisor: float | None) -> tuple[dict[str, Split], tuple[str, ...]]:
    """The splits that were found, and the class names."""
    if "train" not in raw.splits or not set(raw.splits) <= set(SPLITS):
        raise DataError(
            f"{raw.name}: holds the splits {', '.join(map(repr, raw.splits))}; they must be called train, and valid or "
            f"test where there are such"
        )
    found, labels = {}, {}
    for name, (x, y) in raw.splits.items():
        where = f"{raw.name}: {name}"
        if y is None:
            remedy = "give them with labels=… (--labels FILE)" if len(raw.splits) == 1 else "put them beside it"
            raise DataError(f"{where} has no labels; {remedy}")
        found[name], labels[name] = checks.features(x, where).view(), np.asarray(y)
        checks.same_length(found[name], labels[name], where)
        found[name].flags.writeable = False  # the caller may still write to an array of theirs, we never do
    checks.same_shape(found, raw.name)
    coded, classes = checks.encode_labels(labels, raw.name, raw.classes)
    scale = _divisor(found["train"], raw.divisor, divisor)
    return {name: Split(x, coded[name], scale) for name, x in found.items()}, classes


def unlabelled(raw: Raw, split: str, *, divisor: float | None = None) -> Split:
    """The checked features of one split of what was read, or of `all` in the order train, valid, test; labels are zero.

    Raises DataError where there is no such split.
    """
    names = [name for name in SPLITS if name in raw.splits and split in ("all", name)]
    if not names:
        raise DataError(f"{raw.name}: has no {split} split, only {', '.join(raw.splits)}; name one of them, or all")
    parts = {name: checks.features(raw.splits[name][0], f"{raw.name}: {name}") for name in names}
    checks.same_shape(parts, raw.name)
    x = next(iter(parts.values())) if len(parts) == 1 else np.concatenate(list(parts.values()))
    return Split(x, np.zeros(len(x), np.int32), _divisor(x, raw.divisor, divisor))


def hold_out(split: Split, *, last: bool, seed: int, source: str) -> tuple[Split, Split]:
    """Split one row in six off: the last rows in order, or the same share of every class drawn with `seed`.

    Both parts keep the order of the rows. Raises DataError where that leaves a part empty.
    """
    rows = len(split)
    cut = rows - rows // HELD_OUT
    parts = split[:cut], split[cut:]  # slices, so that nothing is copied
    if not last:
        taken = np.zeros(rows, bool)
        taken[stratified(split.y, rows - cut, seed)] = True
        parts = split[~taken], split[taken]
        for array in (*parts[0], *parts[1]):
            array.flags.writeable = False  # ours alone, so that the device may take the memory as it is
    if not len(parts[1]):
        raise DataError(
            f"{source}: {rows} rows are too few to hold one in {HELD_OUT} out; bring a validation and a test split"
        )
    return parts


def stratified(y: np.ndarray, count: int, seed: int) -> np.ndarray:
    """Numbers of `count` rows, or fewer, that hold every class in its share (largest remainders first).

    A class never loses its last row.
    """
    generator = np.random.default_rng(seed)
    present, sizes = np.unique(y, return_counts=True)
    exact = sizes * count / len(y)
    take = np.floor(exact).astype(int)
    order = [i for i in np.argsort(take - exact, kind="stable") if take[i] + 1 < sizes[i]]
    take[order[: count - take.sum()]] += 1
    chosen = [generator.permutation(np.flatnonzero(y == label))[:n] for label, n in zip(present, take, strict=True)]
    return np.sort(np.concatenate(chosen))


def _divisor(x: np.ndarray, found: float | None, asked: float | None) -> float:
    if asked is not None:
        if not isinstance(asked, (int, float, np.number)) or not (np.isfinite(asked) and asked > 0):
            raise DataError(f"divisor: must be a positive number, got {asked!r}")
        return float(asked)
    if found is not None:
        return found
    return 255.0 if x.dtype == np.uint8 and x.ndim >= 3 else 1.0
