"""Primitives of `jax.lax` as lines of NumPy."""

from collections.abc import Callable
from typing import Any

import numpy as np

from epochal.export.gathers import as_slice, by_number, lookup
from epochal.export.operations import Constant, Operand, Operation, equation, is_product, is_rows, target, unknown

_INFIX = {
    "add": "+", "add_any": "+", "sub": "-", "mul": "*", "div": "/", "eq": "==", "ne": "!=", "lt": "<", "le": "<=",
    "gt": ">", "ge": ">=", "and": "&", "or": "|", "xor": "^", "pow": "**",
}  # fmt: skip
_CALLED = {
    "exp": "np.exp", "log": "np.log", "tanh": "np.tanh", "sqrt": "np.sqrt", "abs": "np.abs", "sign": "np.sign",
    "floor": "np.floor", "ceil": "np.ceil", "sin": "np.sin", "cos": "np.cos", "max": "np.maximum", "min": "np.minimum",
    "log1p": "np.log1p", "expm1": "np.expm1", "exp2": "np.exp2", "square": "np.square", "neg": "np.negative",
    "is_finite": "np.isfinite", "not": "np.invert", "erf": "erf", "sinh": "np.sinh", "cosh": "np.cosh",
    "rem": "np.fmod", "tan": "np.tan", "atan": "np.arctan", "asin": "np.arcsin", "acos": "np.arccos",
}  # fmt: skip
_REDUCED = {"reduce_sum": "sum", "reduce_max": "max", "reduce_min": "min", "reduce_prod": "prod", "reduce_and": "all"}
_REDUCED |= {"reduce_or": "any"}

Expression = Callable[[Operation, list[str]], str]


def spelled(operand: Operand) -> str:
    """A value by its name, a number as it is, other constants out of the parameters `p`."""
    if not isinstance(operand, Constant):
        return operand.name
    if operand.array.ndim == 0 and operand.dtype.kind in "biuf":
        return _number(operand.array.item(), operand.dtype)
    return f"p[{operand.name!r}]"


def _number(value: Any, dtype: np.dtype) -> str:
    if dtype.kind == "f":
        return f"np.{dtype}({str(float(value))!r})"
    return f"{_type(dtype)}({value})"


def _type(dtype: np.dtype) -> str:
    return "np.bool_" if dtype.kind == "b" else f"np.{dtype}"


def line(operation: Operation) -> str:
    """The assignment that does an operation. Raises RunError for one that is not known."""
    inputs = [spelled(each) for each in operation.inputs]
    outputs = ", ".join(each.name for each in operation.outputs)
    return f"{outputs} = {_expression(operation, inputs)}"


def _expression(operation: Operation, inputs: list[str]) -> str:
    name = operation.primitive
    if name in _INFIX:
        return f" {_INFIX[name]} ".join(inputs)
    if name in _CALLED:
        return f"{_CALLED[name]}({', '.join(inputs)})"
    if name in _REDUCED:
        axes = tuple(int(axis) for axis in operation.params["axes"])
        return f"{inputs[0]}.{_REDUCED[name]}(axis={axes})"
    if name not in _EXPRESSIONS:
        raise unknown(operation, "NumPy")
    return _EXPRESSIONS[name](operation, inputs)


def _select(operation: Operation, inputs: list[str]) -> str:
    if len(inputs) != 3 or operation.inputs[0].dtype != bool:
        raise unknown(operation, "NumPy")
    return f"np.where({inputs[0]}, {inputs[2]}, {inputs[1]})"


def _integer_power(operation: Operation, inputs: list[str]) -> str:
    exponent = operation.params["y"]
    if 0 < exponent <= 4:
        return " * ".join([inputs[0]] * exponent)
    return f"{inputs[0]} ** np.{operation.inputs[0].dtype}({exponent})"


