"""From a table's columns to float32 features, by numbers that come from the training rows alone.

A number is standardised (mean 0, variance 1 over the training rows) and a missing one replaced by the mean; a category
becomes one column for each of its values and one for all others. Where training rows lack values, one more column
tells so. What was fitted is plain JSON, kept in the run and applied again to other rows.
"""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any, Self

import numpy as np

from epochal.errors import DataError
from epochal.table import Column, Table

MAX_CATEGORIES = 1000


@dataclass(frozen=True)
class ColumnPlan:
    """How one column becomes features. `mean` and `scale` are used for numbers and booleans."""

    name: str
    kind: str
    mean: float = 0.0
    scale: float = 1.0
    categories: tuple[str, ...] = ()
    missing: bool = False  # one more feature tells whether the value is missing

    @property
    def features(self) -> list[str]:
        """Names of the features, in order."""
        names = [self.name] if self.kind != "category" else [f"{self.name}={value}" for value in self.categories]
        names += [f"{self.name}=other"] if self.kind == "category" else []
        return names + ([f"{self.name} is missing"] if self.missing else [])

    def apply(self, column: Column) -> np.ndarray:
        """The features of a column: float32 [rows, features]."""
        if self.kind == "category":
            absent, block = column.values < 0 if column.categories else np.isnan(column.values), None
            block = np.zeros((len(column.values), len(self.features)), np.float32)
            places = {value: i for i, value in enumerate(self.categories)}
            lookup = np.array([places.get(value, len(places)) for value in column.categories] or [0], np.int64)
            present = np.flatnonzero(~absent)
            block[present, lookup[column.values[present].astype(np.int64)]] = 1
        else:
            absent = np.isnan(column.values)
            filled = np.where(absent, self.mean, column.values)
            block = np.zeros((len(filled), len(self.features)), np.float32)
            block[:, 0] = (filled - self.mean) / self.scale
        if self.missing:
            block[:, -1] = absent
        return block


@dataclass(frozen=True)
class Preprocessing:
    """How a table becomes features, column by column."""

    columns: tuple[ColumnPlan, ...]

    @classmethod
    def fit(cls, table: Table, where: str) -> Self:
        """From training rows. Raises DataError for a column that tells nothing, or has too many categories."""
        return cls(tuple(_plan(name, column, where) for name, column in table.columns.items()))

    @property
    def features(self) -> list[str]:
        """Names of all features, in order."""
        return [name for plan in self.columns for name in plan.features]

    def apply(self, table: Table, where: str) -> np.ndarray:
        """The features of every row: float32 [rows, features]. Raises DataError where columns or kinds differ."""
        expected, found = [plan.name for plan in self.columns], list(table.columns)
        lacking = [name for name in expected if name not in found]
        extra = [name for name in found if name not in expected]
        if lacking or extra:
            parts = [f"lacks {', '.join(map(repr, lacking))}"] if lacking else []
            parts += [f"has {', '.join(map(repr, extra))} besides (leave out with --drop)"] if extra else []
            raise DataError(f"{where}: the columns are not those that were trained on: {' and '.join(parts)}")
        for plan in self.columns:
            _check_kind(plan, table.columns[plan.name], where)
        blocks = [plan.apply(table.columns[plan.name]) for plan in self.columns]
        return np.concatenate(blocks, axis=1)

    def to_json(self) -> list[dict[str, Any]]:
        """Plain values, one object a column."""
        return [asdict(plan) | {"categories": list(plan.categories)} for plan in self.columns]

    @classmethod
    def from_json(cls, told: list[Mapping[str, Any]]) -> Self:
        """What `to_json` wrote."""
        return cls(tuple(ColumnPlan(**(dict(plan) | {"categories": tuple(plan["categories"])})) for plan in told))


def _plan(name: str, column: Column, where: str) -> ColumnPlan:
    if column.kind == "category":
        codes = np.unique(column.values)
        present = sorted(column.categories[code] for code in codes if code >= 0)
        if len(present) > MAX_CATEGORIES:
            raise DataError(
                f"{where}: column {name!r} has {len(present):,} different texts, at most {MAX_CATEGORIES:,} make sense "
                f"as categories; leave it out with --drop {name}"
            )
        _check_told(name, bool(present), where)
        return ColumnPlan(name, column.kind, categories=tuple(present), missing=bool((codes < 0).any()))
    absent = np.isnan(column.values)
    _check_told(name, not absent.all(), where)
    values = column.values[~absent]
    if column.kind == "boolean":
        return ColumnPlan(name, column.kind, missing=bool(absent.any()))
    # A constant column becomes zeros: it tells nothing, and may tell something in another training set.
    spread = float(values.std())
    scale = spread if np.isfinite(spread) and spread > 1e-12 * max(1.0, float(np.abs(values).max())) else 1.0
    return ColumnPlan(name, column.kind, float(values.mean()), scale, missing=bool(absent.any()))


def _check_told(name: str, told: bool, where: str) -> None:
    if not told:
        raise DataError(f"{where}: column {name!r} has no value in any train row; leave it out with --drop {name}")


def _check_kind(plan: ColumnPlan, column: Column, where: str) -> None:
    empty = column.kind != "category" and np.isnan(column.values).all()  # nothing tells what kind it would be
    numeric = {"number", "boolean"}
    if not empty and column.kind != plan.kind and not {column.kind, plan.kind} <= numeric:
        first = column.categories[column.values[column.values >= 0][0]] if column.kind == "category" else "numbers"
        raise DataError(
            f"{where}: column {plan.name!r} holds a {column.kind} (such as {first!r}), but was trained as a "
            f"{plan.kind}; give it values of that kind"
        )
