"""Rows in columns of their own kinds, as a table's reader leaves them: not yet numbers for a model."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np


@dataclass(frozen=True, eq=False)
class Column:
    """One column. Numbers and booleans (0, 1) are float64 with NaN for a missing value; categories are int32 codes.

    A code numbers `categories`, -1 is a missing value. `text` is the same column as a category, where its kind was
    found from few cells of text: other rows may tell that `1` and `2` are codes beside `A`, and no numbers.
    """

    kind: Literal["number", "boolean", "category"]
    values: np.ndarray
    categories: tuple[str, ...] = ()
    text: "Column | None" = None

    def __getitem__(self, rows: slice | np.ndarray) -> "Column":
        return replace(self, values=self.values[rows], text=self.text[rows] if self.text else None)


@dataclass(frozen=True, eq=False)
class Table:
    """Columns by name, all of one length."""

    columns: Mapping[str, Column]

    def __len__(self) -> int:
        return len(next(iter(self.columns.values())).values)

    def __getitem__(self, rows: slice | np.ndarray) -> "Table":
        return Table({name: column[rows] for name, column in self.columns.items()})
