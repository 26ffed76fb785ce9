import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from epochal.device.plan import WINDOW_BLOCKS, Plan
from epochal.system.permutations import permutation, windows


@given(st.integers(1, 3000), st.integers(0, 2**32 - 1), st.integers(0, 10_000))
def test_a_permutation_holds_every_row_once(rows, seed, epoch):
    np.testing.assert_array_equal(np.sort(permutation(rows, seed, epoch)), np.arange(rows))


SHUFFLES = st.sampled_from(["full", "blocks", "none"])


@given(st.integers(1, 500), st.integers(1, 60), st.booleans(), SHUFFLES, st.integers(0, 50))
def test_an_epoch_counts_every_row_once_or_drops_the_last_minibatch(rows, batch, drop, shuffle, epoch):
    plan = Plan(rows, batch, shuffle, drop, block_rows=7)
    if plan.steps == 0:
        return
    index, counts = plan.epoch(epoch)
    assert index.shape == (plan.steps, batch)
    assert index.dtype == counts.dtype == np.int32
    counted = np.concatenate([row[:count] for row, count in zip(index, counts, strict=True)])
    order = plan.order(epoch)
    np.testing.assert_array_equal(np.sort(order), np.arange(rows))
    np.testing.assert_array_equal(counted, order[: rows // batch * batch] if drop else order)
    # What fills a smaller minibatch up is a row of that minibatch.
    for row, count in zip(index, counts, strict=True):
        assert set(row[count:]) <= {row[0]}


def test_the_order_is_the_same_for_ever():
    # Written down once: a change of these numbers breaks every resume across versions.
    assert permutation(10, 0, 0).tolist() == GOLDEN[0]
    assert permutation(10, 0, 1).tolist() == GOLDEN[1]
    assert permutation(10, 1, 0).tolist() == GOLDEN[2]


def test_every_place_is_equally_likely():
    orders = np.array([permutation(5, 7, epoch) for epoch in range(6000)])
    counts = np.array([np.bincount(orders[:, place], minlength=5) for place in range(5)])
    # 1,200 expected in each of 25 cells, standard deviation 31.
    assert np.abs(counts - 1200).max() < 160


@pytest.mark.parametrize(
    ("rows", "batch", "drop", "steps"), [(10, 5, False, 2), (11, 5, False, 3), (11, 5, True, 2), (4, 5, True, 0)]
)
def test_steps(rows, batch, drop, steps):
    assert Plan(rows, batch, drop_last=drop).steps == steps


def test_in_order_means_in_order_and_full_means_a_permutation():
    np.testing.assert_array_equal(Plan(9, 2, "none").order(3), np.arange(9))
    np.testing.assert_array_equal(Plan(9, 2, "full", seed=5).order(3), permutation(9, 5, 3))


@given(st.integers(1, 400), st.integers(1, 50), st.integers(0, 9))
def test_windows_keep_their_numbers_and_shuffle_them(rows, size, seed):
    order = windows(rows, size, seed, 0)
    for begin in range(0, rows, size):
        np.testing.assert_array_equal(np.sort(order[begin : begin + size]), np.arange(rows)[begin : begin + size])


def test_blocks_are_read_in_runs_and_come_in_another_order_every_epoch():
    plan = Plan(100_000, 20, "blocks", block_rows=100)
    window = WINDOW_BLOCKS * 100
    for epoch in (0, 1):
        order = plan.order(epoch)
        for begin in range(0, 90_000, window):
            rows = np.sort(order[begin : begin + window])
            runs = 1 + np.count_nonzero(np.diff(rows) != 1)
            assert runs <= WINDOW_BLOCKS + 1, "a window must be a few long runs of rows"
        assert not np.array_equal(order[:window], np.sort(order[:window]))
    assert not np.array_equal(plan.order(0), plan.order(1))


GOLDEN = [
    [0, 2, 9, 1, 8, 5, 4, 3, 6, 7],
    [5, 3, 7, 8, 2, 4, 1, 0, 6, 9],
    [3, 5, 2, 9, 7, 0, 8, 6, 1, 4],
]
