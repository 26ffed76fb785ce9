"""Arrays to the device and back, and what a split on the device offers. The only module that moves data there."""

from collections.abc import Iterator
from contextlib import AbstractContextManager
from typing import Any, NamedTuple, Protocol, TypeVar

import jax
import numpy as np
from jax import Array

from epochal.device.compiled import DeviceRows, StepArguments
from epochal.device.scaling import terms
from epochal.system.aligned import copied, is_frozen
from epochal.system.memory import available_bytes

T = TypeVar("T")


class DeviceSplit(Protocol):
    """A split where the device can use it."""

    @property
    def size(self) -> int:
        """Number of rows."""
        ...

    def work(self, epoch: int, first: int, last: int) -> Iterator[StepArguments]:
        """The steps `first` to `last` of an epoch, counted from 0, in pieces that a compiled program takes."""
        ...

    def blocks(self) -> Iterator[tuple[DeviceRows, np.int32]]:
        """All rows in order, for scoring: rows on the device, and how many of them, from the first, to count."""
        ...

    def close(self) -> None:
        """End what runs in the background."""
        ...


def precision(dtype: str) -> AbstractContextManager[Any]:
    """The context in which device arrays have the compute dtype `dtype`; it holds for one thread.

    A context, never the process-wide switch: a library does not change its user's other computations.
    """
    return jax.enable_x64(dtype == "float64")


def put(array: np.ndarray) -> Array:
    """`array` on the device. The caller may write to its own array afterwards; the device does not see it."""
    # On a CPU device_put may take the memory of a NumPy array as it is. That is what we want of arrays that nobody can
    # write to; an array of the caller's is copied first, so that its next write does not reach the device.
    return jax.device_put(array if is_frozen(array) else copied(array))


def fetch(tree: Any) -> Any:
    """Copies on the host of all arrays of a pytree: the next stretch is given the memory of the state."""
    return jax.tree.map(np.array, tree)


def agree(value: T) -> T:
    """A value that every process of a training must share, such as the length of a stretch, which a clock told one.

    There is one process today, and this returns its argument. The length of a stretch and the memory that is free go
    through here before a compiled program depends on them; a stop by a signal does not yet.
    """
    return value


class HostRows(NamedTuple):
    """Rows on the host, about to be put on the device; weights and numbers where training needs them."""

    x: np.ndarray
    y: np.ndarray | None
    weight: np.ndarray | None = None
    number: np.ndarray | None = None


def put_rows(rows: HostRows, divisor: float, dtype: str) -> DeviceRows:
    """Rows in their storage dtype, with the scale that makes them features of the compute dtype `dtype`."""
    weight = None if rows.weight is None else put(rows.weight.astype(dtype))
    number = None if rows.number is None else put(rows.number)
    y = None if rows.y is None else put(rows.y)
    return DeviceRows(put(rows.x), y, put(terms(divisor, rows.x.dtype, dtype)), weight, number)


def granted_bytes() -> int:
    """What the device has free, as far as it tells; on a CPU what the machine or its cgroup has."""
    stats = jax.local_devices()[0].memory_stats() or {}
    if "bytes_limit" in stats:
        return int(stats["bytes_limit"]) - int(stats.get("bytes_in_use", 0))
    return available_bytes()
