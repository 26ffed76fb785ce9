"""`Table`: named columns of numbers, booleans and categories, as readers return them; not yet features of a model."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np

from epochal.data.rows import FileRows, Rows, as_array
from epochal.errors import DataError, escaped, option

Place = Callable[[int], str]
"""Says where a row is: its file, row and line."""
MAX_CATEGORIES = 1000
_MOST_DROP = 1500  # characters of an option that leaves columns out, in a message


@dataclass(frozen=True, eq=False)
class Column:
    """One column. Numbers and booleans (0, 1) are float64 with NaN for a missing value; categories are int32 codes.

    A code numbers `categories`, -1 is a missing value. `text` is the same column as a category, where its kind was
    found from few cells of text: other rows may show that `1` and `2` are codes beside `A`, and no numbers. The values
    may be rows of a file; `read` brings them to memory.
    """

    kind: Literal["number", "boolean", "category"]
    values: Rows
    categories: tuple[str, ...] = ()
    text: "Column | None" = None

    def __getitem__(self, rows: slice | np.ndarray) -> "Column":
        return replace(self, values=self.values[rows], text=self.text[rows] if self.text else None)

    @property
    def array(self) -> np.ndarray:
        return as_array(self.values)

    def read(self, rows: np.ndarray | None = None) -> "Column":
        if not isinstance(self.values, FileRows):
            return self if rows is None else self[rows]
        return replace(self, values=self.array if rows is None else self.values.gather(rows))


@dataclass(frozen=True, eq=False)
class Table:
    """Columns by name, all of one length. `place` says where a row comes from, for messages."""

    columns: Mapping[str, Column]
    place: Place | None = None

    def __len__(self) -> int:
        return len(next(iter(self.columns.values())).values)

    def __getitem__(self, rows: slice | np.ndarray) -> "Table":
        chosen: dict[int, np.ndarray] = {}  # the columns of a file share one array of row numbers
        columns = {name: _chosen(column, rows, chosen) for name, column in self.columns.items()}
        return Table(columns, _chosen_places(self.place, rows, len(self)) if self.place else None)

    def without(self, names: Sequence[str]) -> "Table":
        return Table({name: column for name, column in self.columns.items() if name not in names}, self.place)

    def blocks(self, size: int) -> Iterator[tuple[int, "Table"]]:
        """All rows in order, in memory, `size` at a time: the number of the first, and the rows."""
        for begin in range(0, len(self), size):
            rows = np.arange(begin, min(begin + size, len(self)))
            yield begin, Table({name: column.read(rows) for name, column in self.columns.items()})


def _chosen_places(place: Place, rows: slice | np.ndarray, count: int) -> Place:
    numbers = range(count)[rows] if isinstance(rows, slice) else rows
    return lambda row: place(int(numbers[row]))


def _chosen(column: Column, rows: slice | np.ndarray, chosen: dict[int, np.ndarray]) -> Column:
    values = column.values
    if not isinstance(values, FileRows):
        return column[rows]
    if id(values.index) not in chosen:
        chosen[id(values.index)] = (np.arange(len(values)) if values.index is None else values.index)[rows]
    return replace(column, values=values.chosen(chosen[id(values.index)]))


def shown(text: str, most: int = 40) -> str:
    """`text` in one line of at most `most` characters: what cannot be printed is escaped, what is cut ends in …."""
    return escaped(text, most)


def listed(names: Sequence[str], most: int = 10) -> str:
    """The names in quotes, the first ones of many."""
    more = f" and {len(names) - most:,} more" if len(names) > most else ""
    return ", ".join(repr(name) if len(name) <= 80 else repr(name[:79] + "…") for name in names[:most]) + more


def leave_out(names: Sequence[str]) -> str:
    """The option that leaves these columns out, to be copied."""
    whole = any("," in name for name in names)
    written = option("drop", list(names) if whole else ",".join(names))
    return written if len(written) <= _MOST_DROP else option("drop")


def too_many(count: int) -> str:
    """Why a column of so many texts is no category."""
    return f"has {count:,} different texts, at most {MAX_CATEGORIES:,} make sense as categories"


def no_features(where: str, problems: Mapping[str, str]) -> str:
    """The message about all columns that cannot be features, each with what is wrong with it."""
    if len(problems) == 1:
        [(name, problem)] = problems.items()
        return f"{where}: column {name[:80]!r} {problem}; leave it out with {leave_out([name])}"
    names = list(problems)
    first = "; ".join(f"{name[:80]!r} {problems[name]}" for name in names[:8])
    more = f"; and {len(names) - 8:,} more" if len(names) > 8 else ""
    return f"{where}: {len(names):,} columns cannot be features: {first}{more};\nleave them out with {leave_out(names)}"


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
