"""From a table's columns to float32 features, by numbers that come from the training rows alone.

A number is standardised (mean 0, variance 1 over the training rows) and a missing one replaced by the mean; a boolean
is 0 or 1, and 0.5 where it is missing; a category becomes one column for each of its values and one for all others, all
zero where it is missing. Where training rows lack values, one more column tells so. What was fitted is plain JSON, kept
in the run and applied again to other rows.
"""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any, Self

import numpy as np

from epochal.data.table import MAX_CATEGORIES, Column, Table, as_kind, leave_out, listed, no_features, too_many
from epochal.errors import CapacityError, DataError, option
from epochal.system.aligned import zeros
from epochal.system.memory import format_bytes

MAX_FEATURES = 100_000
_HUGE = 1e300  # differences of larger numbers may overflow: they are quartered first


@dataclass(frozen=True)
class ColumnPlan:
    """How one column becomes features. `mean` and `scale` are used for numbers."""

    name: str
    kind: str
    mean: float = 0.0
    scale: float = 1.0
    categories: tuple[str, ...] = ()
    missing: bool = False  # one more feature says whether the value is missing

    @property
    def features(self) -> list[str]:
        names = [self.name] if self.kind != "category" else [f"{self.name}={value}" for value in self.categories]
        names += [f"{self.name}=other"] if self.kind == "category" else []
        return names + ([f"{self.name} is missing"] if self.missing else [])

    @property
    def width(self) -> int:
        return (len(self.categories) + 1 if self.kind == "category" else 1) + self.missing

    def apply(self, column: Column, out: np.ndarray, where: str, first: int = 0) -> None:
        """Write the features of a column in memory, of this plan's kind, to `out`: float32 [rows, width], zeros so far.

        In messages its rows count from `first`.
        """
        if self.kind == "category":
            absent = column.array < 0
            places = {value: i for i, value in enumerate(self.categories)}
            lookup = np.array([places.get(value, len(places)) for value in column.categories] or [0], np.int64)
            present = np.flatnonzero(~absent)
            out[present, lookup[column.array[present]]] = 1
        elif self.kind == "boolean":
            absent = np.isnan(column.array)
            out[:, 0] = np.where(absent, 0.5, column.array)
        else:
            absent = np.isnan(column.array)
            filled = np.where(absent, self.mean, column.array)
            with np.errstate(over="ignore"):
                out[:, 0] = _standardised(filled, self.mean, self.scale)
            self._check_finite(column, out[:, 0], where, first)
        if self.missing:
            out[:, -1] = absent

    def _check_finite(self, column: Column, values: np.ndarray, where: str, first: int) -> None:
        finite = np.isfinite(values)
        if not finite.all():
            row = int(np.argmin(finite))
            raise DataError(
                f"{where}: row {first + row:,}, column {self.name!r} is {column.array[row]:g}, out of all proportion "
                f"to the rows trained on (mean {self.mean:g}, deviation {self.scale:g}); mend it, or leave it empty"
            )


