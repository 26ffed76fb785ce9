"""The splits made of a table's columns: labels as text, rows by the split column, groups and times beside them."""

import re
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from epochal.data.rows import blocks
from epochal.data.sources.tables.roles import Roles
from epochal.data.sources.tables.times import Place, as_number, moments
from epochal.data.sources.types import SPLIT_NAMES, RawSplit, split_of
from epochal.data.table import Column, Table
from epochal.errors import DataError, option

MAX_TEXT = 200  # characters of a label, split or group: an array of text takes the longest one's room for every row
_WHOLE = re.compile(r"([+-]?[0-9]{1,18})\.0+")


@dataclass(frozen=True, eq=False)
class KeyColumn:
    """A column of labels, splits, groups or times: numbers (int64, float64 with NaN), or codes of `texts`.

    A code -1 is a missing value; `words` are cells that were taken for one. Texts that are `declared` names of classes
    stay as they are.
    """

    values: np.ndarray
    texts: Sequence[str] | None = None
    words: tuple[str, ...] = ()
    declared: bool = False

    @property
    def absent(self) -> np.ndarray:
        """Which rows have no value: bool [rows]."""
        if self.texts is not None:
            return self.values < 0
        return np.isnan(self.values) if self.values.dtype.kind == "f" else np.zeros(len(self.values), bool)


def parts(
    columns: dict[str, Column], told: dict[str, KeyColumn], roles: Roles, place: Place
) -> tuple[dict[str, RawSplit], list[str]]:
    """The rows by split, and notes. Raises DataError, with the row, for an infinite number or a value that a role does
    not allow.
    """
    table, notes = Table({name: columns[name] for name in roles.features}, place), []
    if roles.label and roles.skip_unlabelled and (absent := told[roles.label].absent).any():
        rows = np.flatnonzero(~absent)
        notes.append(_skipped(told[roles.label], roles.label, len(rows), place))
        table = table[rows]
        told = {name: replace(column, values=column.values[rows]) for name, column in told.items()}
        everywhere = place
        place = lambda row: everywhere(int(rows[row]))  # noqa: E731
    for name in roles.features:
        check_finite(table.columns[name], name, place)
    y = labels(told[roles.label], roles.label, place) if roles.label else None
    groups = times = None
    if roles.group:
        groups = _complete(told[roles.group], roles.group, "group", place)
    if roles.time:
        times = moments(_complete(told[roles.time], roles.time, "time", place), roles.time, place)
    if roles.split is None:
        return {"train": RawSplit(table, y, groups, times)}, notes
    found = _complete(told[roles.split], roles.split, "split", place)
    names = np.array([split_of(value) or "" for value in found.tolist()])
    if (names == "").any():
        row = int(np.argmax(names == ""))
        raise DataError(
            f"{place(row)}: column {roles.split!r} holds {str(found[row])[:80]!r}; a split is one of {SPLIT_NAMES}"
        )
    split = {}
    for name in ("train", "valid", "test"):
        rows = np.flatnonzero(names == name)
        if len(rows):
            split[name] = RawSplit(table[rows], *(None if of is None else of[rows] for of in (y, groups, times)))
    return split, notes


def _skipped(told: KeyColumn, name: str, left: int, place: Place) -> str:
    rows = len(told.values)
    if not left:
        raise DataError(f"{place(0)}: has no label, as all {rows:,} rows in column {name!r}; name another column")
    return (
        f"{rows - left:,} of {rows:,} rows have no label in column {name!r} (it is empty{_or(told.words)}), and are "
        f"left out"
    )


def _or(words: Sequence[str]) -> str:
    return f", or {', '.join(map(repr, words[:5]))}" if words else ""


def check_finite(column: Column, name: str, place: Place) -> None:
    """Raise DataError for an infinite number."""
    for begin, block in blocks(column.values) if column.kind == "number" else ():
        if (infinite := np.isinf(block)).any():
            row = int(np.argmax(infinite))
            raise DataError(
                f"{place(begin + row)}, column {name!r}: is an infinite number ({block[row]}); leave the cell empty if "
                f"the value is missing, or drop the row"
            )


