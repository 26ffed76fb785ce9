"""Which rows form which minibatch: a pure function of the number of rows, the seed and the epoch.

The plan is made on the host, so that every residency, a resumed run and a plain test loop share one order.
"""

from dataclasses import dataclass
from typing import Protocol

import numpy as np

from epochal.system.aligned import zeros
from epochal.system.permutations import permutation, windows

WINDOW_BLOCKS = 16
"""Blocks that are shuffled into one another in the order `blocks`."""


class Order(Protocol):
    """What the loop asks of a plan."""

    @property
    def steps(self) -> int:
        """Minibatches in one epoch."""
        ...

    @property
    def minibatch_shape(self) -> tuple[int, ...]:
        """Shape of the row numbers of one minibatch."""
        ...

    @property
    def numbers(self) -> int:
        """How many row numbers that are."""
        ...

    @property
    def counts(self) -> np.ndarray:
        """Rows of each minibatch that count: int32 [steps], the same in every epoch."""
        ...

    def epoch(self, epoch: int) -> tuple[np.ndarray, np.ndarray]:
        """Row numbers of every minibatch of `epoch`, int32 [steps, *minibatch_shape], and `counts`."""
        ...


@dataclass(frozen=True)
class Plan:
    """How the rows of the training split are cut into minibatches, for every epoch of a run.

    `rows` rows in minibatches of `batch_size`; the last, smaller minibatch is kept unless `drop_last`. Their order is a
    new permutation every epoch (`full`), the rows' own (`none`), or `blocks`: contiguous blocks of `block_rows` rows in
    random order, then shuffled within windows of 16 blocks, so that a slow source is read in long runs.
    """

    rows: int
    batch_size: int
    shuffle: str = "full"
    drop_last: bool = False
    seed: int = 0
    block_rows: int = 1024

    @property
    def steps(self) -> int:
        """Minibatches in one epoch."""
        full, rest = divmod(self.rows, self.batch_size)
        return full + (1 if rest and not self.drop_last else 0)

    @property
    def minibatch_shape(self) -> tuple[int, ...]:
        """Shape of the row numbers of one minibatch."""
        return (self.batch_size,)

    @property
    def numbers(self) -> int:
        """Row numbers of one minibatch."""
        return self.batch_size

    @property
    def counts(self) -> np.ndarray:
        """Rows of each minibatch that count: int32 [steps], the same in every epoch."""
        counts = np.full(self.steps, self.batch_size, np.int32)
        counts[-1] -= max(0, self.steps * self.batch_size - self.rows)
        return counts

    def epoch(self, epoch: int) -> tuple[np.ndarray, np.ndarray]:
        """Row numbers of every minibatch of `epoch` (counted from 0): int32 [steps, batch_size], and `counts`.

        Behind a smaller last minibatch its first row is repeated; those repeats have weight zero in the step.
        """
        order = self.order(epoch)
        index = zeros([self.steps * self.batch_size], np.int32)
        used = min(self.rows, len(index))
        index[:used] = order[:used]
        index[used:] = order[used - used % self.batch_size] if used < len(index) else 0
        return index.reshape(self.steps, self.batch_size), self.counts

    def order(self, epoch: int) -> np.ndarray:
        """All rows in the order of `epoch`: integers [rows]."""
        if self.shuffle == "none":
            return np.arange(self.rows)
        if self.shuffle == "full":
            return permutation(self.rows, self.seed, epoch)
        blocks = permutation(-(-self.rows // self.block_rows), self.seed, epoch)
        rows = (blocks[:, None] * self.block_rows + np.arange(self.block_rows)).reshape(-1)
        rows = rows[rows < self.rows]  # the block that is cut short may stand anywhere
        return rows[windows(self.rows, WINDOW_BLOCKS * self.block_rows, self.seed, epoch, part=1)]


@dataclass(frozen=True)
class Plans:
    """Several plans over the same rows, side by side: each member of a program has an order of its own."""

    members: tuple[Plan, ...]

    @property
    def steps(self) -> int:
        """Minibatches in one epoch, as many for each."""
        return self.members[0].steps

    @property
    def minibatch_shape(self) -> tuple[int, ...]:
        """Members × rows of a minibatch."""
        return (len(self.members), self.members[0].batch_size)

    @property
    def numbers(self) -> int:
        """Row numbers of one minibatch of every member."""
        return len(self.members) * self.members[0].batch_size

    @property
    def counts(self) -> np.ndarray:
        """Rows of each minibatch that count, int32 [steps], which all members share."""
        return self.members[0].counts

    def epoch(self, epoch: int) -> tuple[np.ndarray, np.ndarray]:
        """Row numbers, int32 [steps, members, batch_size], and `counts`."""
        return np.stack([plan.epoch(epoch)[0] for plan in self.members], axis=1), self.counts
