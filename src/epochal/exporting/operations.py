"""What a traced model consists of: values, constants, and operations on them, for any number of rows."""

from typing import Any, NamedTuple

import numpy as np

from epochal.errors import RunError

ROWS = 1_000_003
"""A prime that stands for the number of rows where a model asks for it as a number; nothing of that size is made."""


class Value(NamedTuple):
    """An array that depends on the rows. Dimensions of `shape` are numbers, or expressions of the number of rows."""

    name: str
    shape: tuple[Any, ...]
    dtype: np.dtype


class Constant(NamedTuple):
    """An array that does not."""

    name: str
    array: np.ndarray

    @property
    def shape(self) -> tuple[int, ...]:
        """Its shape."""
        return self.array.shape

    @property
    def dtype(self) -> np.dtype:
        """Its dtype."""
        return self.array.dtype


Operand = Value | Constant


class Operation(NamedTuple):
    """One primitive of `jax.lax`, with its parameters as JAX has them."""

    primitive: str
    inputs: tuple[Operand, ...]
    outputs: tuple[Value, ...]
    params: dict[str, Any]


def is_rows(dimension: Any) -> bool:
    """Whether a dimension depends on the number of rows."""
    return not isinstance(dimension, (int, np.integer)) or bool(dimension > 0 and dimension % ROWS == 0)


def target(shape: tuple[Any, ...]) -> list[int]:
    """A shape as reshaping takes it, with -1 for the dimension that depends on the number of rows."""
    if sum(map(is_rows, shape)) > 1:
        raise RunError(f"export: an array of shape {list(shape)} depends on the number of rows in two dimensions")
    return [-1 if is_rows(dimension) else int(dimension) for dimension in shape]


class Slice(NamedTuple):
    """A gather that is a slice of fixed place: from `starts` to `limits` along `axes`, then without `squeezed`."""

    axes: tuple[int, ...]
    starts: tuple[int, ...]
    limits: tuple[int, ...]
    squeezed: tuple[int, ...]


def as_slice(operation: Operation) -> Slice | None:
    """What JAX makes of `x[:, 1:3, 0]`; None for other gathers."""
    numbers, sizes = operation.params["dimension_numbers"], operation.params["slice_sizes"]
    indices = operation.inputs[1]
    if not isinstance(indices, Constant) or indices.array.ndim != 1 or numbers.operand_batching_dims:
        return None
    starts = tuple(int(i) for i in indices.array)
    axes = tuple(numbers.start_index_map)
    limits = tuple(start + int(sizes[axis]) for axis, start in zip(axes, starts, strict=True))
    return Slice(axes, starts, limits, tuple(numbers.collapsed_slice_dims))


def take_axis(operation: Operation) -> int:
    """The axis of a gather that takes whole slices along one. Raises RunError for any other gather."""
    numbers, sizes = operation.params["dimension_numbers"], operation.params["slice_sizes"]
    operand, indices = operation.inputs
    axes = tuple(numbers.collapsed_slice_dims)
    if len(axes) == 1 and axes == tuple(numbers.start_index_map) and not numbers.operand_batching_dims:
        (axis,) = axes
        between = range(axis, axis + len(indices.shape) - 1)
        others = [each for each in range(len(operation.outputs[0].shape)) if each not in between]
        whole = all(sizes[d] == operand.shape[d] for d in range(len(operand.shape)) if d != axis)
        fixed = isinstance(indices, Constant) and not is_rows(operand.shape[axis])
        inside = fixed and bool(((indices.array >= 0) & (indices.array < operand.shape[axis])).all())  # pyrefly: ignore
        if inside and whole and list(numbers.offset_dims) == others and sizes[axis] == 1:
            return axis
    raise RunError(
        "export: a gather (x[...] with arrays as indices) takes more than whole slices along one axis, which cannot be "
        "exported to this format; use slices, or jnp.take with one axis, or --format stablehlo"
    )


def unknown(operation: Operation, form: str) -> RunError:
    """The error for a primitive that a format has no translation for."""
    return RunError(
        f"export: the model uses {operation.primitive!r} of jax.lax, which has no translation to {form} here; "
        f"use other operations, or --format stablehlo, which takes every model"
    )
