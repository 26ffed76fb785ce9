"""Rows that do not fit the device: chunks of whole minibatches, the next one on its way while this one is used.

Source of the idea: Deep Learning Tutorials, "Getting Started": keep a chunk of several minibatches in a shared
variable, use it up, then update its values. A chunk is gathered in the order of the plan, so the compiled stretch does
the same arithmetic on it as on resident rows, and all chunks have one shape, so it is compiled once.
"""

from collections.abc import Callable, Iterator

import numpy as np

from epochal.data.dataset import Split
from epochal.data.rows import Rows, gather
from epochal.device.compiled import DeviceRows, StepArguments
from epochal.device.placement import HostRows, precision, put, put_rows
from epochal.device.plan import Order
from epochal.system.aligned import frozen, zeros
from epochal.system.prefetch import Prefetched, Prefetcher


def planned(steps: int) -> int:
    """Steps in the plan of a chunk of so many: at least two, the second of which is then never done.

    From a plan with one row XLA makes another program: it knows the row's number, and sums the loss in another order.
    """
    return max(2, steps)


class Chunked:
    """A split whose rows are brought to the device chunk by chunk.

    With a `plan`, for training, in chunks of `chunk_steps` minibatches; for scoring in blocks of `block_rows` rows.
    """

    def __init__(
        self,
        split: Split,
        dtype: str,
        block_rows: int,
        plan: Order | None = None,
        chunk_steps: int = 0,
        *,
        numbered: bool = False,
    ):
        self.split, self.dtype, self.block_rows = split, dtype, block_rows
        self.plan, self.chunk_steps, self.numbered = plan, chunk_steps, numbered
        self._chunks = Prefetched(self._chunk, self._following)
        self._order: tuple[int, np.ndarray] = -1, np.zeros((0, 0), np.int32)  # of the epoch that is being gathered

    @property
    def size(self) -> int:
        """Number of rows."""
        return len(self.split)

    def work(self, epoch: int, first: int, last: int) -> Iterator[StepArguments]:
        """A piece for every chunk that the steps touch; the chunk behind the last one is brought early."""
        assert self.plan is not None, "placed for scoring alone"
        size = self.chunk_steps
        for chunk in range(first // size, -(-last // size)):
            begin, end = max(first - chunk * size, 0), min(last - chunk * size, size)
            yield self._chunks.get((epoch, chunk))._replace(first=np.int32(begin), last=np.int32(end))

    def blocks(self) -> Iterator[tuple[DeviceRows, np.int32]]:
        """All rows in order, in blocks of one shape; behind the last row of the last one there are zeros."""
        prefetcher = Prefetcher(self._blocks())
        try:
            for begin in range(0, self.size, self.block_rows):
                yield prefetcher.take(), np.int32(min(self.block_rows, self.size - begin))
        finally:
            prefetcher.close()

    def close(self) -> None:
        """Stop bringing chunks."""
        self._chunks.close()

    def _following(self, key: tuple[int, int]) -> tuple[int, int]:
        """The chunk behind one; behind an epoch's last, the first of the next epoch."""
        assert self.plan is not None, "placed for scoring alone"
        epoch, chunk = key
        return (epoch, chunk + 1) if (chunk + 1) * self.chunk_steps < self.plan.steps else (epoch + 1, 0)

    def _chunk(self, key: tuple[int, int]) -> StepArguments:
        """The rows of some minibatches, in a new buffer, with a plan that numbers them in order."""
        assert self.plan is not None, "placed for scoring alone"
        epoch, chunk = key
        if self._order[0] != epoch:
            self._order = epoch, self.plan.epoch(epoch)[0]
        steps, batch_size = self.chunk_steps, self.plan.numbers
        some = slice(chunk * steps, (chunk + 1) * steps)
        index, counts = self._order[1][some], self.plan.counts[some]
        rows = self._read(index.reshape(-1), steps * batch_size, training=True)
        local = np.zeros((planned(steps), batch_size), np.int32)
        local[:steps] = np.arange(steps * batch_size).reshape(steps, batch_size)
        filled = np.ones(planned(steps), np.int32)
        filled[: len(counts)] = counts
        with precision(self.dtype):
            placed = put_rows(rows, self.split.divisor, self.dtype)
            return StepArguments(placed, put(local), put(filled), np.int32(0), np.int32(len(counts)))

    def _blocks(self) -> Iterator[Callable[[], DeviceRows]]:
        for begin in range(0, self.size, self.block_rows):
            yield lambda begin=begin: self._block(begin, min(begin + self.block_rows, self.size))

    def _block(self, begin: int, end: int) -> DeviceRows:
        rows = self._read(np.arange(begin, end), self.block_rows)
        with precision(self.dtype):
            return put_rows(rows, self.split.divisor, self.dtype)

    def _read(self, rows: np.ndarray, room: int, training: bool = False) -> HostRows:
        """Copies of the rows numbered `rows`, at the beginning of `room` for so many."""
        split = self.split

        def copied(of: Rows) -> np.ndarray:
            # Always new memory: a device array on a CPU may go on using the old one.
            out = zeros((room, *of.shape[1:]), of.dtype)  # what is never read has a value too
            gather(of, rows, out[: len(rows)])
            return frozen(out)

        weight = copied(split.weight) if training and split.weight is not None else None
        number = np.resize(rows.astype(np.int32), room) if training and self.numbered else None
        return HostRows(copied(split.x), copied(split.y), weight, number)
