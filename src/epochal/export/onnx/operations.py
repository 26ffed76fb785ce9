"""Primitives of `jax.lax` as ONNX operators: one function each, or one operator's name where they are the same."""

from collections.abc import Callable
from functools import reduce
from typing import Any

import numpy as np

from epochal.export.gathers import as_slice, by_number, lookup
from epochal.export.onnx import windows
from epochal.export.onnx.graph import Graph
from epochal.export.operations import Operation, is_rows, unknown

_SAME = {
    "add": "Add", "add_any": "Add", "sub": "Sub", "mul": "Mul", "div": "Div", "neg": "Neg", "exp": "Exp", "log": "Log",
    "tanh": "Tanh", "logistic": "Sigmoid", "sqrt": "Sqrt", "abs": "Abs", "sign": "Sign", "floor": "Floor",
    "ceil": "Ceil", "erf": "Erf", "sin": "Sin", "cos": "Cos", "max": "Max", "min": "Min", "pow": "Pow", "eq": "Equal",
    "lt": "Less", "le": "LessOrEqual", "gt": "Greater", "ge": "GreaterOrEqual", "not": "Not", "and": "And", "or": "Or",
    "sinh": "Sinh", "cosh": "Cosh", "tan": "Tan", "atan": "Atan", "asin": "Asin", "acos": "Acos", "xor": "Xor",
}  # fmt: skip
_REDUCTIONS = {"reduce_sum": "ReduceSum", "reduce_max": "ReduceMax", "reduce_min": "ReduceMin"}
_REDUCTIONS |= {"reduce_prod": "ReduceProd"}

Translation = Callable[[Graph, Operation, list[str]], str]


def translate(graph: Graph, operation: Operation, inputs: list[str]) -> list[str]:
    """Add an operation to the graph; the names of its outputs. Raises RunError for one that is not known."""
    name = operation.primitive
    if name in _SAME:
        return [graph.node(_SAME[name], *inputs)]
    if name in _REDUCTIONS:
        return [graph.node(_REDUCTIONS[name], inputs[0], _axes(graph, operation), keepdims=0)]
    if name == "split":
        sizes = graph.integers(*operation.params["sizes"])
        return graph.nodes_of("Split", len(operation.outputs), inputs[0], sizes, axis=operation.params["axis"])
    if name not in _TRANSLATIONS:
        raise unknown(operation, "ONNX")
    return [_TRANSLATIONS[name](graph, operation, inputs)]


def _axes(graph: Graph, operation: Operation) -> str:
    return graph.integers(*operation.params["axes"])


def _like(graph: Graph, operation: Operation, value: float) -> str:
    return graph.constant(np.array(value, operation.inputs[0].dtype))


def _integer_power(graph: Graph, operation: Operation, inputs: list[str]) -> str:
    return graph.node("Pow", inputs[0], _like(graph, operation, operation.params["y"]))


def _round(graph: Graph, operation: Operation, inputs: list[str]) -> str:
    if int(operation.params["rounding_method"]) == 1:  # to the nearest even one, as ONNX does
        return graph.node("Round", inputs[0])
    away = graph.node("Floor", graph.node("Add", graph.node("Abs", inputs[0]), _like(graph, operation, 0.5)))
    return graph.node("Mul", graph.node("Sign", inputs[0]), away)


def _is_finite(graph: Graph, operation: Operation, inputs: list[str]) -> str:
    odd = graph.node("Or", graph.node("IsNaN", inputs[0]), graph.node("IsInf", inputs[0]))
    return graph.node("Not", odd)


def _select(graph: Graph, operation: Operation, inputs: list[str]) -> str:
    if len(inputs) != 3 or operation.inputs[0].dtype != bool:
        raise unknown(operation, "ONNX")
    return graph.node("Where", inputs[0], inputs[2], inputs[1])


def _clamp(graph: Graph, operation: Operation, inputs: list[str]) -> str:
    least, x, most = inputs
    return graph.node("Min", graph.node("Max", x, least), most)


def _convert(graph: Graph, operation: Operation, inputs: list[str]) -> str:
    given, wanted = operation.inputs[0].dtype, operation.outputs[0].dtype
    if given.kind == "f" and wanted.kind in "iu":
        return _integers(graph, inputs[0], wanted)
    return graph.cast(inputs[0], wanted)


