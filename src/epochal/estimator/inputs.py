"""From the arrays X, y and sample_weight of a caller to the splits of a run.

Errors are ValueErrors, as users of scikit-learn expect them, in our own form.
"""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import numpy as np

from epochal.data import holdout
from epochal.data.dataset import Dataset, Split
from epochal.training.recipe import Recipe
from epochal.training.row_weights import weighed

AUTO_ROWS = 10_000
"""Rows from which on a tenth of them is enough to choose by: errors on a few rows tie, and the earliest wins."""

PADDED_ROWS = 8192
"""Rows to predict, up to which their number is rounded up: beyond, compiling is little beside the work."""


def numbered(y: np.ndarray, classes: np.ndarray, where: str) -> np.ndarray:
    """Labels as int32 numbers of sorted `classes`. Raises ValueError for one that is no class."""
    codes = np.minimum(np.searchsorted(classes, y), len(classes) - 1)
    unknown = classes[codes] != y
    if unknown.any():
        row = int(np.argmax(unknown))
        raise ValueError(
            f"{where}: row {row:,} has label {y.tolist()[row]!r}, but the classes are {shown(classes)}; fix it"
        )
    return codes.astype(np.int32)


def shown(classes: np.ndarray) -> str:
    """The first few classes."""
    return ", ".join(map(repr, classes[:10].tolist())) + (", …" if len(classes) > 10 else "")


def same_classes(classes: Any, known: np.ndarray | None) -> np.ndarray:
    """The sorted `classes` that `partial_fit` is given: in its first call any, later those that are `known`."""
    if classes is None:
        raise ValueError("classes: the first call to partial_fit needs all classes; give classes=np.unique(all labels)")
    given = np.unique(classes)
    if known is not None and not np.array_equal(given, known):
        raise ValueError(f"classes: are {shown(given)}, but were {shown(known)} before; leave them out, or fit again")
    check_two_classes(np.arange(len(given)), given)
    return given


def check_two_classes(codes: np.ndarray, classes: np.ndarray) -> None:
    """Raise ValueError where only one class has a row."""
    if codes.min() == codes.max():
        raise ValueError(
            f"y: has one class, {classes.tolist()[codes[0]]!r}, in all {len(codes):,} rows that count; a classifier "
            f"needs two, bring rows of another"
        )


def check_shape(x: np.ndarray, shape: tuple[int, ...] | None) -> None:
    """Raise ValueError unless the examples of `x` have features, and `shape` where it is given."""
    if shape not in (None, x.shape[1:]) or 0 in x.shape:
        wanted = f"they had shape {list(shape)} in fit" if shape else "they must have features"
        raise ValueError(f"X: examples have shape {list(x.shape[1:])}, but {wanted}; bring them to that shape")


def refuse_balanced(class_weight: Any) -> None:
    """Raise ValueError for weights that need all rows at hand."""
    if isinstance(class_weight, str):
        raise ValueError(
            f"class_weight: {class_weight!r} needs all rows, and partial_fit sees a portion; give weights by class, "
            f"from sklearn.utils.class_weight.compute_class_weight('balanced', classes=…, y=…)"
        )


def portion(x: np.ndarray, codes: np.ndarray, sample_weight: Any, divisor: Any) -> Split:
    """The rows that count: those of weight 0 are left out. Raises ValueError."""
    if isinstance(divisor, (bool, str)) or not np.ndim(divisor) == 0 or not 0 < divisor < np.inf:
        raise ValueError(f"divisor: must be a finite number above 0, got {divisor!r}")
    split = Split(x, codes, float(divisor))
    if sample_weight is None:
        return split
    weight = np.asarray(sample_weight, np.float64)
    weight = np.full(len(codes), weight) if weight.ndim == 0 else weight
    if weight.shape != codes.shape:
        raise ValueError(
            f"sample_weight: has shape {list(weight.shape)}, but there are {len(codes):,} rows; give one weight a row"
        )
    bad = ~(np.isfinite(weight) & (weight >= 0))
    if bad.any():
        row = int(np.argmax(bad))
        raise ValueError(
            f"sample_weight: row {row:,} has weight {weight[row]}; weights must be finite, and at least 0: fix it"
        )
    return without_zeros(replace(split, weight=weight))


def without_zeros(split: Split) -> Split:
    """`split` without its rows of weight 0, and without weights where all are 1. Raises ValueError if none is left."""
    if split.weight is None:
        return split
    counted = split.weight > 0
    if not counted.any():
        raise ValueError(f"sample_weight: all {len(split):,} weights are zero; give some rows a weight above 0")
    split = split if counted.all() else split[np.flatnonzero(counted)]
    return replace(split, weight=None) if np.all(split.weight == 1) else split


def class_weighed(split: Split, class_weight: Any, classes: np.ndarray, names: tuple[str, ...]) -> Split:
    """`split` with the weights of its classes multiplied in: "balanced", or weights by class. Raises RecipeError."""
    if isinstance(class_weight, Mapping):
        by_class = dict(zip(classes.tolist(), names, strict=True))
        class_weight = {by_class.get(label, label): weight for label, weight in class_weight.items()}
    checked = Recipe(class_weight=class_weight).class_weight
    return without_zeros(weighed(split, checked, names))


def normalised(split: Split) -> Split:
    """`split` with weights of mean 1, so that the learning rate keeps its meaning; without where all are the same."""
    weight = split.weight
    if weight is None or weight.min() == weight.max():
        return replace(split, weight=None)
    return replace(split, weight=weight / weight.mean())


def hold_out(split: Split, fraction: Any, seed: int) -> tuple[Split, Split | None]:
    """Train and validation rows: a `fraction`, at least one, drawn with every class in its share.

    None holds nothing out, "auto" a tenth if there are `AUTO_ROWS`. Raises ValueError.
    """
    if isinstance(fraction, str) and fraction == "auto":
        fraction = 0.1 if len(split) >= AUTO_ROWS else None
    if fraction is None:
        return split, None
    if isinstance(fraction, (bool, str)) or not np.ndim(fraction) == 0 or not 0 < fraction < 1:
        raise ValueError(f"validation_fraction: must be above 0 and below 1, None, or 'auto', got {fraction!r}")
    held_out = holdout.stratified(split.y, max(1, round(len(split) * fraction)), seed)
    if not len(held_out):
        raise ValueError(
            f"validation_fraction: of {len(split):,} rows none can be held out, as each is the last of its class; "
            f"give X_valid and y_valid, or validation_fraction=None"
        )
    train = np.setdiff1d(np.arange(len(split)), held_out, assume_unique=True)
    return split[train], replace(split[held_out], weight=None)


def dataset(train: Split, valid: Split | None, names: tuple[str, ...]) -> Dataset:
    """The Dataset of a run without test rows; without validation rows a train row stands in for them."""
    valid = replace(train[:1], weight=None) if valid is None else valid
    return Dataset(train, valid, replace(train[:0], weight=None), names)


def padded(x: np.ndarray) -> np.ndarray:
    """`x`, of at least one row, with its last row repeated up to a number of few forms, so that few are compiled for.

    The number is rounded up to three binary digits: 1 to 8, 10, 12, 14, 16, 20, …; at most a quarter is added.
    """
    if len(x) > PADDED_ROWS:
        return x
    unit = 1 << max(0, (len(x) - 1).bit_length() - 3)
    more = -len(x) % unit
    return np.concatenate([x, np.repeat(x[-1:], more, axis=0)]) if more else x
