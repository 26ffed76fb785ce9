"""Text tables (CSV and its kin): strict rows, and the kinds of columns found from all of their cells.

No native code but Python's own touches the file.
"""

import csv
from array import array
from bisect import bisect_right
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from dataclasses import asdict, dataclass, field, replace
from typing import Any, NoReturn

import numpy as np

from epochal.data.column_file import ColumnWriter
from epochal.data.sources.tables.cells import Rules
from epochal.data.sources.tables.column_builder import (
    CELLS,
    MOVED_BYTES,
    ColumnInfo,
    as_feature,
    as_key,
    held,
    joined,
    move,
    open_columns,
)
from epochal.data.sources.tables.roles import Roles
from epochal.data.sources.tables.text_column import TextColumn
from epochal.data.sources.tables.text_form import MAX_CELLS, TextFile, lines, too_wide
from epochal.errors import DataError, option
from epochal.system.disk_cache import Overflow
from epochal.system.memory import format_bytes

MAX_ROW = 1 << 28
MAX_EMPTY = 100_000  # lines: they are no rows, but take time
_BLOCK_CELLS = 200_000
_BLOCK_CHARACTERS = 1 << 25


class TextColumns:
    """The columns of text tables, and where rows begin: in memory, or in a file where that takes more than `limit`.

    `columns` are the features, `keys` labels, splits, groups and times, `remarks` say what is odd about features.
    """

    def __init__(self, files: Sequence[TextFile], roles: Roles, rules: Rules, limit: int):
        """Read them, or find what was converted before. Raises DataError."""
        forms = [[file.separator, file.header, list(file.names), file.encoding] for file in files]
        parts = ["text", forms, roles.features, roles.keys, roles.categorical, rules.plain()]
        with Overflow(parts, limit, [file.path for file in files]) as overflow, ExitStack() as stack:
            if overflow.entry is None:
                builder = _read(files, roles, rules, overflow, stack)
                if builder.writer:
                    overflow.commit(builder.metadata(roles), {CELLS: builder.writer.digest})
                else:
                    self.remarks, self._starts, self._lines = builder.remarks(roles), builder.starts, builder.lines
                    self.columns = {name: builder.columns.pop(name).column() for name in roles.features}
                    self.keys = {name: as_key(of.info(name), joined(of.chunks)) for name, of in builder.columns.items()}
        self.files = [replace(file, data=memoryview(b"")) for file in files]  # the text is not needed any more
        self.notes = overflow.notes("its columns take")
        if overflow.entry:
            metadata = overflow.entry.metadata
            infos = [ColumnInfo(**info) for info in metadata["columns"]]
            *values, self._lines = open_columns(overflow.entry, infos, "i8")
            pairs = dict(zip((info.name for info in infos), zip(infos, values, strict=True), strict=True))
            self.columns = {name: as_feature(*pairs[name]) for name in roles.features}
            self.keys = {name: as_key(*pairs[name]) for name in roles.keys}
            self.remarks, self._starts = metadata["remarks"], metadata["files"]

    def place(self, row: int) -> str:
        """File, row and line."""
        at = bisect_right(self._starts, row) - 1
        return f"{self.files[at].path}: row {row - self._starts[at]:,} (line {int(self._lines[row]):,})"


@dataclass
class _Builder:
    """Columns in memory, or in the file of a `writer`, with the lines where rows begin behind them."""

    columns: dict[str, TextColumn]
    starts: list[int] = field(default_factory=list)  # the first row of each file
    lines: array = field(default_factory=lambda: array("q"))  # the line where each row begins, of those in memory
    bytes: int = 0  # that all would take in memory
    writer: ColumnWriter | None = None

    def remarks(self, roles: Roles) -> dict[str, dict[str, Any]]:
        return {name: remark for name in roles.features if (remark := self.columns[name].remark())}

    def metadata(self, roles: Roles) -> dict[str, Any]:
        assert self.writer
        infos = [asdict(column.info(name)) for name, column in self.columns.items()]
        return {
            "columns": infos, "starts": self.writer.starts, "files": self.starts, "remarks": self.remarks(roles),
            "bytes": self.bytes,
        }  # fmt: skip


def _read(files: Sequence[TextFile], roles: Roles, rules: Rules, overflow: Overflow, stack: ExitStack) -> _Builder:
    """The columns that have a role, of all files one after the other; all but features as text. Raises DataError.

    Where a column turns out to be text after a first block of numbers, the files are read a second time.
    """
    categorical = {*roles.keys, *roles.categorical}
    texts = set(categorical)
    while True:
        builder = _Builder({
            name: TextColumn("category" if name in texts else "number", rules=rules, categorical=name in categorical)
            for name in (*roles.features, *roles.keys)
        })  # fmt: skip
        _grow(files, builder, overflow, stack)
        turned = {name for name, column in builder.columns.items() if column.turned}
        if not turned:
            return builder
        texts |= turned