def _reshape(graph: Graph, operation: Operation, inputs: list[str]) -> str:
    return graph.reshape(inputs[0], operation.outputs[0].shape)


def _broadcast(graph: Graph, operation: Operation, inputs: list[str]) -> str:
    shape, places = operation.outputs[0].shape, operation.params["broadcast_dimensions"]
    aligned: list[Any] = [1] * len(shape)
    for place, length in zip(places, operation.inputs[0].shape, strict=True):
        aligned[place] = length
    name = graph.reshape(inputs[0], tuple(aligned))
    return name if tuple(aligned) == tuple(shape) else graph.expand(name, shape)


def _slice(graph: Graph, operation: Operation, inputs: list[str]) -> str:
    params, shape = operation.params, operation.inputs[0].shape
    strides = params["strides"] or (1,) * len(shape)
    axes = [
        axis
        for axis, (begin, end) in enumerate(zip(params["start_indices"], params["limit_indices"], strict=True))
        if not (begin == 0 and end == shape[axis] and strides[axis] == 1)
    ]
    if any(is_rows(shape[axis]) for axis in axes):
        raise by_number()
    bounds = [graph.integers(*(int(params[key][axis]) for axis in axes)) for key in ("start_indices", "limit_indices")]
    steps = graph.integers(*(int(strides[axis]) for axis in axes))
    return graph.node("Slice", inputs[0], *bounds, graph.integers(*axes), steps) if axes else inputs[0]


def _gather(graph: Graph, operation: Operation, inputs: list[str]) -> str:
    if (cut := as_slice(operation)) is not None:
        bounds = (graph.integers(*cut.starts), graph.integers(*cut.limits), graph.integers(*cut.axes))
        name = graph.node("Slice", inputs[0], *bounds)
        return graph.node("Squeeze", name, graph.integers(*cut.squeezed)) if cut.squeezed else name
    return _lookup(graph, operation, inputs)


def _lookup(graph: Graph, operation: Operation, inputs: list[str]) -> str:
    """A gather that is no slice: Gather at clipped indices, and Where for those that give a fill value."""
    gather, shape = lookup(operation), operation.inputs[0].shape
    table = graph.transpose(inputs[0], (*gather.axes, *gather.rest))
    if len(gather.axes) != 1:
        table = graph.reshape(table, (gather.places, *(shape[axis] for axis in gather.rest)))
    indices, zero = graph.cast(inputs[1], np.int64), graph.constant(np.int64(0))
    flat, inside = zero, []
    for column, length in enumerate(gather.lengths):
        index = graph.node("Gather", indices, graph.constant(np.int64(column)), axis=-1)
        nearest = graph.node("Clip", index, zero, graph.constant(np.int64(length - 1)))
        flat = graph.node("Add", graph.node("Mul", flat, graph.constant(np.int64(length))), nearest)
        inside += [
            graph.node("GreaterOrEqual", index, zero),
            graph.node("Less", index, graph.constant(np.int64(length))),
        ]
    name = graph.node("Gather", table, flat, axis=0)
    if gather.fill is not None:
        every = reduce(lambda a, b: graph.node("And", a, b), inside)
        if gather.rest:
            every = graph.node("Unsqueeze", every, graph.integers(*(-1 - i for i in range(len(gather.rest)))))
        fill = graph.constant(np.array(gather.fill, operation.outputs[0].dtype))
        name = graph.node("Where", every, name, fill)
    name = graph.transpose(name, gather.order)
    return graph.reshape(name, operation.outputs[0].shape) if gather.ones else name


def _integers(graph: Graph, name: str, dtype: np.dtype) -> str:
    """Floats as whole numbers as JAX makes them: NaN is 0, what is beyond the dtype its least or greatest number."""
    x = graph.cast(name, np.float64)
    x = graph.node("Where", graph.node("IsNaN", x), graph.constant(np.float64(0)), x)
    info = np.iinfo(dtype)
    least, greatest = graph.constant(np.float64(info.min)), graph.constant(np.nextafter(np.float64(info.max) + 1, 0))
    return graph.cast(graph.node("Min", graph.node("Max", x, least), greatest), dtype)


