"""Rows that do not fit the device: chunks of whole minibatches, the next one on its way while this one is used.

Source of the idea: Deep Learning Tutorials, "Getting Started": keep a chunk of several minibatches in a shared
variable, use it up, then update its values. A chunk is gathered in the order of the plan, so the compiled stretch does
the same arithmetic on it as on resident rows, and all chunks have one shape, so it is compiled once.
"""

from collections.abc import Callable, Iterator

import numpy as np

from epochal.dataset import Split
from epochal.epoch import Rows
from epochal.lending import frozen, zeros
from epochal.placement import HostRows, Work, precision, put, put_rows
from epochal.plan import Order
from epochal.rows import Rows as AnyRows
from epochal.rows import gather
from epochal.stream import Stream


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
        self._stream: Stream[Work] | None = None
        self._next = (0, 0)

    @property
    def size(self) -> int:
        """Number of rows."""
        return len(self.split)

    def epoch(self, number: int) -> "ChunkedEpoch":
        """The work of epoch `number`; its chunks are brought as they are asked for, and the one behind them early."""
        assert self.plan is not None, "placed for scoring alone"
        return ChunkedEpoch(self, number, self.plan.counts)

    def chunk(self, number: int, chunk: int) -> Work:
        """Chunk `chunk` of epoch `number`, from the stream that is running or from a new one that starts there."""
        if self._stream is None or self._next != (number, chunk):
            self.close()
            self._stream = Stream(self._chunks(number, chunk))
        last = (chunk + 1) * self.chunk_steps >= (self.plan.steps if self.plan else 0)
        self._next = (number + 1, 0) if last else (number, chunk + 1)
        return self._stream.take()

    def blocks(self) -> Iterator[tuple[Rows, np.int32]]:
        """All rows in order, in blocks of one shape; behind the last row of the last one there are zeros."""
        stream = Stream(self._blocks())
        try:
            for begin in range(0, self.size, self.block_rows):
                yield stream.take(), np.int32(min(self.block_rows, self.size - begin))
        finally:
            stream.close()

    def close(self) -> None:
        """Stop bringing chunks."""
        if self._stream:
            self._stream.close()
        self._stream = None

    def _chunks(self, number: int, chunk: int) -> Iterator[Callable[[], Work]]:
        assert self.plan is not None
        while True:  # epoch after epoch: the first chunk of the next one is on its way while this one ends
            index, counts = self.plan.epoch(number)
            for first in range(chunk * self.chunk_steps, self.plan.steps, self.chunk_steps):
                steps = slice(first, first + self.chunk_steps)
                yield lambda index=index[steps], counts=counts[steps]: self._gather(index, counts)
            number, chunk = number + 1, 0

    def _gather(self, index: np.ndarray, counts: np.ndarray) -> Work:
        """The rows of some minibatches, in a new buffer, with a plan that numbers them in order."""
        steps, batch_size = self.chunk_steps, index.shape[1]
        rows = self._read(index.reshape(-1), steps * batch_size, training=True)
        local = np.zeros((planned(steps), batch_size), np.int32)
        local[:steps] = np.arange(steps * batch_size).reshape(steps, batch_size)
        filled = np.ones(planned(steps), np.int32)
        filled[: len(counts)] = counts
        with precision(self.dtype):
            placed = put_rows(rows, self.split.divisor, self.dtype)
            return Work(placed, put(local), put(filled), np.int32(0), np.int32(len(counts)))

    def _blocks(self) -> Iterator[Callable[[], Rows]]:
        for begin in range(0, self.size, self.block_rows):
            yield lambda begin=begin: self._block(begin, min(begin + self.block_rows, self.size))

    def _block(self, begin: int, end: int) -> Rows:
        rows = self._read(np.arange(begin, end), self.block_rows)
        with precision(self.dtype):
            return put_rows(rows, self.split.divisor, self.dtype)

    def _read(self, rows: np.ndarray, room: int, training: bool = False) -> HostRows:
        """Copies of the rows numbered `rows`, at the beginning of `room` for so many."""
        split = self.split

        def copied(of: AnyRows) -> np.ndarray:
            # Always new memory: a device array on a CPU may go on using the old one.
            out = zeros((room, *of.shape[1:]), of.dtype)  # what is never read has a value too
            gather(of, rows, out[: len(rows)])
            return frozen(out)

        weight = copied(split.weight) if training and split.weight is not None else None
        number = np.resize(rows.astype(np.int32), room) if training and self.numbered else None
        return HostRows(copied(split.x), copied(split.y), weight, number)


class ChunkedEpoch:
    """An epoch over chunks."""

    def __init__(self, chunked: Chunked, number: int, counts: np.ndarray):
        self.chunked, self.number, self.counts = chunked, number, counts
        self._held: tuple[int, Work] | None = None

    def work(self, first: int, last: int) -> Iterator[Work]:
        """The steps `first` to `last`: a piece for every chunk that they touch."""
        size = self.chunked.chunk_steps
        for chunk in range(first // size, -(-last // size)):
            if self._held is None or self._held[0] != chunk:
                self._held = None  # its room on the device is needed
                self._held = (chunk, self.chunked.chunk(self.number, chunk))
            begin, end = max(first - chunk * size, 0), min(last - chunk * size, size)
            yield self._held[1]._replace(first=np.int32(begin), last=np.int32(end))
