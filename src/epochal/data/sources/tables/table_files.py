"""Tables in files: CSV and its kin, Parquet, Arrow; one file, or several that are one split."""

import os
from collections.abc import Mapping, Sequence
from dataclasses import replace
from glob import glob
from pathlib import Path
from typing import Any

import numpy as np

from epochal.data.options import Reading
from epochal.data.rows import blocks
from epochal.data.sources.files import check_path, suffix_of
from epochal.data.sources.tables import parquet, roles, splits, text_form
from epochal.data.sources.tables.arrow_tables import Columns, read_isolated
from epochal.data.sources.tables.cells import UNSURE, Rules, odd_cells
from epochal.data.sources.tables.column_builder import as_feature, as_key, joined
from epochal.data.sources.tables.parquet import different
from epochal.data.sources.tables.roles import Roles
from epochal.data.sources.tables.splits import KeyColumn
from epochal.data.sources.tables.text_tables import TextColumns
from epochal.data.sources.types import Context, RawDataset, Reader
from epochal.data.table import Column, Place, leave_out, shown
from epochal.errors import DataError, option
from epochal.system import isolated
from epochal.system.disk_cache import Overflow

OPTIONS = ("label", "labels_from", "drop", "categorical", "split_column", "group", "time", "skip_unlabelled")
_TEXT = (".csv", ".tsv", ".txt")
_ARROW = (*parquet.PARQUET, ".arrow", ".feather", ".ipc")
_ROLES = ("label", "split_column", "group", "time", "drop", "categorical")


class TextTable(Reader):
    """CSV and its kin: a file, or a pattern of several that are one table."""

    formats, kind = f"text tables ({', '.join(_TEXT)})", "a text table"
    options = (*OPTIONS, "separator", "header", "decimal", "thousands", "missing", "known_missing", "encoding")

    def matches(self, source: Any) -> bool:
        return suffix_of(next(iter(_files(source)), None)) in _TEXT

    def read(self, source: Path | str, context: Context) -> RawDataset:
        files = _files(source)
        for file in files:
            check_path(file)
        return read_table(files, context.options, context.limit, labelled=context.labelled, name=str(source))


class ArrowTable(TextTable):
    """Parquet, Arrow and Feather: the same."""

    formats, kind = f"{', '.join(_ARROW)}", "a table in Parquet or Arrow form"
    options = OPTIONS

    def matches(self, source: Any) -> bool:
        files = _files(source)
        return bool(files) and (isinstance(source, str) or suffix_of(files[0]) in _ARROW)  # `read` says what is wrong


def _files(pattern: Any) -> list[Path]:
    """A file alone, or those that a pattern with `*`, `?` or `[…]` names, sorted by name; none for all else."""
    if isinstance(pattern, Path):
        return [pattern]
    if not isinstance(pattern, str) or not set(pattern) & set("*?["):
        return []
    try:
        return sorted(map(Path, glob(os.path.expanduser(pattern))))  # noqa: PTH111, PTH207  Path.glob takes no absolute one
    except (OSError, ValueError, RuntimeError):
        return []


def read_table(
    paths: Path | Sequence[Path], reading: Reading, limit: int, *, labelled: bool, name: str = ""
) -> RawDataset:
    """The rows of one table, in one file or in several of one form, which are read as if they were one after the other.

    Columns are numbers, booleans and categories; `cells` has the rules for text. A column may hold the
    labels, the split, the group or the time of the rows. Raises DataError, with file and row.
    """
    files = [paths] if isinstance(paths, Path) else list(paths)
    name = name or str(files[0])
    forms = {suffix_of(path) in _TEXT: path for path in files}
    strange = next((path for path in files if suffix_of(path) not in (*_TEXT, *_ARROW)), None)
    if strange or len(forms) > 1:
        raise DataError(
            f"{strange or forms[True]}: is no table like {files[0]}; the files of a pattern must all be text tables "
            f"({', '.join(_TEXT)}), or all of {', '.join(_ARROW)}"
        )
    read = _text if True in forms else _columnar
    return read(files, reading, limit, labelled, name)


