"""An array in place of the table that a model was trained on: its columns are the table's, in their order."""

from typing import Any

import numpy as np

from epochal.data.preprocessing import ColumnPlan, Preprocessing
from epochal.data.table import Column, Table
from epochal.errors import DataError


def as_table(x: Any, preprocessing: Preprocessing, where: str) -> Table:
    """`x`, [rows, columns] of numbers or objects, as a table of the columns trained on. Raises DataError."""
    plans = preprocessing.columns
    if np.ndim(x) != 2 or np.shape(x)[1] != len(plans):
        raise DataError(
            f"{where}: has shape {list(np.shape(x))}, but the model was trained on a table of {len(plans):,} columns "
            f"({preprocessing.width:,} features); give a frame with the columns, an array of shape [rows, "
            f"{len(plans)}], or prepared features as a Split"
        )
    columns = zip(plans, np.asarray(x).T, strict=True)
    return Table({plan.name: _column(plan, values, where) for plan, values in columns})


def _column(plan: ColumnPlan, values: np.ndarray, where: str) -> Column:
    if values.dtype.kind in "biuf":
        return Column("boolean" if values.dtype.kind == "b" else "number", values.astype(np.float64))
    cells = values.tolist()
    missing = [cell is None or cell != cell for cell in cells]  # only NaN and its like differ from themselves
    texts = [None if absent else str(cell) for cell, absent in zip(cells, missing, strict=True)]
    if plan.kind == "category":
        names = tuple(dict.fromkeys(text for text in texts if text is not None))
        codes: dict[str | None, int] = {text: code for code, text in enumerate(names)}
        return Column("category", np.array([codes.get(text, -1) for text in texts], np.int32), names)
    return Column("number", np.array([_number(text, row, plan.name, where) for row, text in enumerate(texts)]))


def _number(text: str | None, row: int, name: str, where: str) -> float:
    try:
        return np.nan if text is None else float({"True": "1", "False": "0"}.get(text, text))
    except ValueError:
        raise DataError(
            f"{where}: row {row:,}, column {name!r}: holds {text!r:.80}, but the column was trained as a number; give "
            f"it a number, or None if the value is missing"
        ) from None
