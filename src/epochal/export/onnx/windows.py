"""Products, convolutions and pooling as ONNX operators, which want channels before places."""

from math import prod
from typing import Any

import numpy as np

from epochal.export.onnx.graph import Graph
from epochal.export.operations import Operation, equation, is_product, unknown


def dot(graph: Graph, operation: Operation, inputs: list[str]) -> str:
    """A dot_general: MatMul where it is one, else Einsum."""
    if is_product(operation):
        name = graph.node("MatMul", *inputs)
    else:
        name = graph.node("Einsum", *inputs, equation=equation(operation))
    dtype = operation.outputs[0].dtype
    return name if dtype == operation.inputs[0].dtype else graph.cast(name, dtype)


def convolution(graph: Graph, operation: Operation, inputs: list[str]) -> str:
    """A convolution of any layout, strides, padding, dilation and groups. Not one that is transposed."""
    params = operation.params
    if any(each != 1 for each in params["lhs_dilation"]) or params["batch_group_count"] != 1:
        raise unknown(operation, "ONNX (with a dilated input, as in a transposed convolution)")
    numbers = params["dimension_numbers"]
    inputs = [_single(graph, operation, name) for name in inputs]
    name = graph.node(
        "Conv", graph.transpose(inputs[0], numbers.lhs_spec), graph.transpose(inputs[1], numbers.rhs_spec),
        strides=_plain(params["window_strides"]), pads=_pads(operation, params["padding"]),
        dilations=_plain(params["rhs_dilation"]), group=int(params["feature_group_count"]),
    )  # fmt: skip
    return _in_dtype(graph, operation, graph.transpose(name, np.argsort(numbers.out_spec)))


def max_pool(graph: Graph, operation: Operation, inputs: list[str]) -> str:
    return _pooled(graph, operation, inputs, "MaxPool", dilations=True)


def sum_pool(graph: Graph, operation: Operation, inputs: list[str]) -> str:
    """The sum over windows: their mean, padding counted, times their size."""
    inputs = [_single(graph, operation, inputs[0])]
    mean = _pooled(graph, operation, inputs, "AveragePool", count_include_pad=1)
    size = prod(operation.params["window_dimensions"])
    return graph.node(
        "Mul", _in_dtype(graph, operation, mean), graph.constant(np.array(size, operation.inputs[0].dtype))
    )


def _pooled(
    graph: Graph, operation: Operation, inputs: list[str], kind: str, *, dilations: bool = False, **attributes: Any
) -> str:
    params, rank = operation.params, len(operation.inputs[0].shape)
    window, strides, padding = params["window_dimensions"], params["window_strides"], params["padding"]
    dilation = params["window_dilation"]
    places = [i for i in range(rank) if (window[i], strides[i], tuple(padding[i])) != (1, 1, (0, 0))]
    others = [i for i in range(rank) if i not in places]
    while len(others) > 2 and others[-1] != 0:  # a window of one cell is none, so any axis may count as a place
        places = sorted([*places, others.pop()])
    odd = any(each != 1 for each in params["base_dilation"]) or (not dilations and any(d != 1 for d in dilation))
    if len(others) != 2 or not places or odd:
        raise unknown(operation, "ONNX (over these axes)")
    if dilations:
        attributes["dilations"] = _plain(dilation[i] for i in places)
    name = graph.node(
        kind, graph.transpose(inputs[0], [*others, *places]), kernel_shape=_plain(window[i] for i in places),
        strides=_plain(strides[i] for i in places), pads=_pads(operation, [padding[i] for i in places]), **attributes,
    )  # fmt: skip
    return graph.transpose(name, np.argsort([*others, *places]))


def _single(graph: Graph, operation: Operation, name: str) -> str:
    """A value in 32 bits: onnxruntime has no convolution and no mean over windows in 64 on a CPU."""
    return graph.cast(name, np.float32) if operation.inputs[0].dtype == np.float64 else name


def _in_dtype(graph: Graph, operation: Operation, name: str) -> str:
    return graph.cast(name, np.float64) if operation.inputs[0].dtype == np.float64 else name


def _plain(values: Any) -> list[int]:
    return [int(value) for value in values]


def _pads(operation: Operation, padding: Any) -> list[int]:
    pads = [*(int(low) for low, _ in padding), *(int(high) for _, high in padding)]
    if min(pads, default=0) < 0:
        raise unknown(operation, "ONNX (with negative padding)")
    return pads
