"""`--format onnx`: one file that takes rows as they are stored, or a table's columns, and names the classes.

The graph is built from the model's operations (`tracing`), not by a converter package: the one that is maintained
today, jax2onnx, brings thirty packages along, among them Flax, Orbax and TensorStore, to translate what a classifier of
images or tables does not use. Seventy-six primitives are enough, and an unknown one is an error that names it.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
from onnx import TensorProto, helper

from epochal.export.onnx import columns as onnx_columns
from epochal.export.onnx.graph import Graph, element_type
from epochal.export.onnx.operations import translate
from epochal.export.tracing import trace
from epochal.training.fitted import Fit

_BLOCK = 1000


def files(fit: Fit, dtype: np.dtype, about: Mapping[str, str]) -> tuple[dict[str, bytes], tuple[str, ...]]:
    """The model, in one file, and no notes. Outputs: `label`, the class names, and `probabilities`, [rows, classes].

    A column of a table that has one of these names keeps it; the output then gets a number behind it.
    """
    traced = trace(fit, dtype)
    if fit.preprocessing:
        columns = fit.preprocessing.columns
        inputs = onnx_columns.inputs(columns)
        graph = Graph([plan.name for plan in columns])
        features = onnx_columns.features(graph, columns)
        graph.values["x"] = graph.cast(features, dtype) if dtype != np.float32 else features
    else:
        shape = ["rows", *fit.program.example_shape]
        inputs = [
            helper.make_tensor_value_info("x", element_type(dtype), shape, f"rows as trained on: {about['rows']}")
        ]
        graph = Graph(["x"])
        graph.values["x"] = "x"
    outs = [graph.fresh("label"), graph.fresh("probabilities")]
    for operation in traced.operations:
        names = translate(graph, operation, [graph.operand(each) for each in operation.inputs])
        graph.values.update(zip((each.name for each in operation.outputs), names, strict=True))
    p = graph.node("Softmax", graph.operand(traced.logits), axis=-1)
    best = graph.node("ArgMax", p, axis=-1, keepdims=0)
    names = graph.constant(np.array(fit.classes, object), "classes")
    label = graph.node("Gather", names, best, axis=0)
    graph.nodes += [helper.make_node("Identity", [each], [out]) for each, out in zip((label, p), outs, strict=True)]
    outputs = [
        helper.make_tensor_value_info(outs[0], TensorProto.STRING, ["rows"]),
        helper.make_tensor_value_info(outs[1], element_type(traced.logits.dtype), ["rows", len(fit.classes)]),
    ]
    model = graph.model(inputs, outputs, dict(about))
    onnx.checker.check_model(model, full_check=True)
    return {"model.onnx": model.SerializeToString()}, ()


def run(path: Path, feeds: Mapping[str, np.ndarray]) -> tuple[np.ndarray, np.ndarray]:
    """Probabilities and labels of all rows from the file, by onnxruntime."""
    session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    wanted = {each.name: each.type for each in session.get_inputs()}
    count = len(next(iter(feeds.values())))
    blocks: list[Any] = []
    for begin in range(0, count, _BLOCK):
        block = {name: _of_type(feeds[name][begin : begin + _BLOCK], kind) for name, kind in wanted.items()}
        blocks.append(session.run(None, block))
    labels, p = zip(*blocks, strict=True)
    return np.concatenate(p), np.concatenate(labels)


_TYPES = {"tensor(float)": np.float32, "tensor(double)": np.float64}


def _of_type(x: np.ndarray, kind: str) -> np.ndarray:
    return x.astype(_TYPES[kind], copy=False) if kind in _TYPES else x
