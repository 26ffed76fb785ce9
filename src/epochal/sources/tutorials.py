"""The tutorials' `mnist.pkl.gz`: a pickle of three `(x, y)` pairs, read without executing it."""

from pathlib import Path
from typing import Any

import numpy as np

from epochal.errors import DataError
from epochal.sources.files import read_bytes
from epochal.sources.pickles import read_pickle
from epochal.sources.raw import Raw


def read(path: Path, labels: Any, limit: int) -> Raw:
    """Train, valid and test from a pickle of three pairs (two: train and test), or of a mapping to pairs."""
    content = read_pickle(memoryview(read_bytes(path, limit)), str(path), limit)
    pairs: dict[str, Any] | None = None
    if isinstance(content, dict):
        pairs = {str(name): pair for name, pair in content.items()}
    elif isinstance(content, (tuple, list)) and len(content) in (2, 3):
        names = ("train", "valid", "test") if len(content) == 3 else ("train", "test")
        pairs = dict(zip(names, content, strict=True))
    if pairs is None or not all(_is_pair(pair) for pair in pairs.values()):
        raise DataError(
            f"{path}: holds no three pairs of arrays (train, valid, test), each (x, y) with one label a row"
        )
    return Raw(path.name, {name: (pair[0], pair[1]) for name, pair in pairs.items()}, (path,))


def _is_pair(pair: Any) -> bool:
    return isinstance(pair, (tuple, list)) and len(pair) == 2 and all(isinstance(a, np.ndarray) for a in pair)
