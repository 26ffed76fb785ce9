"""All rows on the device, or chunks of them: decided from the bytes needed and the bytes granted, and explained."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from epochal.data.dataset import Split
from epochal.data.rows import as_array
from epochal.device.chunked import Chunked, planned
from epochal.device.compiled import SCORING_BLOCK, DeviceRows, StepArguments
from epochal.device.placement import DeviceSplit, HostRows, put, put_rows
from epochal.device.plan import Order
from epochal.errors import CapacityError, memory, option
from epochal.system.aligned import frozen
from epochal.system.memory import format_bytes
from epochal.system.prefetch import BUFFERS, Prefetched

_INDEX_BYTES = 4
SCORING_SHARE = 4
"""One part in so many of the memory is kept for the validation rows where not all rows fit."""


class Resident:
    """All rows on the device, addressed by their numbers; for training with a `plan`."""

    def __init__(self, rows: DeviceRows, plan: Order | None = None):
        self.rows, self.plan = rows, plan
        self._plans = Prefetched(self._planned, lambda epoch: epoch + 1)

    @property
    def size(self) -> int:
        """Number of rows."""
        return len(self.rows.x)

    def work(self, epoch: int, first: int, last: int) -> Iterator[StepArguments]:
        """One piece: all rows, and the plan of the epoch, which goes to the device once. The next is made meanwhile."""
        yield self._plans.get(epoch)._replace(first=np.int32(first), last=np.int32(last))

    def _planned(self, epoch: int) -> StepArguments:
        assert self.plan is not None, "placed for scoring alone"
        index, counts = self.plan.epoch(epoch)
        return StepArguments(self.rows, put(frozen(index)), put(counts), np.int32(0), np.int32(self.plan.steps))

    def blocks(self) -> Iterator[tuple[DeviceRows, np.int32]]:
        """One block: all rows."""
        yield self.rows, np.int32(self.size)

    def close(self) -> None:
        """Stop making plans."""
        self._plans.close()


@dataclass(frozen=True)
class Residency:
    """What was decided: `kind` is resident or chunked, `why` gives the figures in words.

    `bytes` are taken by rows on the device. Chunked, train rows come `chunk_steps` minibatches at a time, rows to be
    scored `block_rows` at a time; resident, both numbers are those of the whole split.
    """

    kind: str
    bytes: int
    why: str
    chunk_steps: int
    block_rows: int


class Needs(NamedTuple):
    """Bytes and counts that the decision rests on; a pure matter of integers."""

    train_rows: int
    valid_rows: int
    row_bytes: int  # one row with its label, in the storage dtype
    batch_size: int  # row numbers of one minibatch, of all members
    steps: int  # minibatches in an epoch
    program: int  # parameters, optimiser state and temporaries of the compiled program

    @property
    def resident(self) -> int:
        """Bytes of all rows, the program, the plan of an epoch, and that of the next."""
        plans = BUFFERS * self.steps * (self.batch_size + 1) * _INDEX_BYTES
        return (self.train_rows + self.valid_rows) * self.row_bytes + plans + self.program

    def chunk(self, steps: int) -> int:
        """Bytes of a chunk of so many minibatches with its plan."""
        return steps * self.batch_size * self.row_bytes + planned(steps) * (self.batch_size + 1) * _INDEX_BYTES


def decide(needs: Needs, granted: int) -> Residency:
    """All rows if they fit, else as few chunks as fit twice; CapacityError where not even one minibatch does."""
    rows = (needs.train_rows + needs.valid_rows) * needs.row_bytes
    if needs.resident <= granted:
        why = f"{format_bytes(needs.resident)} of {format_bytes(granted)}"
        return Residency("resident", rows, why, needs.steps, needs.valid_rows)
    step = needs.chunk(3) - needs.chunk(2)
    room = granted - needs.program
    block_rows = _block_rows(needs.valid_rows, needs.row_bytes, room // SCORING_SHARE)
    buffers = 1 if block_rows == needs.valid_rows else BUFFERS
    scoring = buffers * block_rows * needs.row_bytes
    chunk_steps = (room - scoring) // (BUFFERS * step)
    if chunk_steps < 1 or block_rows < 1 or scoring + BUFFERS * needs.chunk(chunk_steps) > room:
        raise CapacityError(
            f"two chunks of one minibatch do not fit: {needs.batch_size:,} rows of {format_bytes(needs.row_bytes)} and "
            f"{format_bytes(needs.program)} for the program, but {format_bytes(granted)} are granted on the device;\n"
            f"grant {_memory(_least(needs))}, or take a smaller {option('batch_size')}"
        )
    chunks = -(-needs.steps // chunk_steps)
    chunk_steps = -(-needs.steps // chunks)
    cut = f"{chunks:,} chunks of {chunk_steps:,} steps, {format_bytes(needs.chunk(chunk_steps))} each"
    why = f"{_excess(needs.resident, granted)}; {cut}"
    return Residency("chunked", BUFFERS * needs.chunk(chunk_steps) + scoring, why, chunk_steps, block_rows)


def scoring(rows: int, row_bytes: int, granted: int) -> Residency:
    """Where `rows` that are only to be scored go. Raises CapacityError where not even one row fits twice."""
    block_rows = _block_rows(rows, row_bytes, granted)
    if block_rows < 1:
        raise CapacityError(
            f"two rows of {format_bytes(row_bytes)} do not fit the {format_bytes(granted)} granted on the device;\n"
            f"grant {_memory(BUFFERS * row_bytes)}"
        )
    if block_rows == rows:
        why = f"{format_bytes(rows * row_bytes)} of {format_bytes(granted)}"
        return Residency("resident", rows * row_bytes, why, 0, rows)
    why = f"{_excess(rows * row_bytes, granted)}; blocks of {block_rows:,} rows"
    return Residency("chunked", BUFFERS * block_rows * row_bytes, why, 0, block_rows)


def _block_rows(rows: int, row_bytes: int, granted: int) -> int:
    """Rows that are on the device at a time while `rows` are scored: all, or as many as fit twice."""
    if rows * row_bytes <= granted:
        return rows
    fitting = max(0, granted) // (BUFFERS * row_bytes)
    # Whole blocks of the compiled count where they fit, so that it computes what it computes on resident rows.
    return fitting // SCORING_BLOCK * SCORING_BLOCK or fitting


def place(
    split: Split,
    dtype: str,
    block_rows: int,
    plan: Order | None = None,
    chunk_steps: int = 0,
    *,
    numbered: bool = False,
) -> DeviceSplit:
    """`split` on the device: for training by a `plan` in chunks of `chunk_steps`, else in blocks of `block_rows`.

    Where a chunk, or a block, holds the whole split, it is resident. Rows for training come with their weights, where
    they have some, and with their numbers if they are to be `numbered`.
    """
    whole = chunk_steps >= plan.steps if plan else block_rows >= len(split)
    if not whole:
        return Chunked(split, dtype, block_rows, plan, chunk_steps, numbered=numbered)
    number = np.arange(len(split), dtype=np.int32) if numbered else None
    rows = HostRows(as_array(split.x), split.y, split.weight if plan else None, number)
    return Resident(put_rows(rows, split.divisor, dtype), plan)


def _memory(count: int) -> str:
    return memory(count, format_bytes(count))


def _excess(needed: int, granted: int) -> str:
    words = format_bytes(needed), format_bytes(granted)
    if words[0] == words[1]:  # close enough to look alike
        words = f"{needed:,} bytes", f"{granted:,} bytes"
    return f"{words[0]} do not fit {words[1]}"


def _least(needs: Needs) -> int:
    """The fewest bytes with which chunks of one minibatch, and blocks of one row, fit."""
    # A twentieth more, because the amount is told with two digits.
    training = -(-BUFFERS * needs.chunk(1) * SCORING_SHARE // (SCORING_SHARE - 1)) + 1
    return (needs.program + max(training, SCORING_SHARE * BUFFERS * needs.row_bytes)) * 21 // 20
