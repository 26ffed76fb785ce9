"""Small snapshots that know their step in every number. Imports no JAX."""

from collections.abc import Iterable

import numpy as np

from epochal.training.snapshot import Snapshot


def snapshot_of(step: int, size: int = 50) -> Snapshot:
    """A small state that knows its step in every number."""
    arrays = {"state.a": np.full(size, step, np.float32), "state.step": np.array(step, np.int32)}
    return Snapshot(arrays, {"step": step, "best": None})


def assert_sound(snapshot: Snapshot | None, steps: Iterable[int]) -> None:
    """It is what `snapshot_of` one of `steps` made, and no mixture."""
    assert snapshot is not None
    assert snapshot.told["step"] in steps
    made = snapshot_of(snapshot.told["step"])
    assert snapshot.told == made.told
    assert snapshot.arrays.keys() == made.arrays.keys()
    for name, array in made.arrays.items():
        np.testing.assert_array_equal(snapshot.arrays[name], array)
