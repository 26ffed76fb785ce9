"""Notes on suspicious data: identifiers among the features, constants, dates as text, targets of a regression.

The rules err on the side of silence: none of them speaks of a table of scikit-learn's or of UCI's without a reason.
"""

import re
import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np

from epochal.data.preprocessing import ColumnPlan, Preprocessing
from epochal.data.table import Column, Table, leave_out, listed
from epochal.errors import option

_FEW_ROWS = 50  # of fewer rows nothing is said: all their values may well differ
_FEW_CLASSES = 20
_MANY_CLASSES = 1000
_EXACT = 2**24  # whole numbers up to this are exact as float32
_DATE = re.compile(
    r"(?:\d{4}([-/.])\d{1,2}\1\d{1,2}|\d{1,2}([-/.])(?:\d{1,2}|[A-Za-z]{3})\2(?:\d{4}|\d{2}))"
    r"(?:[T ]\d{1,2}:\d{2}.{0,20})?"
)
_ISO = re.compile(r"\d{4}-\d{2}-\d{2}")


@dataclass(frozen=True)
class Said:
    """Notes, and those among them that a Python user is warned of."""

    notes: list[str]
    severe: list[str]

    def __add__(self, other: "Said") -> "Said":
        return Said(self.notes + other.notes, self.severe + other.severe)


def columns(table: Table, preprocessing: Preprocessing, categorical: Sequence[str], where: str) -> Said:
    """Notes on the features of the training rows, some of which are `categorical` as the user says."""
    odd = _Odd()
    for plan in preprocessing.columns:
        if plan.name in categorical:
            continue
        column = table.columns[plan.name].read()
        absent = column.array < 0 if plan.kind == "category" else np.isnan(column.array)
        odd.look(plan, column.array, column.array[~absent])
    empty = preprocessing.unused(table)
    notes = [f"{where}: no value in any train row, so no feature: {listed(empty)}"] if empty else []
    if odd.constant:
        notes.append(f"{where}: constant in the train rows, so they tell nothing: {listed(odd.constant)}")
    severe = odd.identifiers(where)
    return Said([*severe, *notes, *map(_date_note, odd.dates), *map(_merged_note, odd.merged)], severe)


def twins(classes: Sequence[str], where: str) -> list[str]:
    """A note on classes whose names look alike: `café` in two forms of Unicode, `cat` and `cat ` with a blank."""
    seen: dict[str, str] = {}
    for name in classes:
        plain = " ".join(unicodedata.normalize("NFC", name).split())
        first = seen.setdefault(plain, name)
        if first != name:
            return [
                f"{where}: the classes {first!a} and {name!a} look alike, and are two; if they are meant as "
                f"one, give them one name"
            ]
    return []


def leaks(table: Table, codes: np.ndarray, where: str) -> list[str]:
    """A note on columns that tell the label: each of their values goes with one class, and the other way round."""
    count = int(codes.max()) + 1
    telling = []
    for name, column in table.columns.items():
        first = column[:_FEW_ROWS].read().array
        if not _is_renaming(first, codes[: len(first)], count):  # most columns are told apart by a few rows
            continue
        if _is_renaming(column.read().array, codes, count):
            telling.append(name)
    if len(codes) < _FEW_ROWS or not telling:
        return []
    return [
        f"{where}: {listed(telling)} tells the label, each value goes with one class in all {len(codes):,} train rows; "
        f"is it another form of the label? {leave_out(telling)}"
    ]


def _is_renaming(values: np.ndarray, codes: np.ndarray, most: int) -> bool:
    if np.isnan(values).any():
        return False
    different, places = np.unique(values, return_inverse=True)
    if len(different) > most or len(different) < 2:
        return False
    return len(np.unique(places.astype(np.int64) * most + codes)) == len(different) == len(np.unique(codes))