def _text(files: list[Path], reading: Reading, limit: int, labelled: bool, name: str) -> RawDataset:
    known = [reading.label, reading.split_column, reading.group, reading.time, *reading.drop, *reading.categorical]
    opened, left = [], limit
    for path in files:
        opened.append(text_form.open_text(path, left, reading, [column for column in known if column]))
        left -= len(data) if isinstance(data := opened[-1].data, memoryview) else 0
        if sorted(opened[-1].names) != sorted(opened[0].names):
            raise DataError(different(str(files[0]), opened[0].names, str(path), opened[-1].names))
    first, rules = opened[0], Rules.of(reading)
    try:
        assigned = roles.assign(first.names, reading, str(first.path), labelled=labelled)
    except DataError as error:
        ways = ", ".join((option("header", True), option("header", False), option("separator")))
        raise DataError(f"{error}\n({first.why}; {ways} say otherwise)") from None
    table = TextColumns(opened, assigned, rules, limit)
    first, opened = table.files[0], []  # without their text
    assigned, notes = _without_unnamed(first, assigned, table.columns, name)
    notes = [f"{name}: {first.why}, {understood(table.columns, assigned)}", *roles.index_notes(assigned, name), *notes]
    notes += [f"{name}: {note}" for note in table.notes]
    remarks = {column: table.remarks[column] for column in assigned.features if column in table.remarks}
    notes += [odd_note(column, remark, table.place) for column, remark in remarks.items() if "of" in remark]
    unsure = [f"{column!r} ({remark['unsure']:,})" for column, remark in remarks.items() if "unsure" in remark]
    if unsure:
        notes.append(f"{name}: cells '?' and '-' are taken as missing values in {', '.join(unsure[:20])}")
    notes += [rounded(column) for column in assigned.features if _large(table.columns[column])]
    notes += _unsure_labels(table.keys.get(assigned.label or ""), assigned.label)
    parted, more = splits.parts(table.columns, table.keys, assigned, table.place)
    return RawDataset(name, parted, tuple(files), notes=(*notes, *more), dropped=assigned.dropped)


def _without_unnamed(
    file: text_form.TextFile, assigned: Roles, columns: dict[str, Column], name: str
) -> tuple[Roles, list[str]]:
    """The roles without columns that have neither a name nor a value. Raises DataError for one that has values."""
    empty = []
    for column in file.unnamed:
        if column not in assigned.features:
            continue
        if any((block >= 0).any() for _, block in blocks(columns[column].values)):  # a NaN is not
            raise DataError(roles.no_name(name, file.names.index(column), len(file.names), column))
        empty.append(column)
        del columns[column]
    if not empty:
        return assigned, []
    features = tuple(column for column in assigned.features if column not in empty)
    if not features:
        raise DataError(f"{name}: no column with a name is left for features; name the columns in the file")
    what = "1 column without a name has" if len(empty) == 1 else f"{len(empty):,} columns without a name have"
    return replace(assigned, features=features), [f"{name}: {what} no value either: left out"]


def _unsure_labels(labels: KeyColumn | None, column: str | None) -> list[str]:
    """A class called `?` may be no class; one called `-` beside `+` is."""
    texts = set(labels.texts or ()) if labels else set()
    unsure = [text for text in UNSURE if text in texts and not (text == "-" and "+" in texts)]
    return [
        f"column {column!r}: {text!r} is taken as a class; if it means that there is no label: "
        f"{option('missing', text)}, {option('skip_unlabelled', True)}"
        for text in unsure
    ]


def odd_note(name: str, odd: Mapping[str, Any], place: Place | None) -> str:
    """The note on a column of text most of whose cells are numbers: see `cells.odd_cells`."""
    begin, of = f"column {name!r} is taken as categories", odd["of"]
    if not odd["count"]:
        return (
            f"{begin}, as it is text, though all its cells are numbers; make it a column of numbers, or say that this "
            f"is meant with {option('categorical', name)}"
        )
    where = f"{place(odd['row'])} holds {shown(odd['cell'])!r}" if place else f"such as {shown(odd['cell'])!r}"
    if "remedy" in odd:
        ways = " ".join(option(field, mark) for field, mark in odd["remedy"].items())
        remedy = f"read them with {ways}" if ways else "write them as plain numbers, such as 1234.5"
        return f"{begin}, though most of its {of:,} cells look like numbers: {where}; {remedy}"
    words = odd.get("words") or []
    missing = f"if that means a missing value: {option('missing', ','.join(words))}; else " if words else ""
    missing = missing if odd.get("text_table", True) and not any("," in word for word in words) else ""
    return (
        f"{begin}, as {odd['count']:,} of its {of:,} cells {'is' if odd['count'] == 1 else 'are'} no number: {where}; "
        f"{missing}mend the cells, say that this is meant with {option('categorical', name)}, or {leave_out([name])}"
    )


