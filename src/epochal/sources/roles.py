"""What a table's columns are for: label, split, group, time, features, or nothing; and the splits made of them."""

import re
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from epochal.errors import DataError
from epochal.reading import Reading
from epochal.rows import blocks
from epochal.sources.raw import Part
from epochal.sources.times import Place, as_number, moments
from epochal.table import Column, Table

MAX_COLUMNS = 10_000
MAX_TEXT = 200  # characters of a label, split or group: an array of text takes the longest one's room for every row
_SUGGESTED = ("label", "labels", "class", "target", "y", "species")
_SPLITS = {"train": "train", "valid": "valid", "validation": "valid", "val": "valid", "dev": "valid", "test": "test"}
_WHOLE = re.compile(r"([+-]?\d{1,18})\.0+")


@dataclass(frozen=True)
class Roles:
    """Names of the columns by what they are for; `label` … `time` are None where there is none, or it is not wanted."""

    features: tuple[str, ...]
    label: str | None
    split: str | None
    group: str | None
    time: str | None
    dropped: tuple[str, ...]

    @property
    def told(self) -> tuple[str, ...]:
        """The columns that tell of a row what it is, where it belongs, or when it was."""
        return tuple(name for name in (self.label, self.split, self.group, self.time) if name is not None)


def assign(names: Sequence[str], reading: Reading, where: str, *, labelled: bool) -> Roles:
    """The roles of the columns `names`. Raises DataError for a name that is needed and absent, or in two roles.

    Where the table is not to be `labelled`, columns of `reading` may be absent, and none is kept but the features.
    """
    check_names(names, where)
    asked = {"label": reading.label, "split": reading.split_column, "group": reading.group, "time": reading.time}
    options = {"label": "--label", "split": "--split-column", "group": "--group", "time": "--time"}
    if labelled:
        if reading.label is None and reading.labels is None:
            raise DataError(_no_label(names, where))
        wanted = {options[role]: name for role, name in asked.items() if name is not None}
        wanted |= {f"--drop {name}": name for name in reading.dropped}
        for option, name in wanted.items():
            if name not in names:
                raise DataError(f"{where}: there is no column {name!r} ({option.split()[0]}); {_listed(names)}")
        for option, name in wanted.items():
            other = next((o for o, n in wanted.items() if n == name and o != option), None)
            if other:
                raise DataError(
                    f"{where}: column {name!r} is named by {option.split()[0]} and {other.split()[0]}; a column has "
                    f"one purpose"
                )
    special = {name for name in asked.values() if name is not None}
    features = tuple(name for name in names if name not in special and name not in reading.dropped)
    if not features:
        raise DataError(f"{where}: no column is left for features; {_listed(names)}")
    kept = asked if labelled else dict.fromkeys(asked)
    told = set(features) | {name for name in kept.values() if name}
    return Roles(features, **kept, dropped=tuple(name for name in names if name not in told))


def check_names(names: Sequence[str], where: str) -> None:
    """Raise DataError for names that are too many, empty, or there twice."""
    if len(names) > MAX_COLUMNS:
        raise DataError(
            f"{where}: has {len(names):,} columns, at most {MAX_COLUMNS:,} are supported for tables; save them as an "
            f"array with numpy.savez"
        )
    seen: set[str] = set()
    for place, name in enumerate(names):
        if not name:
            raise DataError(f"{where}: column {place + 1} of {len(names):,} has no name; give it one in the file")
        if name in seen:
            raise DataError(f"{where}: two columns are called {name[:80]!r}; give them names of their own in the file")
        seen.add(name)


def _listed(names: Sequence[str]) -> str:
    more = f" and {len(names) - 20:,} more" if len(names) > 20 else ""
    return f"its columns are {', '.join(_plain(name[:40]) for name in names[:20])}{more}"


def _plain(name: str) -> str:
    return name if name.isprintable() else repr(name)


def _no_label(names: Sequence[str], where: str) -> str:
    likely = next((name for wanted in _SUGGESTED for name in names if name.strip().lower() == wanted), None)
    remedy = f"is it --label {_plain(likely)}?" if likely else "name it with --label COLUMN (label=…)"
    return f"{where}: which column holds the labels is not said; {remedy}\n{_listed(names)}"


@dataclass(frozen=True, eq=False)
class Told:
    """A column of labels, splits, groups or times: numbers (int64, float64 with NaN), or codes of `texts` (-1: "
    "missing).
    """

    values: np.ndarray
    texts: Sequence[str] | None = None


