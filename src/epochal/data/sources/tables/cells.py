"""What cells of text mean: the rules of numbers, booleans, categories and missing values, all in this place.

Cells are stripped of blanks. One that is empty, or a known word for it (NA, N/A, NaN, null, None, <NA>, #N/A, n.a. in
any case), is missing. A column is of numbers where every other cell is one such as 1, -1.5 or 1e-3 (`1,5`, `0x1F` and
`1_000` are text, unless the user says what the marks mean); of booleans where every other one is true or false, yes or
no; else a category. `?` and `-` are missing among numbers and booleans, and values among texts.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np

from epochal.data.options import Reading, words

UNSURE = ("?", "-")
_KNOWN = ("na", "n/a", "nan", "-nan", "null", "none", "<na>", "#n/a", "#na", "n.a.")
_LONGEST = max(map(len, _KNOWN))
_BOOLEANS = {"true": 1.0, "yes": 1.0, "false": 0.0, "no": 0.0}
_OF_NUMBERS = b"0123456789+-.eE \t\n"
_INFINITE = frozenset({"inf", "infinity"})
_LIKE_NUMBER = re.compile(
    r"[$€£¥]?\s?[+-]?\s?(?:[0-9]{1,3}(?:[.,' \u00a0\u202f][0-9]{3})+|[0-9]+)(?:[.,][0-9]+)?\s?[%$€£¥]?"
)
_MANY_NUMBERS = 20  # texts of numbers alone, of a column that is text by its type: fewer may well be codes


@dataclass(frozen=True)
class Rules:
    """What the user says of the cells: the marks of numbers, and words for a missing value."""

    decimal: str = "."
    thousands: str = ""
    missing: tuple[str, ...] = ()
    known: bool = True

    @classmethod
    def of(cls, reading: Reading) -> "Rules":
        decimal = reading.decimal or ("," if reading.thousands == "." else ".")
        return cls(decimal, reading.thousands or "", tuple(words(reading.missing)), reading.known_missing)

    def plain(self) -> list[Any]:
        return [self.decimal, self.thousands, list(self.missing), self.known]

    @cached_property
    def words(self) -> frozenset[str]:
        """Cells that are missing values, in the usual spellings."""
        known = [form for word in _KNOWN for form in (word, word.upper(), word.title())] if self.known else []
        return frozenset(("", *self.missing, *known, *(("NaN", "N/a") if self.known else ())))

    @cached_property
    def _number(self) -> re.Pattern[str] | None:
        if not self.thousands and self.decimal == ".":
            return None
        mark, point = re.escape(self.thousands), re.escape(self.decimal)
        grouped = rf"[0-9]{{1,3}}(?:{mark}[0-9]{{3}})+|" if mark else ""
        return re.compile(rf"[+-]?(?:{grouped}[0-9]+)?(?:{point}[0-9]*)?(?:[eE][+-]?[0-9]+)?")

    def is_missing(self, cell: str) -> bool:
        """Whether a cell, stripped of blanks, is empty or a word for a missing value."""
        return cell in self.words or (self.known and len(cell) <= _LONGEST and cell.lower() in _KNOWN)

    def is_unsure(self, cell: str) -> bool:
        """Whether a cell is missing among numbers, and a value among texts."""
        return self.known and cell in UNSURE

    def is_value(self, cell: str) -> bool:
        """Whether a cell, stripped of blanks, is a number, a boolean or missing, and so hardly the name of a column."""
        return self.is_missing(cell) or cell.lower() in _BOOLEANS or self.number(cell) is not None

    def number(self, cell: str) -> float | None:
        if self._number is not None and cell.lower().lstrip("+-") not in _INFINITE:
            if not self._number.fullmatch(cell):
                return None
            cell = cell.replace(self.thousands, "") if self.thousands else cell
            cell = cell.replace(self.decimal, ".")
        try:
            value = float(cell)
        except ValueError:
            return None
        strict = cell.isascii() and not cell.encode().translate(None, _OF_NUMBERS)
        return value if strict or cell.lower().lstrip("+-") in _INFINITE else None

    def numbers(self, cells: Sequence[str]) -> tuple[np.ndarray, int] | None:
        """The cells as numbers, NaN where one is missing, and how many are so by `?` or `-`; None where one is text."""
        for absent in self._passes:
            present = [cell for cell in cells if cell not in absent] if absent else cells
            joined = "\n".join(present)
            if joined.isascii() and not joined.encode().translate(None, _OF_NUMBERS):
                try:
                    if present is cells:
                        return np.fromiter(map(float, cells), np.float64, len(cells)), 0
                    values = (np.nan if cell in absent else float(cell) for cell in cells)
                    return np.fromiter(values, np.float64, len(cells)), 0
                except ValueError:
                    continue  # some are empty, or texts such as 1-2
        out, unsure = np.empty(len(cells)), 0
        for row, cell in enumerate(cells):
            plain = cell.strip()
            value = np.nan if self.is_missing(plain) else self.number(plain)
            if value is None and self.is_unsure(plain):
                value, unsure = np.nan, unsure + 1
            if value is None:
                return None
            out[row] = value
        return out, unsure

    @cached_property
    def _passes(self) -> tuple[frozenset[str], ...]:
        """Words left out before cells are read as plain numbers: most columns miss nothing, and need no look-up."""
        if self._number is not None:
            return ()
        return (self.words,) if any(self.number(word) is not None for word in self.words) else (frozenset(), self.words)

    def booleans(self, texts: Sequence[str]) -> list[float] | None:
        """What the texts of a column mean where they are booleans, NaN for a missing one; None where they are none."""
        sure = [text for text in texts if not self.is_unsure(text)]
        if not sure or not all(text.lower() in _BOOLEANS for text in sure):
            return None
        return [_BOOLEANS.get(text.lower(), np.nan) for text in texts]


def odd_cells(texts: Sequence[str], counts: Sequence[int], rules: Rules, *, typed: bool = False) -> dict[str, Any]:
    """What is odd about a column of texts most of which are numbers; empty where they are not.

    `odd` numbers the first text that is none, `count` the cells of such texts among all `of`; `remedy` are options of a
    text table that would make numbers of most. A column is `typed` where its file says that it is text.
    """
    total = sum(counts)
    odd = [i for i, text in enumerate(texts) if rules.number(text) is None]
    count = sum(counts[i] for i in odd)
    if 2 * count < total:
        if not odd:
            return {"of": total, "count": 0, "odd": 0} if typed and len(texts) > _MANY_NUMBERS else {}
        words = [texts[i] for i in odd] if len(odd) <= 3 else []
        return {"of": total, "count": count, "odd": odd[0], "words": words}
    like = [i for i in odd if _LIKE_NUMBER.fullmatch(texts[i])]
    if not like or 2 * (sum(counts[i] for i in like) + total - count) <= total:
        return {}
    ways = [{"thousands": ","}, {"decimal": ","}, {"thousands": ".", "decimal": ","}, {"thousands": " "}]
    if any(texts[i].startswith("0,") for i in like):
        ways.remove({"thousands": ","})
    for marks in ways:
        other = Rules(marks.get("decimal", "."), marks.get("thousands", ""))
        if 2 * sum(counts[i] for i, text in enumerate(texts) if other.number(text) is not None) > total:
            return {"of": total, "count": count, "odd": like[0], "remedy": marks}
    return {"of": total, "count": count, "odd": like[0], "remedy": {}}
