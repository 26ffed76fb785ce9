"""What every reader returns."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np


@dataclass(frozen=True)
class Raw:
    """Arrays as they were found: split name (train, valid, test) to x and y, y None where the source has no labels."""

    name: str
    splits: Mapping[str, tuple[np.ndarray, Any]]
    files: tuple[Path, ...] = ()
    divisor: float | None = None  # what stored features are divided by, where the source knows
    classes: Sequence[str] | None = None  # names of the labels 0 …, where the source knows
    ordered_holdout: bool = False  # hold the last rows out, in order, as is usual for this data set
