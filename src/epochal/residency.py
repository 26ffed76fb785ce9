"""Where the rows are while a model trains on them: on the device, all of them. The only module that puts data there."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import NamedTuple, Protocol

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array

from epochal.dataset import Split
from epochal.epoch import Rows
from epochal.errors import CapacityError
from epochal.memory import available_bytes, format_bytes


class Work(NamedTuple):
    """What a compiled stretch is called with: rows on the device, a plan of row numbers, and the steps to do."""

    rows: Rows
    index: Array  # int32 [steps, batch_size]
    counts: Array  # int32 [steps]
    first: int
    last: int


class Pieces(Protocol):
    """The work of one epoch, handed out in order."""

    def work(self, first: int, last: int) -> Iterator[Work]:
        """The steps `first` to `last` of the epoch, in pieces that the compiled stretch takes."""
        ...


class Placed(Protocol):
    """A split where the device can use it, and what was decided about it."""

    @property
    def kind(self) -> str:
        """`resident`."""
        ...

    @property
    def bytes(self) -> int:
        """Bytes of the rows in their storage dtype."""
        ...

    @property
    def why(self) -> str:
        """The reason in words and figures."""
        ...

    @property
    def size(self) -> int:
        """Number of rows."""
        ...

    def epoch(self, index: np.ndarray, counts: np.ndarray) -> Pieces:
        """Make ready for an epoch whose plan is `index`, int32 [steps, batch_size], and `counts`, int32 [steps]."""
        ...

    def blocks(self) -> Iterator[tuple[Rows, int]]:
        """All rows in order, for scoring: rows on the device, and how many of them, from the first, to count."""
        ...


@dataclass(frozen=True)
class Resident:
    """All rows on the device, addressed by their numbers."""

    rows: Rows
    bytes: int
    why: str
    kind: str = "resident"

    @property
    def size(self) -> int:
        """Number of rows."""
        return len(self.rows.y)

    def epoch(self, index: np.ndarray, counts: np.ndarray) -> "ResidentEpoch":
        """The epoch's plan goes to the device once."""
        return ResidentEpoch(self.rows, put(index), put(counts))

    def blocks(self) -> Iterator[tuple[Rows, int]]:
        """One block: all rows."""
        yield self.rows, self.size


class ResidentEpoch(NamedTuple):
    """An epoch over resident rows: every stretch of it is given all rows and the whole plan."""

    rows: Rows
    index: Array
    counts: Array

    def work(self, first: int, last: int) -> Iterator[Work]:
        """One piece."""
        yield Work(self.rows, self.index, self.counts, first, last)


def place(split: Split, dtype: str, memory_bytes: int | None = None) -> Placed:
    """Put all rows of `split` on the device in their storage dtype; `dtype` is the compute dtype.

    `memory_bytes` is what they may take; left out, what the device has free.
    Raises CapacityError where they do not fit.
    """
    kind, why = decide(split, memory_bytes)
    rows = Rows(put(split.x), put(split.y), jnp.asarray(split.divisor, dtype))
    return Resident(rows, split.nbytes, why, kind)


def decide(split: Split, memory_bytes: int | None = None) -> tuple[str, str]:
    """What `place` would do with `split` and why, without doing it: kind and reason. Raises CapacityError."""
    granted = _granted() if memory_bytes is None else memory_bytes
    if split.nbytes > granted:
        raise CapacityError(
            f"the {len(split):,} rows take {format_bytes(split.nbytes)}, but {format_bytes(granted)} are granted on "
            f"the device; grant more with --memory, or use fewer rows"
        )
    return "resident", f"{format_bytes(split.nbytes)} of {format_bytes(granted)}"


def put(array: np.ndarray) -> Array:
    """`array` on the device. The caller may write to its own array afterwards; the device does not see it."""
    # On a CPU device_put may take the memory of a NumPy array as it is. That is what we want of arrays that nobody can
    # write to; an array of the caller's is copied first, lest the caller's next write reach the device.
    return jax.device_put(array if _is_frozen(array) else np.array(array))


def _is_frozen(array: np.ndarray) -> bool:
    base = array
    while isinstance(base, np.ndarray):
        if base.flags.writeable:
            return False
        base = base.base
    return isinstance(base, (bytes, memoryview, type(None)))


def _granted() -> int:
    stats = jax.local_devices()[0].memory_stats() or {}
    if "bytes_limit" in stats:
        return int(stats["bytes_limit"]) - int(stats.get("bytes_in_use", 0))
    return available_bytes()
