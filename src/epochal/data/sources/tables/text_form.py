"""The form of a text table: its encoding, its separator, and whether its first row is a header."""

import codecs
import csv
import io
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from epochal.data.options import Reading
from epochal.data.sources.files import Stream, TooLarge, check_kind, most_text, read_bytes
from epochal.data.sources.tables.cells import Rules
from epochal.errors import DataError, option
from epochal.system import disk_cache
from epochal.system.memory import format_bytes

MAX_LINE = 16 << 20
MAX_CELLS = 1_000_000
"""Separators in one row, those in quotes included: what is longer would take memory before it is counted as a row."""

_SEPARATORS = ",;\t|"
_SAMPLE_CHARACTERS = 1 << 16
_SAMPLE_LINES = 200


@dataclass(frozen=True)
class TextFile:
    """A text table whose form is known. `names` are c0, c1, … where it has no header."""

    path: Path
    data: memoryview | list[Any]  # its bytes; of a larger file the state that it must stay in while it is read
    separator: str
    header: bool
    names: tuple[str, ...]
    why: str  # how separator and header were found, in words
    encoding: str | None = None
    unnamed: tuple[str, ...] = ()  # what columns without a name are called here, but for an index in the first one


def open_text(path: Path, limit: int, reading: Reading, known: Sequence[str]) -> TextFile:
    """Find out the form of `path`; `known` are names of columns that the user has said. Raises DataError.

    What is larger than `limit` is not kept in memory, and read again when its rows are.
    """
    separator, header, encoding = reading.separator, reading.header, reading.encoding
    data: memoryview | list[Any]
    check_kind(path)
    [state] = disk_cache.states([path])
    try:
        data = read_bytes(path, min(limit, most_text(path)))
    except TooLarge:
        data = state
    head = io.BufferedReader(_raw(path, data)).read(4)
    if encoding is None and (head[:2] in (b"\xff\xfe", b"\xfe\xff") or head == b"\0\0\xfe\xff"):
        raise DataError(f"{path}: byte 0: is UTF-16 or UTF-32 text; {_other_encoding('utf-16')}")
    sample, whole = _sample(path, data, encoding)
    if not "".join(sample).strip():
        raise DataError(f"{path}: holds no row, only blanks; fetch or write it again")
    mark = _asked(separator, path) if separator else "\t" if ".tsv" in path.suffixes else _sniffed(sample, whole)
    first, *others = [[cell.strip() for cell in row] for row in _sample_rows(sample, mark, whole)] or [[]]
    has_header = header if header is not None else _is_header(first, others, known, Rules.of(reading))
    names = _names(first) if has_header else tuple(f"c{i}" for i in range(len(first)))
    shown = {"\t": "tab", " ": "blank"}.get(mark, repr(mark))
    why = f"separated by {shown}, " + (
        "first row is the header" if has_header else f"no header, columns c0 … c{len(names) - 1}"
    )
    unnamed = tuple(name for name, cell in zip(names, first, strict=True) if has_header and not cell)
    return TextFile(path, data, mark, has_header, names, why, encoding, tuple(n for n in unnamed if n != names[0]))


def _names(first: list[str]) -> tuple[str, ...]:
    """The names of a header; columns without one are called as pandas does: `Unnamed: 0`."""
    names: list[str] = []
    for place, cell in enumerate(first):
        name, count = cell or f"Unnamed: {place}", 0
        while not cell and name in first:
            count += 1
            name = f"Unnamed: {place}.{count}"
        names.append(name)
    return tuple(names)


class _View(io.RawIOBase):
    """Memory as a file, not copied."""

    def __init__(self, data: memoryview):
        self._rest = data

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        count = min(len(buffer), len(self._rest))
        buffer[:count], self._rest = self._rest[:count], self._rest[count:]
        return count


def _raw(path: Path, data: memoryview | list[Any]) -> io.RawIOBase:
    return _View(data) if isinstance(data, memoryview) else Stream(path, data)