def _columnar(files: list[Path], reading: Reading, limit: int, labelled: bool, name: str) -> RawDataset:
    options = {k: v for k, v in reading.to_dict().items() if k in _ROLES}
    options |= {"labels_from": "given"} if reading.labels_from is not None else {}
    with Overflow(["columnar", options, labelled], limit, files) as overflow:
        size, paths = overflow.size, [str(path) for path in files]

        def read(file: str) -> Any:
            return isolated.call(
                parquet.decode, paths, options, sorted(reading.inherited), labelled, limit, file, size,
                where=name, memory_bytes=limit + size * bool(file), seconds=isolated.time_limit(size),
            )  # fmt: skip

        columns, answer = read_isolated(overflow, read)
    assigned = roles.assign(answer["names"], reading, name, labelled=labelled, index=answer["index"])
    ends = [sum(answer["rows"][: i + 1]) for i in range(len(files))]

    def place(row: int) -> str:
        at = next(i for i, end in enumerate(ends) if row < end)
        return f"{files[at]}: row {row - (ends[at] - answer['rows'][at]):,}"

    raw = assembled(columns, assigned, place, name, tuple(files))
    return replace(raw, notes=(*raw.notes, *overflow.notes(f"{name}: its columns take")))


def assembled(
    columns: Columns,
    assigned: Roles,
    place: Place,
    name: str,
    files: tuple[Path, ...] = (),
    declared: Sequence[str] = (),
) -> RawDataset:
    """The splits of columns; classes of `declared` columns have names. Raises DataError, with the row."""
    features, keys, notes, typed = {}, {}, [], []
    for info, chunks in columns:
        values = joined(chunks)
        if info.name in assigned.keys:
            keys[info.name] = replace(as_key(info, values), declared=info.name in declared)
        if info.name in assigned.features:
            features[info.name] = as_feature(info, values)
            notes += [rounded(info.name)] if info.rounded else []
            if info.typed and info.name not in assigned.categorical:
                typed += _typed_note(info.name, features[info.name], place)
    features = {column: features[column] for column in assigned.features}
    notes = [f"{name}: {understood(features, assigned)}", *roles.index_notes(assigned, name), *notes, *typed]
    parted, more = splits.parts(features, keys, assigned, place)
    return RawDataset(name, parted, files, notes=(*notes, *more), dropped=assigned.dropped)


def _typed_note(name: str, column: Column, place: Place) -> list[str]:
    """The note on a column that is text by its type, and holds numbers."""
    texts = column.categories
    counts = np.zeros(len(texts) + 1, np.int64)
    for _, block in blocks(column.values):
        counts += np.bincount(block + 1, minlength=len(texts) + 1)
    odd = odd_cells(texts, counts[1:].tolist(), Rules(), typed=True)
    if not odd:
        return []
    rows = (begin + np.flatnonzero(block == odd["odd"]) for begin, block in blocks(column.values))
    row = next(int(matches[0]) for matches in rows if len(matches))
    remark = odd | {"row": row, "cell": texts[odd["odd"]], "text_table": False}
    return [odd_note(name, remark | ({"remedy": {}} if "remedy" in odd else {}), place)]


def understood(columns: Mapping[str, Column], assigned: Roles) -> str:
    """What kinds the columns are of, in words: `4 numbers, 1 category (colour: 3 values); dropped: id`."""
    kinds = {"number": "numbers", "boolean": "booleans", "category": "categories"}
    words = []
    for kind, several in kinds.items():
        names = [name for name, column in columns.items() if column.kind == kind]
        several_values = ", ".join(f"{shown(name)}: {len(columns[name].categories)} values" for name in names[:5])
        more = ", …" if len(names) > 5 else ""
        if names:
            detail = f" ({several_values}{more})" if kind == "category" else ""
            words.append(f"{len(names):,} {several if len(names) > 1 else kind}{detail}")
    return ", ".join(words) + (f"; left out: {', '.join(map(shown, assigned.dropped))}" if assigned.dropped else "")


def _large(column: Column) -> bool:
    return column.kind == "number" and any((abs(block) >= 2**53).any() for _, block in blocks(column.values))


def rounded(name: str) -> str:
    return (
        f"column {name!r} holds numbers above 2**53, which are rounded; is it an identifier? leave it out with "
        f"{leave_out([name])}"
    )
