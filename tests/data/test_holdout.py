"""Rows that are held out: numbers in order, none twice; whole groups; the latest; through `load` as well."""

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from epochal import Reading, load
from epochal.data import holdout
from epochal.data.loading import assemble
from epochal.data.sources import RawDataset, RawSplit


@given(st.lists(st.integers(0, 12), min_size=2, max_size=200), st.floats(0.01, 0.9), st.integers(0, 2**32 - 1))
def test_groups_are_taken_whole_and_never_all(groups, share, seed):
    groups = np.array(groups)
    count = int(len(groups) * share)
    rows = holdout.grouped(groups, count, seed)
    left = np.setdiff1d(np.arange(len(groups)), rows)
    assert (np.diff(rows) > 0).all()
    assert not set(groups[rows]) & set(groups[left])
    np.testing.assert_array_equal(rows, holdout.grouped(groups, count, seed))
    if len(set(groups.tolist())) > 1:
        assert 0 < len(rows) < len(groups)
        assert len(rows) <= count or len(set(groups[rows])) == 1, "more rows than asked only where one group has them"


@given(st.lists(st.integers(0, 30), min_size=1, max_size=200), st.floats(0, 1))
def test_the_latest_rows_are_later_than_all_others(times, share):
    times = np.array(times)
    count = int(len(times) * share)
    rows = holdout.latest(times, count)
    left = np.setdiff1d(np.arange(len(times)), rows)
    assert len(rows) <= count
    assert (np.diff(rows) > 0).all()
    if len(rows) and len(left):
        assert times[rows].min() > times[left].max()


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 1000), st.floats(0.05, 0.4), st.floats(0.05, 0.4))
def test_three_splits_share_no_group(seed, valid, test):
    generator = np.random.default_rng(seed)
    groups = generator.integers(0, 40, 400)
    x = np.stack([np.arange(400), groups], 1).astype(np.float32)
    raw = RawDataset("here", {"train": RawSplit(x, np.arange(400) % 2, groups)})
    reading = Reading(group="patient", valid_fraction=valid, test_fraction=test, split_seed=seed)
    data = assemble(raw, reading)
    seen = [set(split.x[:, 1].tolist()) for split in data]
    assert not seen[0] & seen[1]
    assert not seen[0] & seen[2]
    assert not seen[1] & seen[2]
    assert sorted(np.concatenate([split.x[:, 0] for split in data]).tolist()) == list(range(400))


def test_fractions_are_of_the_rows_that_are_left():
    data = load((np.arange(600.0)[:, None], np.arange(600) % 2), test_fraction=0.5, valid_fraction=0.1)
    assert [len(split) for split in data] == [270, 30, 300]
