"""A training between two stretches, copied to the host: all that it needs to go on to the same bits."""

from typing import Any, NamedTuple

import numpy as np


class Snapshot(NamedTuple):
    """The state of a training as host arrays by name, and the plain values that go with them.

    `state` is what a step reads and writes. `best` are the parameters with the best validation score, none before the
    first one. `metadata` are `Tracker.state_dict`, the seconds so far, and what a file adds to recognise its own.
    """

    state: dict[str, np.ndarray]
    best: dict[str, np.ndarray]
    metadata: dict[str, Any]
