"""Gathers (`x[:, 1:3]`, `table[ids]`, `jnp.take(table, ids, axis=0)`) as slices, or as lookups in a list of places."""

from math import prod
from typing import Any, NamedTuple

from epochal.errors import RunError, option
from epochal.export.operations import Constant, Operation, is_rows


class Slice(NamedTuple):
    """A gather that is a slice of fixed place: from `starts` to `limits` along `axes`, then without `squeezed`."""

    axes: tuple[int, ...]
    starts: tuple[int, ...]
    limits: tuple[int, ...]
    squeezed: tuple[int, ...]


class Lookup(NamedTuple):
    """Any other gather: x, its looked-up axes brought to the front and made one, indexed by all columns of the indices.

    Column c of the indices goes from 0 to lengths[c] - 1. An index out of range is the nearest one, or, where
    `fill` is not None, gives `fill` for all that it would have looked up. The result has the axes of the indices,
    without the last, then the `rest` of x's; `order` is that of the output, `ones` says that axes of length 1 lack.
    """

    axes: tuple[int, ...]
    rest: tuple[int, ...]
    lengths: tuple[int, ...]
    fill: Any
    order: tuple[int, ...]
    ones: bool

    @property
    def places(self) -> int:
        return prod(self.lengths)


def as_slice(operation: Operation) -> Slice | None:
    """What JAX makes of `x[:, 1:3, 0]`; None for other gathers."""
    numbers, sizes = operation.params["dimension_numbers"], operation.params["slice_sizes"]
    operand, indices = operation.inputs
    if not isinstance(indices, Constant) or indices.array.ndim != 1 or numbers.operand_batching_dims:
        return None
    axes, starts = [], []
    for axis, start in zip(numbers.start_index_map, indices.array.tolist(), strict=True):
        if is_rows(operand.shape[axis]):
            if sizes[axis] != operand.shape[axis]:
                raise by_number()
            continue
        last = int(operand.shape[axis]) - int(sizes[axis])
        if _fills(operation) and not 0 <= start <= last:
            return None
        axes.append(int(axis))
        starts.append(min(max(start, 0), last))
    limits = tuple(start + int(sizes[axis]) for axis, start in zip(axes, starts, strict=True))
    whole = all(sizes[d] == size for d, size in enumerate(operand.shape) if d not in numbers.start_index_map)
    return Slice(tuple(axes), tuple(starts), limits, tuple(map(int, numbers.collapsed_slice_dims))) if whole else None


def lookup(operation: Operation) -> Lookup:
    """A gather that is no slice. Raises RunError for one that takes more than single places of some axes."""
    numbers, sizes = operation.params["dimension_numbers"], operation.params["slice_sizes"]
    operand, indices = operation.inputs
    shape = operand.shape
    if numbers.operand_batching_dims:
        raise _refused("each row looks up its own values (as in jnp.take_along_axis)")
    if any(is_rows(shape[axis]) and sizes[axis] == 1 for axis in numbers.start_index_map):
        raise by_number()
    axes = tuple(int(axis) for axis in numbers.start_index_map if sizes[axis] == 1)
    rest = tuple(axis for axis in range(len(shape)) if axis not in axes)
    if not axes or any(sizes[axis] != shape[axis] for axis in rest) or not set(numbers.collapsed_slice_dims) <= {*axes}:
        raise _refused("it takes windows at computed places (as in lax.dynamic_slice under vmap)")
    if operation.params["mode"].name not in ("CLIP", "PROMISE_IN_BOUNDS", "FILL_OR_DROP"):
        raise _refused(f"its mode is {operation.params['mode'].name}")
    lengths = tuple(int(shape[axis]) if axis in axes else 1 for axis in numbers.start_index_map)
    batch = iter(range(len(indices.shape) - 1))
    left = [axis for axis in range(len(shape)) if axis not in numbers.collapsed_slice_dims]
    order = []
    for place in range(len(operation.outputs[0].shape)):
        if place not in numbers.offset_dims:
            order.append(next(batch))
        elif (axis := left[list(numbers.offset_dims).index(place)]) in rest:
            order.append(len(indices.shape) - 1 + rest.index(axis))
    fill = operation.params["fill_value"] if _fills(operation) else None
    return Lookup(axes, rest, lengths, fill, tuple(order), len(order) < len(operation.outputs[0].shape))


def _fills(operation: Operation) -> bool:
    return operation.params["mode"].name == "FILL_OR_DROP"


def by_number() -> RunError:
    """The error for a model that takes some of the rows, x[0] or x[::2]."""
    return RunError(
        "export: the model takes rows by their number (as in x[0]), but a row's answer must not depend on other rows; "
        "take means over rows in training only (forward=), and keep them as statistics"
    )


def _refused(why: str) -> RunError:
    return RunError(
        f"export: the model has a gather (x[...] with arrays as indices) with no translation to ONNX or NumPy here: "
        f"{why}; use slices, table[ids] or jnp.take(table, ids, axis=…), or {option('format', 'stablehlo')}"
    )
