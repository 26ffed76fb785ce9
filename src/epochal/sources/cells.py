"""A column of text that grows by blocks of cells, until all of them tell of what kind it is.

Cells are stripped of blanks. One that is empty, or a word for it (NA, N/A, NaN, null, None in any case), is missing.
A column is of numbers where every other cell is one such as 1, -1.5 or 1e-3 (`1,5`, `0x1F` and `1_000` are text); of
booleans where every other one is true or false, yes or no; else a category.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from epochal.sources.roles import Told
from epochal.table import Column

_ABSENT = ("", "na", "n/a", "nan", "null", "none")
_WORDS = frozenset(form for word in _ABSENT for form in (word, word.upper(), word.title(), "NaN", "N/a"))
_BOOLEANS = {"true": 1.0, "yes": 1.0, "false": 0.0, "no": 0.0}
_OF_NUMBERS = b"0123456789+-.eE \t\n"
_INFINITE = frozenset({"inf", "infinity"})
_ENTRY_BYTES = 160  # of a text in a dictionary, beside its characters


def is_missing(cell: str) -> bool:
    """Whether a cell, stripped of blanks, is empty or a word for a missing value."""
    return cell in _WORDS or (len(cell) <= 4 and cell.lower() in _ABSENT)


def is_value(cell: str) -> bool:
    """Whether a cell, stripped of blanks, is a number, a boolean or missing, and so hardly the name of a column."""
    return is_missing(cell) or cell.lower() in _BOOLEANS or number(cell) is not None


def number(cell: str) -> float | None:
    """The number in a cell, None where it is none."""
    try:
        value = float(cell)
    except ValueError:
        return None
    strict = cell.isascii() and not cell.encode().translate(None, _OF_NUMBERS)
    return value if strict or cell.lower().lstrip("+-") in _INFINITE else None


@dataclass
class Growing:
    """A column that grows by blocks: as numbers while all cells are, as codes of texts where `text`."""

    text: bool = False
    blocks: list[np.ndarray] = field(default_factory=list)
    codes: dict[str, int] = field(default_factory=dict)
    bytes: int = 0
    odd: tuple[int, str] | None = None  # row and cell that is no number, after cells that are
    small: list[Sequence[str]] = field(default_factory=list)  # the cells, while they are few
    numbers: int = 0
    kept: bool = False  # the first blocks are in a file

    def extend(self, cells: Sequence[str], begin: int) -> None:
        """More cells, the first of which is of row `begin`."""
        if not self.text and self.odd is None:
            block = _numbers(cells)
            if block is not None:
                self.blocks.append(block)
                self.bytes += block.nbytes
                self.numbers += len(block) - int(np.isnan(block).sum())
                return
            self._turn(cells, begin)
        if self.text:
            block = self._coded(cells)
            self.blocks.append(block)
            self.bytes += block.nbytes

    def _turn(self, cells: Sequence[str], begin: int) -> None:
        """The first cell that is no number makes texts of all cells; those of earlier blocks have to be read again."""
        for row, cell in enumerate(cells):
            if not is_missing(plain := cell.strip()) and number(plain) is None:
                self.odd = (begin + row, plain)
                break
            self.numbers += not is_missing(plain)
        if not self.numbers:
            self.odd = None
        if not self.numbers or not (self.blocks or self.kept):
            self.text = True
            self.blocks = [np.full(len(block), -1, np.int32) for block in self.blocks]

    def _coded(self, cells: Sequence[str]) -> np.ndarray:
        known = self.codes
        plain = [cell.strip() for cell in cells]
        for cell in dict.fromkeys(plain):
            if cell not in known and not is_missing(cell):
                known[cell] = len(known)
                self.bytes += _ENTRY_BYTES + 4 * len(cell)
        return np.fromiter((known.get(cell, -1) for cell in plain), np.int32, len(plain))

    def taken(self) -> np.ndarray:
        """The cells in memory, float64 with NaN for a missing one, which are let go."""
        cells = np.concatenate(self.blocks).astype(np.float64)
        if self.text:
            cells[cells < 0] = np.nan
        self.bytes -= sum(block.nbytes for block in self.blocks)
        self.blocks, self.kept, self.small = [], True, []
        return cells

    def plain(self, name: str) -> list[Any]:
        """What a file of cells does not tell: name, kind, texts, the numbers that they mean where they are booleans."""
        if not self.text:
            return [name, "number", [], []]
        texts = list(self.codes)
        if texts and all(text.lower() in _BOOLEANS for text in texts):
            return [name, "boolean", texts, [_BOOLEANS[text.lower()] for text in texts]]
        return [name, "category", texts, []]

    def column(self) -> Column:
        """What has grown."""
        if not self.text:
            return Column("number", np.concatenate(self.blocks) if self.blocks else np.empty(0), text=self._as_text())
        codes, texts = np.concatenate(self.blocks), tuple(self.codes)
        if texts and all(text.lower() in _BOOLEANS for text in texts):
            values = np.array([*(_BOOLEANS[text.lower()] for text in texts), np.nan])[codes]
            return Column("boolean", values, text=Column("category", codes, texts))
        return Column("category", codes, texts)

    def told(self) -> Told:
        """What has grown, where it is text: as labels, splits, groups or times."""
        return Told(np.concatenate(self.blocks), tuple(self.codes))

    def _as_text(self) -> Column | None:
        if not self.small:
            return None
        other = Growing(text=True)
        for cells in self.small:
            other.extend(cells, 0)
        return Column("category", np.concatenate(other.blocks), tuple(other.codes))


def _numbers(cells: Sequence[str]) -> np.ndarray | None:
    """The cells as numbers, NaN where one is missing; None where one is neither."""
    for absent in (frozenset(), _WORDS):  # most columns miss nothing, and need no look-up
        told = [cell for cell in cells if cell not in absent] if absent else cells
        joined = "\n".join(told)
        if joined.isascii() and not joined.encode().translate(None, _OF_NUMBERS):
            try:
                if told is cells:
                    return np.fromiter(map(float, cells), np.float64, len(cells))
                return np.fromiter(
                    (np.nan if cell in absent else float(cell) for cell in cells), np.float64, len(cells)
                )
            except ValueError:
                continue  # some are empty, or texts such as 1-2
    out = np.empty(len(cells))
    for row, cell in enumerate(cells):
        plain = cell.strip()
        value = np.nan if is_missing(plain) else number(plain)
        if value is None:
            return None
        out[row] = value
    return out
