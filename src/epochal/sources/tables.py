"""Tables in files: CSV and its kin, Parquet, Arrow; one file, or several that are one split."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from glob import glob
from pathlib import Path
from typing import Any

from epochal import spool
from epochal.errors import DataError
from epochal.reading import Reading
from epochal.rows import blocks
from epochal.sources import columnar_files, isolated, kept, roles, text_form
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
        left -= len(data) if isinstance(data := opened[-1].data, memoryview) else 0
        if sorted(opened[-1].names) != sorted(opened[0].names):
            raise DataError(different(str(files[0]), opened[0].names, str(path), opened[-1].names))
    first = opened[0]
    try:
        found = roles.assign(first.names, reading, str(first.path), labelled=labelled)
    except DataError as error:
        raise DataError(f"{error}\n({first.why}; --header, --no-header, --separator say otherwise)") from None
    table = kept.Text(opened, found, limit)
    notes = [f"{name}: {first.why}, {understood(table.columns, found)}"]
    if table.entry:
        notes.append(table.entry.note(f"{name}: its columns take", limit))
    for column in found.features:
        if odd := table.odd.get(column):
            notes.append(
                f"column {column!r} is taken as text: {table.place(odd[0])} holds {odd[1][:40]!r} after numbers"
            )
    notes += [rounded(column) for column in found.features if _large(table.columns[column])]
    return Raw(name, roles.parts(table.columns, table.told, found, table.place), tuple(files), notes=tuple(notes))


def _columnar(files: list[Path], reading: Reading, limit: int, labelled: bool, name: str) -> Raw:
    options = {k: v for k, v in reading.to_dict().items() if k in ("label", "split_column", "group", "time", "drop")}
    options |= {"labels": "given"} if reading.labels is not None else {}
    states = spool.states(files)
    size = sum(state[1] for state in states)

    def read(file: str) -> Any:
        answer = isolated.call(
            columnar_files.decode, [str(path) for path in files], options, labelled, limit, file, size,
            where=name, memory_bytes=limit + size * bool(file), seconds=_SECONDS + size / _BYTES_A_SECOND,
        )  # fmt: skip
        spool.unchanged(files, states)
        return answer

    answer, entry = kept.columnar(spool.key(["columnar", states, options, labelled]), limit, read)
    found = roles.assign(answer["names"], reading, name, labelled=labelled)
    ends = [sum(answer["rows"][: i + 1]) for i in range(len(files))]

    def place(row: int) -> str:
        at = next(i for i, end in enumerate(ends) if row < end)
        return f"{files[at]}: row {row - (ends[at] - answer['rows'][at]):,}"

    raw = assembled(answer["columns"], found, place, name, tuple(files))
    return replace(raw, notes=(*raw.notes, entry.note(f"{name}: its columns take", limit))) if entry else raw


def assembled(plain: Sequence[Any], found: Roles, place: roles.Place, name: str, files: tuple[Path, ...] = ()) -> Raw:
    """The splits of columns in their plain form. Raises DataError, with the row."""
    columns, told = {}, {}
    for one in plain:
        column, labels = received(one)
        if one[0] in found.told:
            told[one[0]] = labels()
        columns[one[0]] = column
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
    return column.kind == "number" and any((abs(block) >= 2**53).any() for _, block in blocks(column.values))


def rounded(name: str) -> str:
    """The note on whole numbers that no float holds."""
    return (
        f"column {name!r} holds numbers above 2**53, which are rounded; is it an identifier? leave it out with "
        f"--drop {name}"
    )
