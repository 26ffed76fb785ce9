"""The tutorials' `mnist.pkl.gz`: a pickle of three `(x, y)` pairs, read without executing it."""

from pathlib import Path
from typing import Any

import numpy as np

from epochal.data.sources.arrays.pickles import read_pickle
from epochal.data.sources.files import read_bytes
from epochal.data.sources.types import Context, RawDataset, RawSplit, Reader
from epochal.errors import DataError


class PickleFile(Reader):
    """Train, valid and test from a pickle of three pairs (two: train and test), or of a mapping to pairs."""

    formats, kind, options = ".pkl and .pkl.gz as the tutorials write them", "a file of arrays", ("labels_from",)
    suffixes = (".pkl", ".pickle")

    def read(self, path: Path, context: Context) -> RawDataset:
        content = read_pickle(read_bytes(path, context.limit), str(path), context.limit)
        pairs: dict[Any, Any] = {}
        if isinstance(content, dict):
            pairs = content
        elif isinstance(content, (tuple, list)) and len(content) in (2, 3):
            names = ("train", "valid", "test") if len(content) == 3 else ("train", "test")
            pairs = dict(zip(names, content, strict=True))
        if not pairs or not all(isinstance(name, str) and _is_pair(pair) for name, pair in pairs.items()):
            raise DataError(
                f"{path}: holds {_describe(content)}, expected three pairs of arrays (train, valid, test), two "
                f"(train, test), or a dict of train, valid, test to pairs, each (x, y) with one label a row; save it "
                f"so, or as .npz"
            )
        return RawDataset(path.name, {name: RawSplit(pair[0], pair[1]) for name, pair in pairs.items()}, (path,))


def _is_pair(pair: Any) -> bool:
    return isinstance(pair, (tuple, list)) and len(pair) == 2 and all(isinstance(a, np.ndarray) for a in pair)


def _describe(content: Any) -> str:
    if isinstance(content, dict):
        return f"a dict of {', '.join(map(ascii, list(content)[:5])) or 'nothing'}{', …' if len(content) > 5 else ''}"
    return f"a {type(content).__name__}{f' of {len(content)}' if isinstance(content, (tuple, list)) else ''}"