def _round(operation: Operation, inputs: list[str]) -> str:
    if int(operation.params["rounding_method"]) == 1:
        return f"np.round({inputs[0]})"
    x, half = inputs[0], f"np.{operation.inputs[0].dtype}(0.5)"
    return f"np.sign({x}) * np.floor(np.abs({x}) + {half})"


def _convert(operation: Operation, inputs: list[str]) -> str:
    dtype = operation.outputs[0].dtype
    if dtype.kind in "iu" and operation.inputs[0].dtype.kind == "f":
        return f"whole({inputs[0]}, np.{dtype})"
    return f"{inputs[0]}.astype({_type(dtype)})"


def _reshape(operation: Operation, inputs: list[str]) -> str:
    return f"{inputs[0]}.reshape({tuple(target(operation.outputs[0].shape))})"


def _broadcast(operation: Operation, inputs: list[str]) -> str:
    shape, places = operation.outputs[0].shape, operation.params["broadcast_dimensions"]
    aligned: list[Any] = [1] * len(shape)
    for place, length in zip(places, operation.inputs[0].shape, strict=True):
        aligned[place] = length
    target(shape)
    full = ", ".join("len(x)" if is_rows(length) else str(int(length)) for length in shape)
    return f"np.broadcast_to({inputs[0]}.reshape({tuple(target(tuple(aligned)))}), ({full},))"


def _slice(operation: Operation, inputs: list[str]) -> str:
    params, shape = operation.params, operation.inputs[0].shape
    strides = params["strides"] or (1,) * len(shape)
    parts = []
    for axis, (begin, end) in enumerate(zip(params["start_indices"], params["limit_indices"], strict=True)):
        whole = begin == 0 and end == shape[axis] and strides[axis] == 1
        if is_rows(shape[axis]) and not whole:
            raise by_number()
        parts.append(":" if whole else f"{int(begin)}:{int(end)}:{int(strides[axis])}")
    return f"{inputs[0]}[{', '.join(parts)}]"


def _gather(operation: Operation, inputs: list[str]) -> str:
    if (cut := as_slice(operation)) is not None:
        parts = [":"] * len(operation.inputs[0].shape)
        for axis, begin, end in zip(cut.axes, cut.starts, cut.limits, strict=True):
            parts[axis] = str(begin) if axis in cut.squeezed else f"{begin}:{end}"
        return f"{inputs[0]}[{', '.join(parts)}]"
    gather = lookup(operation)
    shape = [operation.inputs[0].shape[axis] for axis in gather.rest]
    places = _transposed(inputs[0], (*gather.axes, *gather.rest))
    if len(gather.axes) != 1:
        places += f".reshape({tuple(target((gather.places, *shape)))})"
    fill = None if gather.fill is None else _number(gather.fill, operation.outputs[0].dtype)
    values = _transposed(f"lookup({places}, {inputs[1]}, {gather.lengths}, {fill})", gather.order)
    return f"{values}.reshape({tuple(target(operation.outputs[0].shape))})" if gather.ones else values


def _transposed(name: str, order: tuple[int, ...]) -> str:
    return name if list(order) == sorted(order) else f"{name}.transpose({order})"


def _pad(operation: Operation, inputs: list[str]) -> str:
    config = operation.params["padding_config"]
    if any(interior for _, _, interior in config) or any(low < 0 or high < 0 for low, high, _ in config):
        raise unknown(operation, "NumPy")
    return f"np.pad({inputs[0]}, {[(low, high) for low, high, _ in config]}, constant_values={inputs[1]})"


def _dot(operation: Operation, inputs: list[str]) -> str:
    product = f"np.einsum({equation(operation)!r}, {', '.join(inputs)}, optimize=True)"
    return " @ ".join(inputs) if is_product(operation) else product


