"""Lookups by computed indices as ONNX operators, with JAX's answers for indices that are out of bounds."""

from functools import reduce

import numpy as np

from epochal.export.lookups import lookup
from epochal.export.onnx_graph import Graph
from epochal.export.operations import Operation


def looked_up(graph: Graph, operation: Operation, inputs: list[str]) -> str:
    """A gather that is no slice: Gather at clipped indices, and Where for those that give a fill value."""
    asked, shape = lookup(operation), operation.inputs[0].shape
    table = graph.transpose(inputs[0], (*asked.axes, *asked.kept))
    if len(asked.axes) != 1:
        table = graph.reshape(table, (asked.places, *(shape[axis] for axis in asked.kept)))
    indices, zero = graph.cast(inputs[1], np.int64), graph.constant(np.int64(0))
    flat, inside = zero, []
    for column, length in enumerate(asked.lengths):
        index = graph.node("Gather", indices, graph.constant(np.int64(column)), axis=-1)
        nearest = graph.node("Clip", index, zero, graph.constant(np.int64(length - 1)))
        flat = graph.node("Add", graph.node("Mul", flat, graph.constant(np.int64(length))), nearest)
        inside += [
            graph.node("GreaterOrEqual", index, zero),
            graph.node("Less", index, graph.constant(np.int64(length))),
        ]
    found = graph.node("Gather", table, flat, axis=0)
    if asked.fill is not None:
        every = reduce(lambda a, b: graph.node("And", a, b), inside)
        if asked.kept:
            every = graph.node("Unsqueeze", every, graph.integers(*(-1 - i for i in range(len(asked.kept)))))
        fill = graph.constant(np.array(asked.fill, operation.outputs[0].dtype))
        found = graph.node("Where", every, found, fill)
    found = graph.transpose(found, asked.order)
    return graph.reshape(found, operation.outputs[0].shape) if asked.ones else found


def whole(graph: Graph, name: str, dtype: np.dtype) -> str:
    """Floats as whole numbers as JAX makes them: NaN is 0, what is beyond the dtype its least or greatest number."""
    x = graph.cast(name, np.float64)
    x = graph.node("Where", graph.node("IsNaN", x), graph.constant(np.float64(0)), x)
    info = np.iinfo(dtype)
    least, greatest = graph.constant(np.float64(info.min)), graph.constant(np.nextafter(np.float64(info.max) + 1, 0))
    return graph.cast(graph.node("Min", graph.node("Max", x, least), greatest), dtype)
