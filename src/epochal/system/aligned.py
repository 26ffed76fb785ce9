"""Aligned, read-only host memory, which a device on the host uses without a copy: rows lie in memory once.

XLA's client of a CPU uses an array of NumPy's where it begins at a multiple of 64 bytes, and copies it else; NumPy's
own memory begins at multiples of 16. And nobody may write to it any more.
"""

from collections.abc import Sequence
from math import prod
from typing import Any, TypeVar

import numpy as np
from numpy.typing import DTypeLike

T = TypeVar("T")

ALIGNMENT = 64


def zeros(shape: Sequence[int], dtype: DTypeLike) -> np.ndarray:
    """Zeros of `shape`. Of what is large the system hands out pages when they are first written to."""
    size = prod(shape) * np.dtype(dtype).itemsize
    memory = np.zeros(size + ALIGNMENT, np.uint8)
    begin = -memory.ctypes.data % ALIGNMENT
    return memory[begin : begin + size].view(dtype).reshape(shape)


def copied(array: np.ndarray) -> np.ndarray:
    """`array` in memory of its own."""
    out = zeros(array.shape, array.dtype)
    out[...] = array
    return out


def frozen(array: T) -> T:
    """`array`, made read-only together with the memory that it views; other objects are returned unchanged."""
    base: Any = array
    while isinstance(base, np.ndarray):
        base.flags.writeable = False
        base = base.base
    return array


def is_frozen(array: np.ndarray) -> bool:
    """Whether nobody can write to `array`, nor to the memory that it is a view of."""
    base: Any = array
    while isinstance(base, np.ndarray):
        if base.flags.writeable:
            return False
        base = base.base
    return isinstance(base, (bytes, memoryview, type(None)))
