"""Text tables (CSV and its kin): strict rows, and the kinds of columns found from all of their cells.

No native code but Python's own touches the file.
"""

import csv
from array import array
from bisect import bisect_right
from collections.abc import Iterator, Sequence
from typing import NoReturn

from epochal.errors import DataError
from epochal.memory import format_bytes
from epochal.sources import cells
from epochal.sources.text_form import MAX_CELLS, TextFile, lines, too_wide
from epochal.sources.times import Place

_BLOCK_CELLS = 200_000


def read_columns(
    files: Sequence[TextFile], features: Sequence[str], told: Sequence[str], limit: int
) -> tuple[dict[str, cells.Growing], Place]:
    """The columns named, of all files one after the other; those of `told` as text. Raises DataError.

    Where a column turns out to be text after a first block of numbers, the files are read a second time.
    """
    texts = dict.fromkeys(told)
    for _ in range(2):
        columns = {name: cells.Growing(text=name in texts, odd=texts.get(name)) for name in (*features, *told)}
        place = _grow(files, columns, limit)
        turned = {name: column.odd for name, column in columns.items() if column.odd and not column.text}
        if not turned:
            break
        texts |= turned
    return columns, place


def _grow(files: Sequence[TextFile], columns: dict[str, cells.Growing], limit: int) -> Place:
    begin, blocks, starts, ends = 0, 0, [], []
    for file in files:
        starts.append(begin)
        ends.append(array("q", [0]))
        where = [file.names.index(name) for name in columns]
        for rows in _blocks(file, ends[-1]):
            across = list(zip(*rows, strict=True))
            for at, column in zip(where, columns.values(), strict=True):
                column.small = [across[at]] if blocks == 0 else []
                column.extend(across[at], begin)
            begin, blocks = begin + len(rows), blocks + 1
            if sum(column.bytes for column in columns.values()) > limit:
                raise DataError(
                    f"{file.path}: row {begin - starts[-1]:,}: the columns take more than {format_bytes(limit)}, the "
                    f"memory granted for reading; grant more with --host-memory, or leave columns out with --drop"
                )

    def place(row: int) -> str:
        at = bisect_right(starts, row) - 1
        inner = row - starts[at]
        return f"{files[at].path}: row {inner:,} (line {ends[at][inner] + 1:,})"

    return place


def _blocks(file: TextFile, ends: array) -> Iterator[list[list[str]]]:
    """The rows in blocks; the last line of each is noted in `ends`, behind that of the header. Raises DataError."""
    width, most = len(file.names), max(1, _BLOCK_CELLS // len(file.names))
    rows: list[list[str]] = []
    numbered = _rows(file, width)
    try:
        if file.header:
            ends[0] = next(numbered)[1]
        for row, line in numbered:
            if len(row) != width:
                _ragged(file, len(row), len(ends) - 1, ends[-1] + 1)
            rows.append(row)
            ends.append(line)
            if len(rows) == most:
                yield rows
                rows = []
    except csv.Error as error:
        raise DataError(_quoting(file, str(error), len(ends) - 1, ends[-1] + 1)) from None
    if len(ends) == 1:
        raise DataError(f"{file.path}: has a header of {width:,} columns, but no row; fetch or write it again")
    if rows:
        yield rows


def _rows(file: TextFile, width: int) -> Iterator[tuple[list[str], int]]:
    """The rows with the last line of each; empty lines before the first and after the last one are left out."""
    spent = 0

    def bounded() -> Iterator[str]:
        nonlocal spent
        for line in lines(file.path, file.data):
            spent += line.count(file.separator)
            if spent > MAX_CELLS:
                raise DataError(too_wide(file.path, spent, file.separator))
            yield line

    reader = csv.reader(bounded(), delimiter=file.separator, strict=True)
    begun, empty = False, 0
    for row in reader:
        spent = 0
        if not row or (len(row) == 1 < width and not row[0].strip()):
            empty = empty or reader.line_num
            continue
        if begun and empty:
            raise DataError(f"{file.path}: line {empty:,} is empty, but rows follow; remove it, or fill it in")
        begun, empty = True, 0
        yield row, reader.line_num


def _ragged(file: TextFile, count: int, row: int, line: int) -> NoReturn:
    there = "the header has" if file.header else "the first row has"
    raise DataError(
        f"{file.path}: row {row:,} (line {line:,}) has {count:,} cells, but {there} {len(file.names):,} (separated by "
        f"{file.separator!r}); mend the row, quote cells that hold the separator, or name another with --separator"
    )


def _quoting(file: TextFile, error: str, row: int, line: int) -> str:
    place = f"{file.path}: row {row:,} (line {line:,})"
    if "field larger" in error:
        most = f"{csv.field_size_limit():,} characters"
        return f"{place}: a cell has more than {most}, or a quote is not closed; mend the row"
    if "end of data" in error:
        return f"{place}: a quote is opened and never closed; close it, or double the quotes that are meant as text"
    return f"{place}: the quotes are wrong ({error}); quote whole cells, and double the quotes inside"