@dataclass
class _Odd:
    """Columns, by what is odd about them."""

    constant: list[str] = field(default_factory=list)
    codes: list[tuple[str, int, int]] = field(default_factory=list)  # name, categories, rows with a value
    counters: list[str] = field(default_factory=list)
    dates: list[tuple[str, str]] = field(default_factory=list)  # name, a category
    merged: list[tuple[str, int]] = field(default_factory=list)  # name, values that are lost

    def look(self, plan: ColumnPlan, values: np.ndarray, present: np.ndarray) -> None:
        """Note what is odd about the `values` of a column, some of which are `present`."""
        if not plan.missing and present.min() == present.max():
            self.constant.append(plan.name)
        if plan.kind == "category":
            if all(map(_DATE.fullmatch, plan.categories)):
                self.dates.append((plan.name, plan.categories[0]))
            elif len(present) >= _FEW_ROWS and 2 * len(plan.categories) > len(present) and not _are_numbers(plan):
                self.codes.append((plan.name, len(plan.categories), len(present)))
        elif plan.kind == "number":
            if _counts_rows(values):
                self.counters.append(plan.name)
            if count := _merged(plan, present):
                self.merged.append((plan.name, count))

    def identifiers(self, where: str) -> list[str]:
        names = [name for name, *_ in self.codes] + self.counters
        reasons = [f"{name!r} has {count:,} different values in {rows:,} rows" for name, count, rows in self.codes[:8]]
        reasons += [f"{name!r} counts the rows, or orders them" for name in self.counters[:8]]
        if not names:
            return []
        return [f"{where}: {'; '.join(reasons)}: identifiers are no features; leave them out with {leave_out(names)}"]


def _date_note(column: tuple[str, str]) -> str:
    name, text = column
    time = f", or order the rows by it with {option('time', name)}" if _ISO.match(text) else ""
    return (
        f"column {name!r} looks like dates (such as {text!r}), each of which is taken as a category of its own; leave "
        f"it out with {leave_out([name])}{time}"
    )


def _merged_note(column: tuple[str, int]) -> str:
    name, count = column
    return (
        f"column {name!r}: {count:,} of its different whole numbers become the same feature as another one (float32); "
        f"is it an identifier? leave it out with {leave_out([name])}"
    )


def _are_numbers(plan: ColumnPlan) -> bool:
    """Whether most categories are numbers, of which their source has told already."""
    from epochal.data.sources.tables.cells import Rules, odd_cells

    return bool(odd_cells(plan.categories, [1] * len(plan.categories), Rules(), typed=True))


def _counts_rows(values: np.ndarray) -> bool:
    """Whether whole numbers, all different, go up or down from row to row, or fill a range as row numbers do."""
    if len(values) < _FEW_ROWS or np.isnan(values).any() or (values != np.floor(values)).any():
        return False
    with np.errstate(over="ignore", invalid="ignore"):
        steps = np.diff(values)
    if (steps > 0).all() or (steps < 0).all():
        return True
    return values.max() - values.min() < 2 * len(values) and len(np.unique(values)) == len(values)


def _merged(plan: ColumnPlan, values: np.ndarray) -> int:
    """How many more whole numbers than features there are, once they are standardised and rounded to float32."""
    if np.abs(values).max() <= _EXACT or (values != np.floor(values)).any():
        return 0
    known = np.unique(values)
    out = np.zeros((len(known), plan.width), np.float32)
    plan.apply(Column("number", known), out, plan.name)
    return len(known) - len(np.unique(out[:, 0]))


def classes(y: np.ndarray, names: Sequence[str], where: str) -> Said:
    counts = np.bincount(y, minlength=len(names))
    few = int((counts <= 2).sum())
    whole = all(name.lstrip("-").isdecimal() for name in names)
    if len(names) < _FEW_CLASSES or not (2 * few > len(names) or (whole and len(names) > _MANY_CLASSES)):
        return Said([], [])
    severe = [
        f"{where}: the labels are {len(names):,} classes, {few:,} of them with one or two train rows: is this a "
        f"regression target, or an identifier? epochal trains classifiers; name another label, or group its values"
    ]
    return Said(severe, severe)
