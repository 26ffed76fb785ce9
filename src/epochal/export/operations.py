"""The parts of a traced model: values, constants, and operations on them, for any number of rows."""

from string import ascii_lowercase
from typing import Any, NamedTuple

import numpy as np

from epochal.errors import RunError, option

ROWS = 1_000_003
"""A prime that stands for the number of rows where a model asks for it as a number; no array has that size."""


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
        return self.array.shape

    @property
    def dtype(self) -> np.dtype:
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


def equation(operation: Operation) -> str:
    """A dot_general in Einstein's notation, `ab,bc->ac`."""
    (left, right), (left_batch, right_batch) = operation.params["dimension_numbers"]
    ranks = [len(each.shape) for each in operation.inputs]
    letters = iter(ascii_lowercase)
    a = [next(letters) for _ in range(ranks[0])]
    b = [next(letters) for _ in range(ranks[1])]
    for i, j in (*zip(left, right, strict=True), *zip(left_batch, right_batch, strict=True)):
        b[j] = a[i]
    free = [a[i] for i in range(ranks[0]) if i not in left and i not in left_batch]
    free += [b[j] for j in range(ranks[1]) if j not in right and j not in right_batch]
    return f"{''.join(a)},{''.join(b)}->{''.join([*(a[i] for i in left_batch), *free])}"


def is_product(operation: Operation) -> bool:
    """Whether a dot_general is a matrix product as it stands: the last axis of x with the first of a matrix."""
    contracted, batch = operation.params["dimension_numbers"]
    x, w = operation.inputs
    plain = not batch[0] and len(w.shape) == 2 and len(x.shape) >= 2
    return plain and [list(axes) for axes in contracted] == [[len(x.shape) - 1], [0]]


def unknown(operation: Operation, form: str) -> RunError:
    """The error for a primitive that a format has no translation for."""
    return RunError(
        f"export: the model uses {operation.primitive!r} of jax.lax, which has no translation to {form} here; "
        f"use other operations, or {option('format', 'stablehlo')}, which takes every model"
    )
