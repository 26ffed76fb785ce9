"""Theano's shared variables, in epochal's words: a split as two arrays on the device, addressed like NumPy arrays."""

from typing import Any

import numpy as np
from jax import Array
from numpy.typing import ArrayLike

from epochal.data.dataset import Split
from epochal.device.placement import put
from epochal.device.scaling import as_features
from epochal.errors import DataError


class SharedVariable:
    """An array on the device whose value can be replaced, never its shape or dtype.

    Indexing gives a device array without a copy to the host, and JAX functions take the variable itself.
    """

    def __init__(self, value: Array):
        self._value = value

    @property
    def shape(self) -> tuple[int, ...]:
        """Shape of the value."""
        return self._value.shape

    @property
    def dtype(self) -> np.dtype:
        """Dtype of the value."""
        return self._value.dtype

    def __len__(self) -> int:
        return len(self._value)

    def __getitem__(self, index: Any) -> Array:
        return self._value[index]

    def __jax_array__(self) -> Array:
        return self._value

    def get_value(self, borrow: bool = False) -> np.ndarray:
        """The value as a host array; with `borrow` it is read-only and may share the device's memory."""
        value = np.asarray(self._value)
        return value if borrow else value.copy()

    def set_value(self, value: ArrayLike) -> None:
        """Replace the value. Raises DataError for another shape or dtype: compiled programs rely on both."""
        value = np.asarray(value)
        if value.shape != self.shape or value.dtype != self.dtype:
            raise DataError(
                f"set_value: the shared variable is {self.dtype}{list(self.shape)}, "
                f"got {value.dtype}{list(value.shape)}; a new chunk must be alike, cast and pad it first"
            )
        self._value = put(value)

    def __repr__(self) -> str:
        return f"SharedVariable({self.dtype}{list(self.shape)})"


def shared_dataset(data_xy: Split | tuple[ArrayLike, ArrayLike]) -> tuple[SharedVariable, SharedVariable]:
    """Two shared variables on the device: float features and int32 labels, as the tutorials' function of this name.

    `data_xy` is a Split, or a pair (x, y). Float features keep their dtype (float64 becomes JAX's default float),
    others become float32 and are divided by the split's divisor.
    """
    x, y = data_xy
    divisor = data_xy.divisor if isinstance(data_xy, Split) else 1.0
    features = as_features(put(np.asarray(x)), divisor)
    return SharedVariable(features), SharedVariable(put(np.asarray(y).astype(np.int32)))
