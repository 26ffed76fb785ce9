"""An ONNX graph that grows node by node."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import onnx
from onnx import helper, numpy_helper

from epochal.export.operations import Constant, Operand, is_rows, target

OPSET, ML_OPSET, IR_VERSION = 20, 3, 10
"""As old as the operators allow, so that runtimes of 2024 read the files too."""


def element_type(dtype: Any) -> int:
    return helper.np_dtype_to_tensor_dtype(np.dtype(dtype))


class Graph:
    """Nodes and constants so far. Values are referred to by name."""

    def __init__(self, inputs: Sequence[str]):
        """The first of `inputs` has the number of rows as its first dimension. Their names are not used again."""
        self.nodes: list[Any] = []
        self.constants: dict[str, Any] = {}
        self.values: dict[str, str] = {}
        self._rows, self._taken, self._count = inputs[0], {*inputs}, 0

    def fresh(self, hint: str) -> str:
        name = hint
        while name in self._taken:
            self._count += 1
            name = f"{hint}_{self._count}"
        self._taken.add(name)
        return name

    def constant(self, array: Any, hint: str = "constant") -> str:
        name = self.fresh(hint)
        self.constants[name] = numpy_helper.from_array(np.ascontiguousarray(array).reshape(np.shape(array)), name)
        return name

    def integers(self, *values: int) -> str:
        """A constant int64 vector, as shapes and axes are given."""
        return self.constant(np.array(values, np.int64), "ints")

    def operand(self, operand: Operand) -> str:
        """The name of a value, or of a parameter of the model."""
        if operand.name not in self.values:
            assert isinstance(operand, Constant), f"{operand.name} is used before it is there"
            self.values[operand.name] = self.constant(operand.array, operand.name or "parameters")
        return self.values[operand.name]

    def node(self, kind: str, *inputs: str, domain: str = "", **attributes: Any) -> str:
        """Add an operator with one output; its name."""
        out = self.fresh(kind.lower())
        self.nodes.append(helper.make_node(kind, list(inputs), [out], domain=domain, **attributes))
        return out

    def nodes_of(self, kind: str, count: int, *inputs: str, **attributes: Any) -> list[str]:
        """Add an operator with several outputs; their names."""
        outs = [self.fresh(kind.lower()) for _ in range(count)]
        self.nodes.append(helper.make_node(kind, list(inputs), outs, **attributes))
        return outs

    def cast(self, name: str, dtype: Any) -> str:
        return self.node("Cast", name, to=element_type(dtype))

    def reshape(self, name: str, shape: tuple[Any, ...]) -> str:
        return self.node("Reshape", name, self.integers(*target(shape)))

    def transpose(self, name: str, permutation: Any) -> str:
        order = [int(axis) for axis in permutation]
        return name if order == sorted(order) else self.node("Transpose", name, perm=order)

    def expand(self, name: str, shape: tuple[Any, ...]) -> str:
        """A value repeated along its axes of length 1 to `shape`."""
        if not any(map(is_rows, shape)):
            return self.node("Expand", name, self.integers(*map(int, shape)))
        target(shape)
        count = self.node("Shape", self._rows, start=0, end=1)
        parts = [count if is_rows(dimension) else self.integers(int(dimension)) for dimension in shape]
        return self.node("Expand", name, self.node("Concat", *parts, axis=0))

    def model(self, inputs: list[Any], outputs: list[Any], metadata: dict[str, str]) -> Any:
        """The finished and checked model."""
        used = {name for node in self.nodes for name in node.input}
        constants = [value for name, value in self.constants.items() if name in used]
        graph = helper.make_graph(self.nodes, "epochal", inputs, outputs, constants)
        opsets = [helper.make_opsetid("", OPSET), helper.make_opsetid("ai.onnx.ml", ML_OPSET)]
        model = helper.make_model(graph, opset_imports=opsets, ir_version=IR_VERSION, producer_name="epochal")
        helper.set_model_props(model, metadata)
        onnx.checker.check_model(model)
        return model