def parts(columns: dict[str, Column], told: dict[str, Told], roles: Roles, place: Place) -> dict[str, Part]:
    """The rows by split. Raises DataError, with the row, for an infinite number or a value that a role does not "
    "allow.
    """
    for name in roles.features:
        check_finite(columns[name], name, place)
    y = labels(told[roles.label], roles.label, place) if roles.label else None
    groups = times = None
    if roles.group:
        groups = _complete(told[roles.group], roles.group, "group", place)
    if roles.time:
        times = moments(_complete(told[roles.time], roles.time, "time", place), roles.time, place)
    table = Table({name: columns[name] for name in roles.features}, place)
    if roles.split is None:
        return {"train": Part(table, y, groups, times)}
    found = _complete(told[roles.split], roles.split, "split", place)
    names = np.array([_SPLITS.get(str(value).strip().lower(), "") for value in found.tolist()])
    if (names == "").any():
        row = int(np.argmax(names == ""))
        raise DataError(
            f"{place(row)}: column {roles.split!r} holds {str(found[row])[:80]!r}; a split is train, valid "
            f"(validation, val, dev) or test"
        )
    split = {}
    for name in ("train", "valid", "test"):
        rows = np.flatnonzero(names == name)
        if len(rows):
            split[name] = Part(table[rows], *(None if of is None else of[rows] for of in (y, groups, times)))
    return split


def check_finite(column: Column, name: str, place: Place) -> None:
    """Raise DataError for an infinite number."""
    for begin, block in blocks(column.values) if column.kind == "number" else ():
        if (infinite := np.isinf(block)).any():
            row = int(np.argmax(infinite))
            raise DataError(
                f"{place(begin + row)}, column {name!r}: is an infinite number ({block[row]}); leave the cell empty if "
                f"the value is missing, or drop the row"
            )


def labels(told: Told, name: str, place: Place) -> np.ndarray:
    """Labels as text; 1.0 is 1, and true and false are in small letters. Raises DataError for other fractions."""
    if told.texts is None:
        if told.values.dtype.kind != "f":
            return _digits(told.values)
        _refuse_fraction(told.values, name, place)
        return _digits(told.values.astype(np.int64))
    _check_complete(told, name, "label", place)
    numbers = np.array([as_number(text) for text in told.texts])
    if not np.isnan(numbers).any():
        _refuse_fraction(numbers[told.values], name, place, np.inf)
    boolean = {text.lower() for text in told.texts} <= {"true", "false"}
    plain = [text.lower() if boolean else _unpointed(text) for text in told.texts]
    return np.array(plain, dtype=str)[told.values]


def _digits(values: np.ndarray) -> np.ndarray:
    """Whole numbers as text, with room for the longest of them: NumPy would keep 84 bytes for each."""
    known = np.unique(values)
    return np.array(known.astype(str).tolist(), dtype=str)[np.searchsorted(known, values)]


def _unpointed(text: str) -> str:
    whole = _WHOLE.fullmatch(text)
    return str(int(whole[1])) if whole else text


def _refuse_fraction(values: np.ndarray, name: str, place: Place, most: float = 2.0**63) -> None:
    with np.errstate(invalid="ignore"):
        bad = ~((values == np.floor(values)) & (np.abs(values) < most))
    if bad.any():
        row = int(np.argmax(bad))
        if np.isnan(values[row]):
            raise DataError(f"{place(row)}: {_missing('label', name)}")
        raise DataError(
            f"{place(row)}: has label {values[row]}; labels are text or whole numbers: is {name!r} a regression "
            f"target? epochal trains classifiers"
        )


def _missing(role: str, name: str) -> str:
    return (
        f"has no {role}, column {name!r} is empty or holds a word for a missing value; fill it in, or leave the row out"
    )


def _complete(told: Told, name: str, role: str, place: Place) -> np.ndarray:
    """The column as an array of numbers or text. Raises DataError for a missing value."""
    _check_complete(told, name, role, place)
    return told.values if told.texts is None else np.array(told.texts, dtype=str)[told.values]


def _check_complete(told: Told, name: str, role: str, place: Place) -> None:
    absent = told.values < 0 if told.texts is not None else np.isnan(told.values)
    if absent.any():
        raise DataError(f"{place(int(np.argmax(absent)))}: {_missing(role, name)}")
    sizes = np.array([len(text) for text in told.texts or ("",)])
    if sizes.max() > MAX_TEXT:
        row = int(np.argmax(sizes[told.values] > MAX_TEXT))
        raise DataError(
            f"{place(row)}: column {name!r} holds {sizes[told.values[row]]:,} characters, at most {MAX_TEXT} are "
            f"supported for a {role}; name another column"
        )
