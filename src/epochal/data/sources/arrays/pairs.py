"""Arrays that a program already holds: `(x, y)`, two or three such pairs, or a mapping of split names to pairs."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from epochal.data.sources.files import brief
from epochal.data.sources.types import SPLIT_NAMES, Context, RawDataset, RawSplit, Reader, split_of
from epochal.errors import DataError

_NAMES = {2: ("train", "test"), 3: ("train", "valid", "test")}
_EXPECTED = (
    "expected (x, y), tuples (x, y) of train and test or of train, valid and test, "
    "or a mapping of train, valid, test to pairs"
)


class Arrays(Reader):
    """Whatever objects no other reader knows."""

    formats, kind, options = "", "arrays", ("labels_from",)

    def matches(self, source: Any) -> bool:
        return not isinstance(source, (str, Path))

    def read(self, source: Any, context: Context) -> RawDataset:
        if context.options.labels_from is not None and not isinstance(source, (tuple, Mapping)):
            return RawDataset("arrays", {"train": RawSplit(as_array(source, "arrays: features"))})
        return read(source)


def read(source: Any) -> RawDataset:
    """The splits in `source`; its arrays are not copied. Raises DataError where its form is not understood."""
    if isinstance(source, Mapping):
        if not source:
            raise DataError(f"arrays: got an empty mapping; {_EXPECTED}")
        return RawDataset("arrays", {name: _pair(pair, name) for name, pair in by_split(source, "arrays").items()})
    if not isinstance(source, (tuple, list)) or len(source) not in _NAMES:
        count = f" of {len(source)}" if isinstance(source, (tuple, list)) else ""
        raise DataError(f"arrays: got {type(source).__name__}{count}; {_EXPECTED}")
    # Two rows and two labels, each as a tuple, would look the same; nobody can train on two rows.
    if len(source) == 2 and not all(isinstance(pair, tuple) and len(pair) == 2 for pair in source):
        return RawDataset("arrays", {"train": _pair(source, "train")})
    return RawDataset(
        "arrays", {name: _pair(pair, name) for name, pair in zip(_NAMES[len(source)], source, strict=True)}
    )


def by_split(source: Mapping[Any, Any], where: str) -> dict[str, Any]:
    """The values by their split. Raises DataError for a name of none, or two names of one."""
    splits: dict[str, Any] = {}
    for name, value in source.items():
        split = split_of(name)
        if split is None or split in splits:
            what = "two names of one split" if split else "a mapping with"
            raise DataError(f"{where}: got {what} {name!r}; its names must be of {SPLIT_NAMES}, each once at most")
        splits[split] = value
    return splits


def _pair(pair: Any, name: str) -> RawSplit:
    try:
        x, y = pair
    except (TypeError, ValueError):
        raise DataError(f"arrays: {name} is no pair of arrays but {type(pair).__name__}; {_EXPECTED}") from None
    return RawSplit(as_array(x, f"arrays: {name}: features"), as_array(y, f"arrays: {name}: labels"))


def as_array(value: Any, where: str) -> np.ndarray:
    """`value` as an array, not copied where it is one. Raises DataError, also for masks: NumPy would drop them."""
    if np.ma.is_masked(value):
        raise DataError(f"{where} have masked entries; fill them, or leave those rows out")
    try:
        return np.asarray(value)
    except Exception as error:  # whatever another library's __array__ raises
        raise DataError(f"{where} cannot become an array ({brief(error)}); give rows of one length") from None
