"""Splits of a table by its key columns: labels as text, rows by the split column, groups and times beside them."""

import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime

import numpy as np

from epochal.data.rows import blocks
from epochal.data.sources.tables.roles import Roles
from epochal.data.sources.types import SPLIT_NAMES, SPLITS, RawSplit, split_of
from epochal.data.table import Column, Place, Table
from epochal.errors import DataError, option

MAX_TEXT = 200  # characters of a label, split or group: an array of text takes the longest one's room for every row
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_WHOLE = re.compile(r"([+-]?[0-9]{1,18})\.0+")


@dataclass(frozen=True, eq=False)
class KeyColumn:
    """A column of labels, splits, groups or times: numbers (int64, float64 with NaN), or codes of `texts`.

    A code -1 is a missing value; `words` are cells that were read as one. Texts that are `declared` names of classes
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
    columns: dict[str, Column], keys: dict[str, KeyColumn], roles: Roles, place: Place
) -> tuple[dict[str, RawSplit], list[str]]:
    """The rows by split, and notes. Raises DataError, with the row, for an infinite number or a value that a role does
    not allow.
    """
    table, notes = Table({name: columns[name] for name in roles.features}, place), []
    if roles.label and roles.skip_unlabelled and (absent := keys[roles.label].absent).any():
        rows = np.flatnonzero(~absent)
        notes.append(_skipped(keys[roles.label], roles.label, len(rows), place))
        table = table[rows]
        keys = {name: replace(column, values=column.values[rows]) for name, column in keys.items()}
        everywhere = place
        place = lambda row: everywhere(int(rows[row]))  # noqa: E731
    for name in roles.features:
        check_finite(table.columns[name], name, place)
    y = labels(keys[roles.label], roles.label, place) if roles.label else None
    groups = times = None
    if roles.group:
        groups = _complete(keys[roles.group], roles.group, "group", place)
    if roles.time:
        times = parse_times(_complete(keys[roles.time], roles.time, "time", place), roles.time, place)
    if roles.split is None:
        return {"train": RawSplit(table, y, groups, times)}, notes
    values = _complete(keys[roles.split], roles.split, "split", place)
    names = np.array([split_of(value) or "" for value in values.tolist()])
    if (names == "").any():
        row = int(np.argmax(names == ""))
        raise DataError(
            f"{place(row)}: column {roles.split!r} holds {str(values[row])[:80]!r}; a split is one of {SPLIT_NAMES}"
        )
    split = {}
    for name in SPLITS:
        rows = np.flatnonzero(names == name)
        if len(rows):
            split[name] = RawSplit(table[rows], *(None if of is None else of[rows] for of in (y, groups, times)))
    return split, notes


def _skipped(column: KeyColumn, name: str, left: int, place: Place) -> str:
    rows = len(column.values)
    if not left:
        raise DataError(f"{place(0)}: has no label, as all {rows:,} rows in column {name!r}; name another column")
    return (
        f"{rows - left:,} of {rows:,} rows have no label in column {name!r} (it is empty{_or(column.words)}), and are "
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


def labels(column: KeyColumn, name: str, place: Place) -> np.ndarray:
    """Labels as text; 1.0 is 1, and true and false are in small letters. Raises DataError for other fractions."""
    _check_complete(column, name, "label", place)
    if column.texts is None:
        if column.values.dtype.kind != "f":
            return _digits(column.values)
        _refuse_fraction(column.values, name, place)
        return _digits(column.values.astype(np.int64))
    if column.declared:
        return np.array(column.texts, dtype=str)[column.values]
    numbers = np.array([as_number(text) for text in column.texts])
    if not np.isnan(numbers).any():
        _refuse_fraction(numbers[column.values], name, place, np.inf)
    boolean = {text.lower() for text in column.texts} <= {"true", "false"}
    plain = [text.lower() if boolean else unpointed(text) for text in column.texts]
    return np.array(plain, dtype=str)[column.values]


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


def _complete(column: KeyColumn, name: str, role: str, place: Place) -> np.ndarray:
    """The column as an array of numbers or text. Raises DataError for a missing value."""
    _check_complete(column, name, role, place)
    return column.values if column.texts is None else np.array(column.texts, dtype=str)[column.values]


def _check_complete(column: KeyColumn, name: str, role: str, place: Place) -> None:
    absent = column.absent
    if absent.any():
        raise DataError(f"{place(int(np.argmax(absent)))}: {_missing(column, name, role, int(absent.sum()))}")
    if column.texts is None or not len(column.values):
        return
    sizes = np.array([len(text) for text in column.texts or ("",)])
    if sizes.max() > MAX_TEXT:
        row = int(np.argmax(sizes[column.values] > MAX_TEXT))
        raise DataError(
            f"{place(row)}: column {name!r} holds {sizes[column.values[row]]:,} characters, at most {MAX_TEXT} are "
            f"supported for a {role}; name another column"
        )
    ends = np.array([text.endswith("\0") for text in column.texts])
    if ends.any() and (used := ends[column.values]).any():
        row = int(np.argmax(used))
        raise DataError(
            f"{place(row)}: column {name!r} holds {column.texts[column.values[row]]!r}, whose last character is NUL, "
            f"which text cannot keep; write it without"
        )


def _missing(column: KeyColumn, name: str, role: str, count: int) -> str:
    rows = len(column.values)
    text = f"has no {role}, column {name!r} is empty or holds a word for a missing value"
    text += (
        f"{f' (here {_or(column.words)[5:]})' if column.words else ''}; {count:,} of {rows:,} rows have none: fill in"
    )
    remedies = [f"leave such rows out with {option('skip_unlabelled', True)}"] if role == "label" else []
    if column.words:
        remedies.append(f"say with {option('known_missing', False)} that those are values")
    return text + (", or " + ", or ".join(remedies) if remedies else ", or leave the row out")


def as_number(text: str) -> float:
    try:
        return float(text) if text.isascii() and "_" not in text else np.nan
    except ValueError:
        return np.nan


def parse_times(values: np.ndarray, name: str, place: Place) -> np.ndarray:
    """Numbers as they are, ISO dates and times as microseconds: int64 or float64. Raises DataError for other text."""
    if values.dtype.kind in "iuf":
        if np.isinf(values).any():
            raise DataError(f"{place(int(np.argmax(np.isinf(values))))}: has an infinite time ({name!r}); drop the row")
        return values
    numbers = [as_number(text) for text in values.tolist()]
    if np.isfinite(numbers).all():
        return np.array(numbers)
    stamps = np.empty(len(values), np.int64)
    zoned = None
    for row, text in enumerate(values.tolist()):
        time = _parsed(text)
        if time is None:
            raise DataError(
                f"{place(row)}: column {name!r} holds {text[:80]!r}; a time is a number, or a date and time of ISO "
                f"8601 such as 2024-05-31 or 2024-05-31T18:30:00Z"
            )
        aware = time.tzinfo is not None
        if zoned is not None and zoned != aware:
            raise DataError(
                f"{place(row)}: column {name!r} holds {text[:80]!r}, {'with' if aware else 'without'} a time zone, "
                f"unlike the rows before; give all rows one, or none"
            )
        zoned = aware
        time = time if aware else time.replace(tzinfo=UTC)
        since = time - _EPOCH
        stamps[row] = (since.days * 86_400 + since.seconds) * 1_000_000 + since.microseconds
    return stamps


def _parsed(text: str) -> datetime | None:
    try:
        return datetime.fromisoformat(text)
    except ValueError:
        return None