def _grow(files: Sequence[TextFile], builder: _Builder, overflow: Overflow, stack: ExitStack) -> None:
    columns, begin, blocks, limit = builder.columns, 0, 0, overflow.limit
    for file in files:
        builder.starts.append(begin)
        where = [file.names.index(name) for name in columns]
        for rows in _blocks(file, builder.lines):
            across = list(zip(*rows, strict=True))
            for at, column in zip(where, columns.values(), strict=True):
                column.small = across[at] if blocks == 0 else ()
                column.extend(across[at], begin)
            begin, blocks = begin + len(rows), blocks + 1
            # One block tells kinds from texts, and stays.
            if blocks > 1 and held(columns) > (min(limit, MOVED_BYTES) if builder.writer else limit):
                if builder.writer is None:
                    builder.writer = ColumnWriter(overflow.folder / CELLS, str(files[0].path), overflow.size)
                    stack.enter_context(builder.writer)
                if _move(builder) > limit:
                    raise DataError(_too_much(file, begin - builder.starts[-1], limit))
    if builder.writer and len(builder.lines):
        _move(builder)
    builder.bytes += held(columns)


def _move(builder: _Builder) -> int:
    """Write the rows in memory to the file, or let them go where they will be read again; bytes that remain."""
    assert builder.writer
    before = held(builder.columns)
    if any(column.turned for column in builder.columns.values()):
        for column in builder.columns.values():
            column.take() if column.chunks else None
    else:
        move(builder.columns, builder.writer, np.array(builder.lines, np.int64))
    del builder.lines[:]
    builder.bytes += before - held(builder.columns)
    return held(builder.columns)


def _too_much(file: TextFile, row: int, limit: int) -> str:
    return (
        f"{file.path}: row {row:,}: the texts of its columns take more than {format_bytes(limit)}, the memory granted "
        f"for reading; grant more with {option('host_memory')}, or leave columns out with {option('drop')}"
    )


def _blocks(file: TextFile, starts: array) -> Iterator[list[list[str]]]:
    """The rows in blocks; the line where each begins is noted. Raises DataError."""
    width, most = len(file.names), max(1, _BLOCK_CELLS // len(file.names))
    rows: list[list[str]] = []
    numbered = _rows(file, width)
    count, last, size = 0, 0, 0
    try:
        if file.header:
            last = next(numbered)[1]
        for row, line, characters in numbered:
            if len(row) != width:
                _ragged(file, len(row), count, last + 1)
            rows.append(row)
            starts.append(last + 1)
            count, last, size = count + 1, line, size + characters
            if len(rows) == most or size > _BLOCK_CHARACTERS:
                yield rows
                rows, size = [], 0
    except csv.Error as error:
        raise DataError(_quoting(file, str(error), count, last + 1)) from None
    if not count:
        raise DataError(f"{file.path}: has a header of {width:,} columns, but no row; fetch or write it again")
    if rows:
        yield rows


def _rows(file: TextFile, width: int) -> Iterator[tuple[list[str], int, int]]:
    """The rows, with the last line and the characters of each; empty lines before the first and after the last one are
    left out.
    """
    spent, size = 0, 0

    def bounded() -> Iterator[str]:
        nonlocal spent, size
        for line in lines(file.path, file.data, file.encoding):
            spent, size = spent + line.count(file.separator), size + len(line)
            if spent > MAX_CELLS:
                raise DataError(too_wide(file.path, spent, file.separator))
            if size > MAX_ROW:
                raise DataError(
                    f"{file.path}: a row holds more than {MAX_ROW:,} characters; is this a text table? close its "
                    f"quotes, or mend the row"
                )
            yield line

    reader = csv.reader(bounded(), delimiter=file.separator, strict=True)
    begun, empty, blank = False, 0, 0
    for row in reader:
        characters, spent, size = size, 0, 0
        if not row or (len(row) == 1 < width and not row[0].strip()):
            empty, blank = empty or reader.line_num, blank + 1
            if blank > MAX_EMPTY:
                raise DataError(
                    f"{file.path}: line {reader.line_num:,}: more than {MAX_EMPTY:,} lines are empty; is this a text "
                    f"table? remove them"
                )
            continue
        if begun and empty:
            raise DataError(f"{file.path}: line {empty:,} is empty, but rows follow; remove it, or fill it in")
        begun, empty = True, 0
        yield row, reader.line_num, characters


def _ragged(file: TextFile, count: int, row: int, line: int) -> NoReturn:
    expected = "the header has" if file.header else "the first row has"
    raise DataError(
        f"{file.path}: row {row:,} (line {line:,}) has {count:,} cells, but {expected} {len(file.names):,} (separated "
        f"by {file.separator!r}); mend the row, quote cells that hold the separator, or name another with "
        f"{option('separator')}"
    )


def _quoting(file: TextFile, error: str, row: int, line: int) -> str:
    place = f"{file.path}: row {row:,} (line {line:,})"
    if "field larger" in error:
        most = f"{csv.field_size_limit():,} characters"
        return f"{place}: a cell has more than {most}, or a quote is not closed; mend the row"
    if "end of data" in error:
        return f"{place}: a quote is opened and never closed; close it, or double the quotes that are meant as text"
    return f"{place}: the quotes are wrong ({error}); quote whole cells, and double the quotes inside"
