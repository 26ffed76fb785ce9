"""Arrays that a program already holds: `(x, y)`, three such pairs, or a mapping of split names to pairs."""

from collections.abc import Mapping
from typing import Any

import numpy as np

from epochal.errors import DataError
from epochal.sources.raw import Raw

_EXPECTED = "expected (x, y), three pairs (x, y), or a mapping of train, valid, test to pairs"


def read(source: Any, labels: Any = None) -> Raw:
    """The splits in `source`; its arrays are not copied. Raises DataError where its form is not understood."""
    if isinstance(source, Mapping):
        unknown = [name for name in source if name not in ("train", "valid", "test")]
        if unknown:
            raise DataError(f"arrays: split {unknown[0]!r} is not known; {_EXPECTED}")
        return Raw("arrays", {name: _pair(pair, name) for name, pair in source.items()})
    if labels is not None:
        return Raw("arrays", {"train": (np.asarray(source), np.asarray(labels))})
    if not isinstance(source, (tuple, list)) or len(source) not in (2, 3):
        raise DataError(f"arrays: got {type(source).__name__}; {_EXPECTED}")
    if len(source) == 2:
        return Raw("arrays", {"train": _pair(source, "train")})
    names = ("train", "valid", "test")
    return Raw("arrays", {name: _pair(pair, name) for name, pair in zip(names, source, strict=True)})


def _pair(pair: Any, name: str) -> tuple[np.ndarray, np.ndarray]:
    try:
        x, y = pair
        return np.asarray(x), np.asarray(y)
    except (TypeError, ValueError):
        raise DataError(f"arrays: {name} is no pair of arrays; {_EXPECTED}") from None
