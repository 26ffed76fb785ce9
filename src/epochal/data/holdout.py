"""Which rows are held out: pure functions of labels, groups or times. The rows that are kept are all the others."""

import numpy as np

from epochal.system.permutations import permutation


def last(rows: int, count: int) -> np.ndarray:
    """The numbers of the last `count` of `rows` rows."""
    return np.arange(rows - count, rows)


def stratified(y: np.ndarray, count: int, seed: int) -> np.ndarray:
    """Numbers, in order, of `count` rows, or fewer, that hold every class in its share (largest remainders first).

    A class never loses its last row.
    """
    present, sizes = np.unique(y, return_counts=True)
    exact = sizes * count / len(y)
    take = np.floor(exact).astype(int)
    order = [i for i in np.argsort(take - exact, kind="stable") if take[i] + 1 < sizes[i]]
    take[order[: count - take.sum()]] += 1
    chosen = []
    for label, size, n in zip(present.tolist(), sizes.tolist(), take.tolist(), strict=True):
        chosen.append(np.flatnonzero(y == label)[permutation(size, seed, label)[:n]])
    return np.sort(np.concatenate(chosen))


def grouped(groups: np.ndarray, count: int, seed: int) -> np.ndarray:
    """Numbers, in order, of all rows of some groups, drawn until they hold `count` rows or the next would hold more.

    At least one group is held out and at least one stays, where there are two.
    """
    names, codes, sizes = np.unique(groups, return_inverse=True, return_counts=True)
    selected = np.zeros(len(names), bool)
    for group in permutation(len(names), seed, 0):
        if selected.sum() < len(names) - 1 and (not selected.any() or sizes[selected].sum() + sizes[group] <= count):
            selected[group] = True
    return np.flatnonzero(selected[codes])


def latest(times: np.ndarray, count: int) -> np.ndarray:
    """Numbers, in order, of the `count` latest rows; rows of one time stay together on the earlier side."""
    order = np.argsort(times, kind="stable")
    if count <= 0 or count >= len(times):
        return np.sort(order[len(order) - max(0, min(count, len(order))) :])
    border = times[order[len(order) - count - 1]]
    return np.flatnonzero(times > border)