def _stack(graph: Graph, operation: Operation, inputs: list[str]) -> str:
    axis = int(operation.params["axis"])
    parts = [graph.node("Unsqueeze", each, graph.integers(axis)) for each in inputs]
    return graph.node("Concat", *parts, axis=axis)


def _pad(graph: Graph, operation: Operation, inputs: list[str]) -> str:
    config = operation.params["padding_config"]
    if any(interior for _, _, interior in config) or any(low < 0 or high < 0 for low, high, _ in config):
        raise unknown(operation, "ONNX")
    pads = graph.integers(*(low for low, _, _ in config), *(high for _, high, _ in config))
    return graph.node("Pad", inputs[0], pads, inputs[1])


def _reverse(graph: Graph, operation: Operation, inputs: list[str]) -> str:
    axes = operation.params["dimensions"]
    ends = graph.integers(*[-(2**31)] * len(axes))
    steps = graph.integers(*[-1] * len(axes))
    return graph.node("Slice", inputs[0], graph.integers(*[-1] * len(axes)), ends, graph.integers(*axes), steps)


def _extreme(kind: str) -> Translation:
    def translation(graph: Graph, operation: Operation, inputs: list[str]) -> str:
        (axis,) = operation.params["axes"]
        name = graph.node(kind, inputs[0], axis=int(axis), keepdims=0)
        return graph.cast(name, operation.params["index_dtype"])

    return translation


def _logical(kind: str) -> Translation:
    def translation(graph: Graph, operation: Operation, inputs: list[str]) -> str:
        name = graph.node(kind, graph.cast(inputs[0], np.int32), _axes(graph, operation), keepdims=0)
        return graph.cast(name, bool)

    return translation


def _cumulative_sum(graph: Graph, operation: Operation, inputs: list[str]) -> str:
    axis = graph.constant(np.array(operation.params["axis"], np.int64))
    return graph.node("CumSum", inputs[0], axis, reverse=int(operation.params["reverse"]))


def _after(first: str, second: str) -> Translation:
    return lambda graph, operation, inputs: graph.node(second, graph.node(first, *inputs))


_TRANSLATIONS: dict[str, Translation] = {
    "ne": _after("Equal", "Not"),
    "rsqrt": _after("Sqrt", "Reciprocal"),
    "square": lambda g, op, x: g.node("Mul", x[0], x[0]),
    "exp2": lambda g, op, x: g.node("Pow", _like(g, op, 2), x[0]),
    "expm1": lambda g, op, x: g.node("Sub", g.node("Exp", x[0]), _like(g, op, 1)),
    "log1p": lambda g, op, x: g.node("Log", g.node("Add", x[0], _like(g, op, 1))),
    "erfc": lambda g, op, x: g.node("Sub", _like(g, op, 1), g.node("Erf", x[0])),
    "rem": lambda g, op, x: g.node("Mod", *x, fmod=1),
    "integer_pow": _integer_power,
    "round": _round,
    "is_finite": _is_finite,
    "select_n": _select,
    "clamp": _clamp,
    "convert_element_type": _convert,
    "reshape": _reshape,
    "squeeze": _reshape,
    "expand_dims": _reshape,
    "transpose": lambda g, op, x: g.transpose(x[0], op.params["permutation"]),
    "broadcast_in_dim": _broadcast,
    "tile": lambda g, op, x: g.node("Tile", x[0], g.integers(*op.params["reps"])),
    "concatenate": lambda g, op, x: g.node("Concat", *x, axis=int(op.params["dimension"])),
    "stack": _stack,
    "slice": _slice,
    "gather": _gather,
    "pad": _pad,
    "rev": _reverse,
    "argmax": _extreme("ArgMax"),
    "argmin": _extreme("ArgMin"),
    "reduce_and": _logical("ReduceMin"),
    "reduce_or": _logical("ReduceMax"),
    "cumsum": _cumulative_sum,
    "dot_general": windows.dot,
    "conv_general_dilated": windows.convolution,
    "reduce_window_max": windows.max_pool,
    "reduce_window_sum": windows.sum_pool,
}
