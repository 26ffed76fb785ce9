"""A column of other rows in the kind that it was trained as, where it can have it without a change of meaning."""

import numpy as np

from epochal.data.table import Column, Place
from epochal.errors import DataError


def as_kind(column: Column, name: str, kind: str, where: str, place: Place | None = None) -> Column:
    """The column `name` in the `kind` trained on. Raises DataError for a cell that cannot be of it, with its place."""
    if column.kind == kind:
        return column
    if kind == "category" and column.text is not None:
        return column.text
    if column.kind != "category" and np.isnan(column.array).all():  # nothing tells what kind it would be
        values = np.full(len(column.array), -1, np.int32) if kind == "category" else column.array
        return Column("category" if kind == "category" else column.kind, values)
    if (kind, column.kind) == ("number", "boolean"):
        return column
    present = column.array >= 0 if column.kind == "category" else ~np.isnan(column.array)
    if (kind, column.kind) == ("boolean", "number"):
        present &= (column.array != 0) & (column.array != 1)
        if not present.any():
            return column
    elif (kind, column.kind) == ("number", "category"):
        odd = np.array([not _is_number(text) for text in column.categories] + [False])
        present = odd[column.array] if odd.any() else present
    row = int(np.argmax(present))
    shown = column.categories[column.array[row]] if column.kind == "category" else f"{column.array[row]:g}"
    more = f" (and {int(present.sum()) - 1:,} more such cells)" if present.sum() > 1 else ""
    at = place(row) if place else f"{where}: row {row:,}"
    raise DataError(
        f"{at}, column {name!r}: holds {shown!r:.80}{more}, but the column was trained as a {kind}; give it "
        f"{_WANTED[kind]}, or leave the cell empty if the value is missing"
    )


_WANTED = {"number": "a number", "boolean": "true or false", "category": "text, as it had in training"}


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True
