"""A training between two stretches, copied to the host: all that it needs to go on to the same bits."""

from typing import Any, NamedTuple

import numpy as np


class Snapshot(NamedTuple):
    """All that a run needs to go on to the same bits: copies of its arrays by name, and plain values."""

    arrays: dict[str, np.ndarray]
    told: dict[str, Any]
