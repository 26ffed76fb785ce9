"""Tables in files: CSV and its kin, Parquet, Arrow; one file, or several that are one split."""

from collections.abc import Mapping, Sequence
from glob import glob
from pathlib import Path
from typing import Any

from epochal.errors import DataError
from epochal.reading import Reading
from epochal.sources import columnar_files, isolated, roles, text_form, text_tables
from epochal.sources.columnar import received
from epochal.sources.columnar_files import ARROW, PARQUET, different
from epochal.sources.raw import Raw
from epochal.sources.roles import Roles
from epochal.table import Column

TEXT = (".csv", ".tsv", ".txt")
SUFFIXES = (*TEXT, *PARQUET, *ARROW)
_SECONDS = 60.0
_BYTES_A_SECOND = 2e6  # far below what any of the decoders does: who needs longer hangs


def matching(pattern: str) -> list[Path]:
    """The files that a pattern with `*`, `?` or `[…]` names, sorted by name; none where `pattern` is no such thing."""
    if not set(pattern) & set("*?["):
        return []
    try:
        return sorted(map(Path, glob(str(Path(pattern).expanduser()))))  # noqa: PTH207  Path.glob takes no absolute one
    except (OSError, ValueError, RuntimeError):
        return []


def suffix_of(path: Path) -> str:
    """The suffix in small letters, that of gzip left out."""
    return next((s for s in map(str.lower, reversed(path.suffixes)) if s != ".gz"), "")


def read_table(paths: Path | Sequence[Path], reading: Reading, limit: int, *, labelled: bool, name: str = "") -> Raw:
    """The rows of one table, in one file or in several of one form, which are read as if they were one after the other.

    Columns are numbers, booleans and categories; how they are found in text tells `cells`. A column may hold the
    labels, the split, the group or the time of the rows. Raises DataError, with file and row.
    """
    files = [paths] if isinstance(paths, Path) else list(paths)
    name = name or str(files[0])
    forms = {suffix_of(path) in TEXT: path for path in files}
    strange = next((path for path in files if suffix_of(path) not in SUFFIXES), None)
    if strange or len(forms) > 1:
        raise DataError(
            f"{strange or forms[True]}: is no table like {files[0]}; the files of a pattern must all be text tables "
            f"({', '.join(TEXT)}), or all of {', '.join((*PARQUET, *ARROW))}"
        )
    read = _text if True in forms else _columnar
    return read(files, reading, limit, labelled, name)


def _text(files: list[Path], reading: Reading, limit: int, labelled: bool, name: str) -> Raw:
    asked = [reading.label, reading.split_column, reading.group, reading.time, *reading.dropped]
    known = [column for column in asked if column]
    opened, left = [], limit
    for path in files:
        opened.append(text_form.open_text(path, left, reading.separator, reading.header, known))
        left -= len(opened[-1].data)
        if sorted(opened[-1].names) != sorted(opened[0].names):
            raise DataError(different(str(files[0]), opened[0].names, str(path), opened[-1].names))
    first = opened[0]
    try:
        found = roles.assign(first.names, reading, str(first.path), labelled=labelled)
    except DataError as error:
        raise DataError(f"{error}\n({first.why}; --header, --no-header, --separator say otherwise)") from None
    grown, place = text_tables.read_columns(opened, found.features, found.told, limit)
    columns = {column: grown[column].column() for column in found.features}
    told = {column: grown[column].told() for column in found.told}
    notes = [f"{name}: {first.why}, {understood(columns, found)}"]
    for column in found.features:
        if odd := grown[column].odd:
            notes.append(f"column {column!r} is taken as text: {place(odd[0])} holds {odd[1][:40]!r} after numbers")
    notes += [rounded(c) for c in found.features if columns[c].kind == "number" and _large(columns[c])]
    return Raw(name, roles.parts(columns, told, found, place), tuple(files), notes=tuple(notes))


def _columnar(files: list[Path], reading: Reading, limit: int, labelled: bool, name: str) -> Raw:
    options = {k: v for k, v in reading.to_dict().items() if k in ("label", "split_column", "group", "time", "drop")}
    options |= {"labels": "given"} if reading.labels is not None else {}
    try:
        size = sum(path.stat().st_size for path in files)
    except OSError as error:
        raise DataError(
            f"{files[0]}: cannot be read: {error.strerror or error}; check its path and permissions"
        ) from None
    answer: Mapping[str, Any] = isolated.call(
        columnar_files.decode, [str(path) for path in files], options, labelled, limit,
        where=name, memory_bytes=limit, seconds=_SECONDS + size / _BYTES_A_SECOND,
    )  # fmt: skip
    found = roles.assign(answer["names"], reading, name, labelled=labelled)
    ends = [sum(answer["rows"][: i + 1]) for i in range(len(files))]

    def place(row: int) -> str:
        at = next(i for i, end in enumerate(ends) if row < end)
        return f"{files[at]}: row {row - (ends[at] - answer['rows'][at]):,}"

    return assembled(answer["columns"], found, place, name, tuple(files))


def assembled(plain: Sequence[Any], found: Roles, place: roles.Place, name: str, files: tuple[Path, ...] = ()) -> Raw:
    """The splits of columns in their plain form. Raises DataError, with the row."""
    columns, told = {}, {}
    for one in plain:
        columns[one[0]], told[one[0]] = received(one)
    features = {column: columns[column] for column in found.features}
    notes = [f"{name}: {understood(features, found)}"]
    notes += [rounded(one[0]) for one in plain if one[4] and one[0] in features]
    return Raw(name, roles.parts(features, told, found, place), files, notes=tuple(notes))


def understood(columns: Mapping[str, Column], found: Roles) -> str:
    """What kinds the columns are of, in words: `4 numbers, 1 category (colour: 3 values); dropped: id`."""
    kinds = {"number": "numbers", "boolean": "booleans", "category": "categories"}
    words = []
    for kind, several in kinds.items():
        names = [name for name, column in columns.items() if column.kind == kind]
        shown = ", ".join(f"{name}: {len(columns[name].categories)} values" for name in names[:5])
        more = ", …" if len(names) > 5 else ""
        if names:
            detail = f" ({shown}{more})" if kind == "category" else ""
            words.append(f"{len(names):,} {several if len(names) > 1 else kind}{detail}")
    return ", ".join(words) + (f"; left out: {', '.join(found.dropped)}" if found.dropped else "")


def _large(column: Column) -> bool:
    return bool(len(column.values) and (abs(column.values) >= 2**53).any())


def rounded(name: str) -> str:
    """The note on whole numbers that no float holds."""
    return (
        f"column {name!r} holds numbers above 2**53, which are rounded; is it an identifier? leave it out with "
        f"--drop {name}"
    )
