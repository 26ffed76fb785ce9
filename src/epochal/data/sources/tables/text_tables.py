"""Text tables (CSV and its kin): strict rows, and the kinds of columns found from all of their cells.

No native code but Python's own touches the file.
"""

import csv
from array import array
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any, NoReturn

import numpy as np

from epochal.data.column_file import ColumnWriter
from epochal.data.sources.tables.cells import Rules
from epochal.data.sources.tables.growing import Growing
from epochal.data.sources.tables.roles import Roles
from epochal.data.sources.tables.text_form import MAX_CELLS, TextFile, lines, too_wide
from epochal.errors import DataError, option
from epochal.system.memory import format_bytes

MAX_ROW = 1 << 28
MAX_EMPTY = 100_000  # lines: they are no rows, but take time
_BLOCK_CELLS = 200_000
_BLOCK_CHARACTERS = 1 << 25
_MOVED_BYTES = 1 << 25


@dataclass
class Grown:
    """What the files hold: columns in memory, or `kept` in a file of cells with the lines where rows begin behind them.

    `starts` numbers the first row of each file, `bytes` is what all would take in memory.
    """

    columns: dict[str, Growing]
    starts: list[int] = field(default_factory=list)
    lines: array = field(default_factory=lambda: array("q"))  # the line where each row begins, of those in memory
    last: int = 0  # line of the file that is read
    rows: int = 0
    bytes: int = 0
    kept: ColumnWriter | None = None

    def remarks(self, features: Sequence[str]) -> dict[str, dict[str, Any]]:
        """What is odd about the columns of features."""
        return {name: remark for name in features if (remark := self.columns[name].remark())}


def read_columns(
    files: Sequence[TextFile],
    roles: Roles,
    rules: Rules,
    limit: int,
    keep: Callable[[], ColumnWriter] | None = None,
) -> Grown:
    """The columns that have a role, of all files one after the other; all but features as text. Raises DataError.

    Where a column turns out to be text after a first block of numbers, the files are read a second time. What takes
    more than `limit` bytes goes to the file that `keep` makes.
    """
    texts = {*roles.keys, *roles.categorical}
    for _ in range(2):
        grown = Grown({
            name: Growing(rules, text=name in texts, categorical=name in roles.categorical)
            for name in (*roles.features, *roles.keys)
        })  # fmt: skip
        _grow(files, grown, limit, keep)
        turned = {name for name, column in grown.columns.items() if column.turned}
        if not turned:
            break
        texts |= turned
    return grown


def _grow(files: Sequence[TextFile], grown: Grown, limit: int, keep: Callable[[], ColumnWriter] | None) -> None:
    columns, begin, blocks = grown.columns, 0, 0
    for file in files:
        grown.starts.append(begin)
        where = [file.names.index(name) for name in columns]
        for rows in _blocks(file, grown):
            across = list(zip(*rows, strict=True))
            for at, column in zip(where, columns.values(), strict=True):
                column.small = [across[at]] if blocks == 0 else []
                column.extend(across[at], begin)
            begin, blocks = begin + len(rows), blocks + 1
            held = sum(column.bytes for column in columns.values())
            if held > limit and keep is None:
                raise DataError(_too_much(file, begin - grown.starts[-1], limit, "the columns take"))
            # One block tells kinds from texts, and stays.
            if keep and blocks > 1 and held > (min(limit, _MOVED_BYTES) if grown.kept else limit):
                grown.kept = grown.kept or keep()
                if _move(grown) > limit:
                    raise DataError(_too_much(file, begin - grown.starts[-1], limit, "the texts of its columns take"))
    if grown.kept and len(grown.lines):
        _move(grown)
    grown.bytes += sum(column.bytes for column in columns.values())


def _move(grown: Grown) -> int:
    """Write the rows in memory to the file, or let them go where they will be read again; bytes that remain."""
    assert grown.kept
    columns, before = grown.columns.values(), sum(column.bytes for column in grown.columns.values())
    again = any(column.turned for column in columns)
    parts = [column.taken() for column in columns if column.blocks]
    if not again:
        grown.kept.add([*parts, np.array(grown.lines, np.int64)])
    del grown.lines[:]
    left = sum(column.bytes for column in columns)
    grown.bytes += before - left
    return left


def _too_much(file: TextFile, row: int, limit: int, what: str) -> str:
    return (
        f"{file.path}: row {row:,}: {what} more than {format_bytes(limit)}, the memory granted for reading; grant more "
        f"with {option('host_memory')}, or leave columns out with {option('drop')}"
    )


def _blocks(file: TextFile, grown: Grown) -> Iterator[list[list[str]]]:
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
            grown.lines.append(last + 1)
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
    there = "the header has" if file.header else "the first row has"
    raise DataError(
        f"{file.path}: row {row:,} (line {line:,}) has {count:,} cells, but {there} {len(file.names):,} (separated by "
        f"{file.separator!r}); mend the row, quote cells that hold the separator, or name another with "
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
