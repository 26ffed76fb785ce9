"""How much of a campaign is done: a little in `make test`, more in `make thorough`, as much as one asks for in either.

Tests marked `campaign` are in both, those marked `thorough` in the second alone.
"""

import os
from collections.abc import Iterable
from typing import Any

import pytest


def share(name: str, thorough: int, short: int | None = None) -> int:
    """EPOCHAL_`name` where it is set, else what `make thorough` does, or the `short` form of any other run."""
    whole = short is None or os.environ.get("EPOCHAL_THOROUGH")
    return int(os.environ.get(f"EPOCHAL_{name}") or (thorough if whole else short))


def some(count: int, wanted: int) -> list[int]:
    """`wanted` of the numbers from 0 to `count`, evenly spaced, or all where that is more."""
    return sorted({number * count // wanted for number in range(wanted)}) if wanted < count else list(range(count))


def cases(names: Iterable[Any], *short: Any) -> list[Any]:
    """Values to parametrize a test with, of which those that are not in `short` are for `make thorough`."""
    return [name if name in short else pytest.param(name, marks=pytest.mark.thorough) for name in names]
