"""Small snapshots that know their step in every number. Imports no JAX."""

from collections.abc import Iterable

import numpy as np

from epochal.training.snapshot import Snapshot


def snapshot_of(step: int, size: int = 50) -> Snapshot:
    """A small state that knows its step in every number."""
    arrays = {"a": np.full(size, step, np.float32), "step": np.array(step, np.int32)}
    return Snapshot(arrays, {}, {"step": step, "best": None})


def assert_sound(snapshot: Snapshot | None, steps: Iterable[int]) -> None:
    """It is what `snapshot_of` one of `steps` made, and no mixture."""
    assert snapshot is not None
    assert snapshot.metadata["step"] in steps
    assert_same(snapshot, snapshot_of(snapshot.metadata["step"]))


def assert_same(snapshot: Snapshot, expected: Snapshot) -> None:
    """Every array and every value is as expected."""
    assert snapshot.metadata == expected.metadata
    for arrays, others in ((snapshot.state, expected.state), (snapshot.best, expected.best)):
        assert arrays.keys() == others.keys()
        for name, array in others.items():
            np.testing.assert_array_equal(arrays[name], array)
