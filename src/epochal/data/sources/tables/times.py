"""Times of rows, to order them by: numbers, or dates and times as text."""

from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

import numpy as np

from epochal.errors import DataError

Place = Callable[[int], str]
"""Names the file and the row, such as `t.csv: row 3 (line 5)`; rows count from 0, lines from 1."""

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


def as_number(text: str) -> float:
    """The number that `text` is, NaN where it is none."""
    try:
        return float(text) if text.isascii() and "_" not in text else np.nan
    except ValueError:
        return np.nan


def moments(found: np.ndarray, name: str, place: Place) -> np.ndarray:
    """Numbers as they are, ISO dates and times as microseconds: int64 or float64. Raises DataError for other text."""
    if found.dtype.kind in "iuf":
        if np.isinf(found).any():
            raise DataError(f"{place(int(np.argmax(np.isinf(found))))}: has an infinite time ({name!r}); drop the row")
        return found
    numbers = [as_number(text) for text in found.tolist()]
    if np.isfinite(numbers).all():
        return np.array(numbers)
    stamps = np.empty(len(found), np.int64)
    zoned = None
    for row, text in enumerate(found.tolist()):
        moment = _parsed(text)
        if moment is None:
            raise DataError(
                f"{place(row)}: column {name!r} holds {text[:80]!r}; a time is a number, or a date and time of ISO "
                f"8601 such as 2024-05-31 or 2024-05-31T18:30:00Z"
            )
        aware = moment.tzinfo is not None
        if zoned is not None and zoned != aware:
            raise DataError(
                f"{place(row)}: column {name!r} holds {text[:80]!r}, {'with' if aware else 'without'} a time zone, "
                f"unlike the rows before; give all rows one, or none"
            )
        zoned = aware
        moment = moment if aware else moment.replace(tzinfo=UTC)
        since: Any = moment - _EPOCH
        stamps[row] = (since.days * 86_400 + since.seconds) * 1_000_000 + since.microseconds
    return stamps


def _parsed(text: str) -> datetime | None:
    try:
        return datetime.fromisoformat(text)
    except ValueError:
        return None