def _convolution(operation: Operation, inputs: list[str]) -> str:
    params, numbers = operation.params, operation.params["dimension_numbers"]
    odd = any(each != 1 for each in params["lhs_dilation"]) or params["batch_group_count"] != 1
    if odd or any(pad < 0 for pair in params["padding"] for pad in pair):
        raise unknown(operation, "NumPy (with a dilated input or negative padding)")
    x, w = (f"{name}.transpose({tuple(spec)})" for name, spec in zip(inputs, numbers[:2], strict=True))
    rest = (
        _plain(params["window_strides"]), tuple(_plain(pair) for pair in params["padding"]),
        _plain(params["rhs_dilation"]), int(params["feature_group_count"]),
    )  # fmt: skip
    order = tuple(int(axis) for axis in np.argsort(numbers.out_spec))
    return f"convolution({x}, {w}, {', '.join(map(repr, rest))}).transpose({order})"


def _pool(reduce: str, fill: str) -> Expression:
    def expression(operation: Operation, inputs: list[str]) -> str:
        params = operation.params
        if any(each != 1 for each in params["base_dilation"]):
            raise unknown(operation, "NumPy (with a dilated input)")
        rest = (
            _plain(params["window_dimensions"]), _plain(params["window_strides"]),
            tuple(_plain(pair) for pair in params["padding"]), _plain(params["window_dilation"]),
        )  # fmt: skip
        return f"pool({inputs[0]}, {reduce}, {', '.join(map(repr, rest))}, {fill})"

    return expression


def _plain(values: Any) -> tuple[int, ...]:
    return tuple(int(value) for value in values)


def _cumulative_sum(operation: Operation, inputs: list[str]) -> str:
    axis = int(operation.params["axis"])
    if operation.params["reverse"]:
        return f"np.flip(np.cumsum(np.flip({inputs[0]}, {axis}), axis={axis}), {axis})"
    return f"np.cumsum({inputs[0]}, axis={axis})"


def _extreme(name: str) -> Expression:
    return lambda op, x: f"{x[0]}.{name}(axis={int(op.params['axes'][0])}).astype(np.{op.params['index_dtype']})"


_EXPRESSIONS: dict[str, Expression] = {
    "rsqrt": lambda op, x: f"np.{op.inputs[0].dtype}(1) / np.sqrt({x[0]})",
    "logistic": lambda op, x: f"np.{op.inputs[0].dtype}(1) / (np.{op.inputs[0].dtype}(1) + np.exp(-{x[0]}))",
    "erfc": lambda op, x: f"np.{op.inputs[0].dtype}(1) - erf({x[0]})",
    "integer_pow": _integer_power,
    "round": _round,
    "select_n": _select,
    "clamp": lambda op, x: f"np.minimum(np.maximum({x[1]}, {x[0]}), {x[2]})",
    "convert_element_type": _convert,
    "reshape": _reshape,
    "squeeze": _reshape,
    "expand_dims": _reshape,
    "transpose": lambda op, x: f"{x[0]}.transpose({_plain(op.params['permutation'])})",
    "broadcast_in_dim": _broadcast,
    "tile": lambda op, x: f"np.tile({x[0]}, {_plain(op.params['reps'])})",
    "concatenate": lambda op, x: f"np.concatenate([{', '.join(x)}], axis={int(op.params['dimension'])})",
    "stack": lambda op, x: f"np.stack([{', '.join(x)}], axis={int(op.params['axis'])})",
    "split": lambda op, x: (
        f"np.split({x[0]}, {np.cumsum(op.params['sizes'])[:-1].tolist()}, axis={int(op.params['axis'])})"
    ),
    "slice": _slice,
    "gather": _gather,
    "pad": _pad,
    "rev": lambda op, x: f"np.flip({x[0]}, {_plain(op.params['dimensions'])})",
    "argmax": _extreme("argmax"),
    "argmin": _extreme("argmin"),
    "cumsum": _cumulative_sum,
    "dot_general": _dot,
    "conv_general_dilated": _convolution,
    "reduce_window_max": _pool("np.max", "-np.inf"),
    "reduce_window_sum": _pool("np.sum", "0"),
}