def lines(path: Path, data: memoryview | list[Any], encoding: str | None = None) -> Iterator[str]:
    """The lines with their ends. Raises DataError for a line not in UTF-8 (or `encoding`), with NUL, or too long."""
    number = 0
    raw = io.BufferedReader(_raw(path, data), 1 << 20)
    text = io.TextIOWrapper(raw, _signed(encoding or "utf-8"), newline="")
    try:
        for number, line in enumerate(iter(partial(text.readline, MAX_LINE), ""), 1):
            if len(line) == MAX_LINE:
                raise DataError(
                    f"{path}: line {number:,} is longer than {format_bytes(MAX_LINE)}; is this a text table? give it "
                    f"line ends"
                )
            if "\0" in line:
                raise DataError(
                    f"{path}: line {number:,}, character {line.index(chr(0)) + 1:,} is NUL; the file is damaged, or "
                    f"UTF-16 text: {_other_encoding('utf-16')}"
                )
            yield line
    except UnicodeError as error:
        if _signed(encoding or "utf-8") == "utf-8-sig":
            raise DataError(_no_utf8(path, data)) from None
        raise DataError(
            f"{path}: after line {number:,}: is no {encoding} text ({str(error)[:100]}); name its encoding with "
            f"{option('encoding')}, or save it as UTF-8"
        ) from None


def _signed(encoding: str) -> str:
    """UTF-8 may begin with a mark."""
    return "utf-8-sig" if codecs.lookup(encoding).name == "utf-8" else encoding


def _other_encoding(encoding: str) -> str:
    return f"say so with {option('encoding', encoding)}, or save it as UTF-8"


def _no_utf8(path: Path, data: memoryview | list[Any]) -> str:
    place, line, rest, source = 0, 1, b"", _raw(path, data)
    while True:
        piece = source.read(1 << 20) or b""
        rest += piece
        try:
            _, used = codecs.utf_8_decode(rest, "strict", not piece)
        except UnicodeDecodeError as error:
            line += rest[: error.start].count(b"\n")
            return (
                f"{path}: byte {place + error.start:,} (line {line:,}) is 0x{rest[error.start]:02x}, which is no "
                f"UTF-8; if the file is Latin-1 or Windows-1252, {_other_encoding('latin-1')}"
            )
        if not piece:
            return f"{path}: is no UTF-8; save it as UTF-8"
        place, line, rest = place + used, line + rest[:used].count(b"\n"), rest[used:]


def _asked(separator: str, path: Path) -> str:
    separator = {"tab": "\t", "\\t": "\t"}.get(separator, separator)
    if len(separator) != 1 or separator in '"\r\n\0':
        raise DataError(
            f"{path}: the separator must be one character, got {separator!r}; for a tab write "
            f"{option('separator', 'tab')}"
        )
    return separator


def _sample(path: Path, data: memoryview | list[Any], encoding: str | None) -> tuple[list[str], bool]:
    """The first lines, and whether there are no others."""
    first: list[str] = []
    size = 0
    for line in lines(path, data, encoding):
        if len(first) >= _SAMPLE_LINES or (size >= _SAMPLE_CHARACTERS and len(first) > 1):
            return first, False
        for separator in _SEPARATORS:
            if (count := line.count(separator)) > MAX_CELLS:
                raise DataError(too_wide(path, count, separator))
        first.append(line)
        size += len(line)
    return first, True


def too_wide(path: Path, count: int, separator: str) -> str:
    return (
        f"{path}: a row holds {count:,} of {separator!r}, at most {MAX_CELLS:,} are supported; "
        f"is this a text table? close its quotes, or save it as an array with numpy.savez"
    )


def _sample_rows(sample: list[str], separator: str, whole: bool) -> list[list[str]]:
    rows: list[list[str]] = []
    try:
        rows.extend(csv.reader(sample, delimiter=separator, strict=True))
    except csv.Error:
        return [row for row in rows if row]
    return [row for row in (rows if whole or len(rows) < 2 else rows[:-1]) if row]  # the last one may be cut


def _sniffed(sample: list[str], whole: bool) -> str:
    """The separator that makes most rows equally long, the longest ones where several do."""
    best, best_score = ",", (0.0, 0)
    for separator in _SEPARATORS:
        widths = [len(row) for row in _sample_rows(sample, separator, whole)]
        usual, count = Counter(widths).most_common(1)[0] if widths else (1, 0)
        score = (count / len(widths), usual) if usual > 1 else (0.0, 0)
        if score > best_score:
            best, best_score = separator, score
    return best


def _is_header(first: list[str], others: list[list[str]], known: Sequence[str], rules: Rules) -> bool:
    if any(name in first for name in known):
        return True
    if first in ([str(i) for i in range(len(first))], [str(i + 1) for i in range(len(first))]) and len(first) > 2:
        return True  # the names that a data frame without names is written with
    named = first
    if len(first) > 1 and others and not first[0]:
        index = [row[0] for row in others if row]
        named = first[1:] if all(index) and len(set(index)) == len(index) else first  # as data frames are written
    if len(named) > 1 and not named[-1] and others and all(row and not row[-1] for row in others):
        named = named[:-1]  # a separator behind every row
    return len(set(named)) == len(named) and not any(map(rules.is_value, named))
