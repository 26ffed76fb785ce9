"""Permutations that never change: raw words of a counter-based generator, and one sort.

NumPy promises the raw words of its bit generators (Philox: Salmon et al., "Parallel random numbers: as easy as 1, 2,
3", SC 2011) for ever, while it may change its own `permutation`.
"""

import numpy as np

_AT_ONCE = 1 << 16  # numbers


def permutation(rows: int, seed: int, stream: int) -> np.ndarray:
    """A permutation of `rows` numbers drawn from (seed, stream): int64 [rows], the same on every platform."""
    return windows(rows, max(1, rows), seed, stream)


def windows(rows: int, size: int, seed: int, stream: int, part: int = 0) -> np.ndarray:
    """The numbers 0 … rows - 1, permuted within windows of `size` numbers in order: int64 [rows].

    `part` tells apart draws that share seed and stream.
    """
    key = np.array([seed, stream], np.uint64)
    words = np.random.Philox(key=key, counter=[0, 0, 0, part]).random_raw(rows)
    # The number takes the low bits, so that one plain sort both orders the random words and carries the numbers, and
    # equal words cannot make the order depend on the sorting algorithm.
    bits = np.uint64(max(1, int(rows - 1).bit_length()))
    words >>= bits
    words <<= bits
    for begin in range(0, rows, _AT_ONCE):  # in place: an order takes eight bytes a row while it is made
        words[begin : begin + _AT_ONCE] |= np.arange(begin, min(begin + _AT_ONCE, rows), dtype=np.uint64)
    whole = rows // size * size
    words[:whole].reshape(-1, size).sort(axis=1)
    words[whole:].sort()
    words &= (np.uint64(1) << bits) - np.uint64(1)
    return words.view(np.int64)
