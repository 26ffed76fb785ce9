"""Rows in columns of their own kinds, as a table's reader leaves them: not yet numbers for a model."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

import numpy as np


@dataclass(frozen=True, eq=False)
class Column:
    """One column. Numbers and booleans (0, 1) are float64 with NaN for a missing value; categories are int32 codes.

    A code numbers `categories`, -1 is a missing value.
    """

    kind: Literal["number", "boolean", "category"]
    values: np.ndarray
    categories: tuple[str, ...] = ()


@dataclass(frozen=True, eq=False)
class Table:
    """Columns by name, all of one length."""

    columns: Mapping[str, Column]

    def __len__(self) -> int:
        return len(next(iter(self.columns.values())).values)

    def __getitem__(self, rows: slice | np.ndarray) -> "Table":
        taken = {name: Column(c.kind, c.values[rows], c.categories) for name, c in self.columns.items()}
        return Table(taken)