def labels(told: KeyColumn, name: str, place: Place) -> np.ndarray:
    """Labels as text; 1.0 is 1, and true and false are in small letters. Raises DataError for other fractions."""
    _check_complete(told, name, "label", place)
    if told.texts is None:
        if told.values.dtype.kind != "f":
            return _digits(told.values)
        _refuse_fraction(told.values, name, place)
        return _digits(told.values.astype(np.int64))
    if told.declared:
        return np.array(told.texts, dtype=str)[told.values]
    numbers = np.array([as_number(text) for text in told.texts])
    if not np.isnan(numbers).any():
        _refuse_fraction(numbers[told.values], name, place, np.inf)
    boolean = {text.lower() for text in told.texts} <= {"true", "false"}
    plain = [text.lower() if boolean else unpointed(text) for text in told.texts]
    return np.array(plain, dtype=str)[told.values]


def _digits(values: np.ndarray) -> np.ndarray:
    """Whole numbers as text, with room for the longest of them: NumPy would keep 84 bytes for each."""
    known = np.unique(values)
    return np.array(known.astype(str).tolist(), dtype=str)[np.searchsorted(known, values)]


def unpointed(text: str) -> str:
    """`1.0` as `1`, other texts as they are."""
    whole = _WHOLE.fullmatch(text)
    return str(int(whole[1])) if whole else text


def _refuse_fraction(values: np.ndarray, name: str, place: Place, most: float = 2.0**63) -> None:
    with np.errstate(invalid="ignore"):
        bad = ~((values == np.floor(values)) & (np.abs(values) < most))
    if bad.any():
        row = int(np.argmax(bad))
        raise DataError(
            f"{place(row)}: has label {values[row]}; labels are text or whole numbers: is {name!r} a regression "
            f"target? epochal trains classifiers"
        )


def _complete(told: KeyColumn, name: str, role: str, place: Place) -> np.ndarray:
    """The column as an array of numbers or text. Raises DataError for a missing value."""
    _check_complete(told, name, role, place)
    return told.values if told.texts is None else np.array(told.texts, dtype=str)[told.values]


def _check_complete(told: KeyColumn, name: str, role: str, place: Place) -> None:
    absent = told.absent
    if absent.any():
        raise DataError(f"{place(int(np.argmax(absent)))}: {_missing(told, name, role, int(absent.sum()))}")
    if told.texts is None or not len(told.values):
        return
    sizes = np.array([len(text) for text in told.texts or ("",)])
    if sizes.max() > MAX_TEXT:
        row = int(np.argmax(sizes[told.values] > MAX_TEXT))
        raise DataError(
            f"{place(row)}: column {name!r} holds {sizes[told.values[row]]:,} characters, at most {MAX_TEXT} are "
            f"supported for a {role}; name another column"
        )
    ends = np.array([text.endswith("\0") for text in told.texts])
    if ends.any() and (used := ends[told.values]).any():
        row = int(np.argmax(used))
        raise DataError(
            f"{place(row)}: column {name!r} holds {told.texts[told.values[row]]!r}, whose last character is NUL, which "
            f"text cannot keep; write it without"
        )


def _missing(told: KeyColumn, name: str, role: str, count: int) -> str:
    rows = len(told.values)
    text = f"has no {role}, column {name!r} is empty or holds a word for a missing value"
    text += f"{f' (here {_or(told.words)[5:]})' if told.words else ''}; {count:,} of {rows:,} rows have none: fill in"
    remedies = [f"leave such rows out with {option('skip_unlabelled', True)}"] if role == "label" else []
    if told.words:
        remedies.append(f"say with {option('known_missing', False)} that those are values")
    return text + (", or " + ", or ".join(remedies) if remedies else ", or leave the row out")
