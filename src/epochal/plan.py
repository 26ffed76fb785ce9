"""Which rows form which minibatch: a pure function of the number of rows, the seed and the epoch.

The plan is made on the host, so that every residency, a resumed run and a plain test loop share one order. It uses raw
words of the counter-based Philox generator (Salmon et al., "Parallel random numbers: as easy as 1, 2, 3", SC 2011):
NumPy promises those words for ever, while it may change its own `permutation`.
"""

from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class Plan:
    """How the rows of the training split are cut into minibatches, for every epoch of a run.

    `rows` rows in minibatches of `batch_size`; the last, smaller minibatch is kept unless `drop_last`.
    """

    rows: int
    batch_size: int
    shuffle: str = "full"
    drop_last: bool = False
    seed: int = 0

    @property
    def steps(self) -> int:
        """Minibatches in one epoch."""
        full, rest = divmod(self.rows, self.batch_size)
        return full + (1 if rest and not self.drop_last else 0)

    def epoch(self, epoch: int) -> tuple[np.ndarray, np.ndarray]:
        """Row numbers of every minibatch of `epoch` (counted from 0).

        Returns `index`, int32 [steps, batch_size], and `counts`, int32 [steps], the rows of each minibatch that count.
        Behind a smaller last minibatch its first row is repeated; those repeats have weight zero in the step.
        """
        order = permutation(self.rows, self.seed, epoch) if self.shuffle == "full" else np.arange(self.rows)
        index = np.empty(self.steps * self.batch_size, np.int32)
        used = min(self.rows, len(index))
        index[:used] = order[:used]
        index[used:] = order[used - used % self.batch_size] if used < len(index) else 0
        counts = np.full(self.steps, self.batch_size, np.int32)
        counts[-1] -= len(index) - used
        return index.reshape(self.steps, self.batch_size), counts


def permutation(rows: int, seed: int, epoch: int) -> np.ndarray:
    """A permutation of `rows` numbers drawn from (seed, epoch): int64 [rows], the same on every platform."""
    words = np.random.Philox(key=np.array([seed, epoch], np.uint64)).random_raw(rows)
    # The row number takes the low bits, so that one plain sort both orders the random words and carries the rows,
    # and equal words cannot make the order depend on the sorting algorithm.
    bits = np.uint64(max(1, int(rows - 1).bit_length()))
    words = (words >> bits << bits) | np.arange(rows, dtype=np.uint64)
    words.sort()
    return (words & ((np.uint64(1) << bits) - np.uint64(1))).astype(np.int64)
