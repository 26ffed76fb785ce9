"""A table's preprocessing as ONNX operators: each column is an input of its own, as it is in the table."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from onnx import TensorProto, helper

from epochal.data.preprocessing import ColumnPlan
from epochal.export.onnx.graph import Graph


def inputs(columns: Sequence[ColumnPlan]) -> list[Any]:
    """One input a column, [rows, 1]: text for categories, float64 for numbers and booleans, NaN where one is missing.

    A missing text is the empty one, unless that is itself a category.
    """
    kinds = {"category": TensorProto.STRING}
    return [
        helper.make_tensor_value_info(plan.name, kinds.get(plan.kind, TensorProto.DOUBLE), ["rows", 1])
        for plan in columns
    ]


def features(graph: Graph, columns: Sequence[ColumnPlan]) -> str:
    """The features of all columns, float32 [rows, features], as `Preprocessing.apply` makes them."""
    parts = [part for plan in columns for part in (_category if plan.kind == "category" else _number)(graph, plan)]
    return graph.node("Concat", *parts, axis=1)


def _number(graph: Graph, plan: ColumnPlan) -> list[str]:
    absent = graph.node("IsNaN", plan.name)
    middle = graph.constant(np.float64(0.5 if plan.kind == "boolean" else plan.mean))
    value = graph.node("Where", absent, middle, plan.name)
    if plan.kind == "number":
        apart = graph.node("Sub", value, graph.constant(np.float64(plan.mean)))
        value = graph.node("Div", apart, graph.constant(np.float64(plan.scale)))
    value = graph.cast(value, np.float32)
    return [value, graph.cast(absent, np.float32)] if plan.missing else [value]


def _category(graph: Graph, plan: ColumnPlan) -> list[str]:
    count = len(plan.categories)
    keys, codes = list(plan.categories), list(range(count))
    if "" not in plan.categories:
        keys, codes = [*keys, ""], [*codes, count + 1]
    code = graph.node(
        "LabelEncoder", plan.name, domain="ai.onnx.ml", keys_strings=keys, values_int64s=codes, default_int64=count
    )
    span = graph.constant(np.array([0, 1], np.float32))
    hot = graph.node("OneHot", code, graph.integers(count + 2), span, axis=-1)
    flat = graph.node("Reshape", hot, graph.integers(-1, count + 2))
    kept = count + 1 + plan.missing
    cut = graph.node("Slice", flat, graph.integers(0), graph.integers(kept), graph.integers(1))
    return [cut]