@dataclass(frozen=True)
class Preprocessing:
    """How a table becomes features, column by column."""

    columns: tuple[ColumnPlan, ...]

    @classmethod
    def fit(cls, table: Table, where: str) -> Self:
        """From training rows; columns without any value among them are left out.

        Raises DataError for columns of too many categories, all of them at once.
        """
        plan_of = {name: _plan(name, column.read()) for name, column in table.columns.items()}
        problems = {name: plan for name, plan in plan_of.items() if isinstance(plan, str)}
        if problems:
            raise DataError(no_features(where, problems))
        plans = tuple(plan for plan in plan_of.values() if isinstance(plan, ColumnPlan))
        if not plans:
            raise DataError(f"{where}: no column has a value in any train row ({listed(list(plan_of))}); fill some in")
        if (count := sum(plan.width for plan in plans)) > MAX_FEATURES:
            widest = max(plans, key=lambda plan: plan.width)
            raise DataError(
                f"{where}: the columns become {count:,} features, at most {MAX_FEATURES:,} are supported; leave "
                f"columns of many categories out, such as {widest.name!r} with {len(widest.categories):,}: "
                f"{leave_out([widest.name])}"
            )
        return cls(plans)

    def unused(self, table: Table) -> list[str]:
        """Columns of the table that was fitted which have no value."""
        names = {plan.name for plan in self.columns}
        return [name for name in table.columns if name not in names]

    @property
    def features(self) -> list[str]:
        return [name for plan in self.columns for name in plan.features]

    @property
    def width(self) -> int:
        return sum(plan.width for plan in self.columns)

    def check(self, table: Table, where: str) -> None:
        """Raise DataError where the table lacks a column that was fitted, or has one of another kind."""
        lacking = [plan.name for plan in self.columns if plan.name not in table.columns]
        if lacking:
            extra = self.extra(table)
            besides = f" and has {listed(extra)} besides" if extra else ""
            raise DataError(
                f"{where}: the columns are not those trained on: it lacks {listed(lacking)}{besides}; bring columns "
                f"of these names"
            )
        for plan in self.columns:
            if table.columns[plan.name].kind != plan.kind:
                as_kind(table.columns[plan.name].read(), plan.name, plan.kind, where, table.place)

    def extra(self, table: Table) -> list[str]:
        """Columns of the table that were not trained on; they are left out."""
        expected = {plan.name for plan in self.columns}
        return [name for name in table.columns if name not in expected]

    def unseen(self, table: Table) -> list[str]:
        """A note for every column with categories that no training row has, once the table has been checked."""
        notes = []
        for plan in self.columns:
            if plan.kind != "category":
                continue
            column = as_kind(table.columns[plan.name].read(), plan.name, plan.kind, "", table.place)
            known = set(plan.categories)
            new = np.array([text not in known for text in column.categories] + [False])
            if count := int(new[column.array].sum()):
                shown = column.categories[int(column.array[np.argmax(new[column.array])])]
                notes.append(
                    f"column {plan.name!r}: {count:,} of {len(table):,} rows hold a value that no training row has, "
                    f"such as {shown!r:.80}; they count as 'other'"
                )
        return notes

    def apply(self, table: Table, where: str) -> np.ndarray:
        """The features of every row: float32 [rows, features], all finite. Raises DataError where columns or kinds
        differ.
        """
        self.check(table, where)
        return self.apply_block(table, where)

    def apply_block(self, table: Table, where: str, first: int = 0) -> np.ndarray:
        """The features of some rows, in memory, of a table that has been checked. In messages they count from `first`.

        A column whose kind fits as a whole fits in every block, and has the same features there.
        """
        out = _zeros(len(table), self.width, where)
        begin = 0
        for plan in self.columns:
            column = as_kind(table.columns[plan.name].read(), plan.name, plan.kind, where, table.place)
            plan.apply(column, out[:, begin : begin + plan.width], where, first)
            begin += plan.width
        return out

    def aligned(self, table: Table, where: str) -> list[Column]:
        """The columns in the order and of the kinds trained on. Raises DataError where names or kinds differ."""
        self.check(table, where)
        return [
            as_kind(table.columns[plan.name].read(), plan.name, plan.kind, where, table.place) for plan in self.columns
        ]

    def to_json(self) -> list[dict[str, Any]]:
        return [asdict(plan) | {"categories": list(plan.categories)} for plan in self.columns]

    @classmethod
    def from_json(cls, plans: list[Mapping[str, Any]]) -> Self:
        return cls(tuple(ColumnPlan(**(dict(plan) | {"categories": tuple(plan["categories"])})) for plan in plans))


def _plan(name: str, column: Column) -> ColumnPlan | str | None:
    """How a column becomes features; why it cannot; or None where it has no value."""
    absent = column.array < 0 if column.kind == "category" else np.isnan(column.array)
    if absent.all():
        return None
    if column.kind == "category":
        present = sorted(column.categories[code] for code in np.unique(column.array[~absent]))
        if len(present) > MAX_CATEGORIES:
            return too_many(len(present))
        return ColumnPlan(name, column.kind, categories=tuple(present), missing=bool(absent.any()))
    if column.kind == "boolean":
        return ColumnPlan(name, column.kind, missing=bool(absent.any()))
    return ColumnPlan(name, column.kind, *_moments(column.array[~absent]), missing=bool(absent.any()))


def _moments(values: np.ndarray) -> tuple[float, float]:
    """Mean and deviation, exact enough for numbers of any size; a constant column has deviation 1, and becomes
    zeros.
    """
    low, high = values.min(), values.max()
    if low == high:  # it says nothing, and may say something in another training set
        return float(low), 1.0
    if max(abs(low), abs(high)) > _HUGE:
        mean, scale = _moments(values / 4 / len(values))
        return mean * 4 * len(values), scale * 4 * len(values)
    mean = values.mean()
    apart = values - mean
    most = np.abs(apart).max()  # squares of apart / most neither overflow nor vanish
    return float(mean), float(most * np.sqrt(np.mean(np.square(apart / most))))


def _standardised(values: np.ndarray, mean: float, scale: float) -> np.ndarray:
    if max(abs(mean), scale, np.abs(values).max(initial=0)) > _HUGE:
        values, mean, scale = values / 4, mean / 4, scale / 4
    return (values - mean) / scale


def _zeros(rows: int, width: int, where: str) -> np.ndarray:
    try:
        return zeros((rows, width), np.float32)
    except MemoryError:
        raise CapacityError(
            f"{where}: {rows:,} rows of {width:,} features take {format_bytes(rows * width * 4)}, more than there is; "
            f"leave columns of many categories out with {option('drop')}"
        ) from None
