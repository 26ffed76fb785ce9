"""What a table's columns are for: label, split, group, time, features, or nothing."""

import re
from collections.abc import Sequence
from dataclasses import dataclass

from epochal.data.options import Reading, named
from epochal.data.table import leave_out, shown
from epochal.errors import DataError, option

MAX_COLUMNS = 10_000
_SUGGESTED = ("label", "labels", "class", "target", "y", "species")
_OPTIONS = {"label": "label", "split": "split_column", "group": "group", "time": "time"}
_INDEX = re.compile(r"__index_level_[0-9]+__")  # of pandas in Arrow, where its index has no name
_SAVED_INDEX = re.compile(r"Unnamed: 0(?:\.[0-9]+)*")  # and in text, read again


@dataclass(frozen=True)
class Roles:
    """Names of the columns by what they are for; `label` … `time` are None where there is none, or it is not wanted.

    `categorical` features are taken as categories; `index` columns are left out though nobody asked for it.
    """

    features: tuple[str, ...]
    label: str | None
    split: str | None
    group: str | None
    time: str | None
    dropped: tuple[str, ...]
    categorical: tuple[str, ...] = ()
    index: tuple[str, ...] = ()
    skip_unlabelled: bool = False

    @property
    def keys(self) -> tuple[str, ...]:
        """The columns that tell of a row what it is, where it belongs, or when it was."""
        return tuple(name for name in (self.label, self.split, self.group, self.time) if name is not None)


def assign(names: Sequence[str], reading: Reading, where: str, *, labelled: bool, index: Sequence[str] = ()) -> Roles:
    """The roles of the columns `names`. Raises DataError for a name that is needed and absent, or in two roles.

    Where the table is not to be `labelled`, columns of `reading` may be absent, and none is kept but the features.
    Columns of the `index` of a data frame are no features, unless an option names them.
    """
    check_names(names, where)
    named_by = {role: getattr(reading, field) for role, field in _OPTIONS.items()}
    drop, categorical = named(reading.drop, names), named(reading.categorical, names)
    if labelled:
        if reading.label is None and reading.labels_from is None:
            raise DataError(_no_label(names, where))
        if reading.label is not None and reading.labels_from is not None:
            raise DataError(
                f"{where}: {option('label', reading.label)} names a column of labels, and {option('labels_from')} "
                f"gives others; leave one out"
            )
        wanted = [(_OPTIONS[role], name) for role, name in named_by.items() if name is not None]
        wanted += [("drop", name) for name in drop] + [("categorical", name) for name in categorical]
        _check_wanted(wanted, names, reading, where)
    special = {name for name in named_by.values() if name is not None}
    indices = tuple(
        name
        for name in names
        if (name in index or _INDEX.fullmatch(name) or _SAVED_INDEX.fullmatch(name))
        and name not in special | set(drop) | set(categorical)
    )
    features = tuple(name for name in names if name not in special and name not in drop and name not in indices)
    if not features:
        raise DataError(f"{where}: no column is left for features; {_listed(names)}")
    keys = named_by if labelled else dict.fromkeys(named_by)
    used = set(features) | {name for name in keys.values() if name}
    dropped = tuple(name for name in names if name not in used and name not in indices)
    codes = tuple(name for name in features if name in categorical)
    return Roles(features, **keys, dropped=dropped, categorical=codes, index=indices,
                 skip_unlabelled=reading.skip_unlabelled)  # fmt: skip


def _check_wanted(wanted: Sequence[tuple[str, str]], names: Sequence[str], reading: Reading, where: str) -> None:
    """Raise DataError for a column that is named and not there, or named for two purposes."""
    for field, name in wanted:
        inherited = field in ("drop", "categorical") and field in reading.inherited
        if name not in names and not inherited:
            raise DataError(f"{where}: there is no column {name[:80]!r} ({option(field)}); {_listed(names)}")
    for field, name in wanted:
        other = next((o for o, n in wanted if n == name and o != field), None)
        if other:
            raise DataError(
                f"{where}: column {name!r} is named by {option(field)} and {option(other)}; a column has one purpose"
            )


def index_notes(roles: Roles, where: str) -> list[str]:
    """Notes on columns that are left out by rule."""
    saved = [name for name in roles.index if _SAVED_INDEX.fullmatch(name)]
    frames = [name for name in roles.index if name not in saved]
    notes = []
    if frames:
        notes.append(
            f"{where}: the index of the data frame ({', '.join(map(repr, frames))}) is no feature, and left out; "
            f"reset_index() makes a column of it"
        )
    if saved:
        notes.append(
            f"{where}: what has no name ({', '.join(map(repr, saved))}) is taken for the index that a data frame was "
            f"written with, and left out; give it a name to make it a feature"
        )
    return notes


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
            raise DataError(f"{where}: column {place + 1} of {len(names):,} has no name; rename it, or leave it out")
        if name in seen:
            raise DataError(f"{where}: two columns are called {name[:80]!r}; give them names of their own in the file")
        seen.add(name)


def no_name(where: str, place: int, count: int, name: str) -> str:
    """The message about a column of values without a name; `name` is what it is called here."""
    return (
        f"{where}: column {place + 1} of {count:,} has no name; give it one in the file, or leave it out with "
        f"{leave_out([name])}"
    )


def _listed(names: Sequence[str]) -> str:
    more = f" and {len(names) - 20:,} more" if len(names) > 20 else ""
    return f"its columns are {', '.join(shown(name) for name in names[:20])}{more}"


def _no_label(names: Sequence[str], where: str) -> str:
    likely = next((name for wanted in _SUGGESTED for name in names if name.strip().lower() == wanted), None)
    remedy = f"is it {option('label', likely)}?" if likely else f"name it with {option('label', 'COLUMN')}"
    return f"{where}: which column holds the labels is not said; {remedy}\n{_listed(names)}"
