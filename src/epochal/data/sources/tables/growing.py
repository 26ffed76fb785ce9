"""A column of text that grows by blocks of cells, until all of them tell of what kind it is (see `cells`)."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from epochal.data.sources.tables.cells import Rules, odd_cells
from epochal.data.sources.tables.splits import KeyColumn
from epochal.data.table import Column

_ENTRY_BYTES = 184  # of a text in a dictionary, beside its characters, with its count and its first row
_PLAIN = Rules()


@dataclass
class Growing:
    """A column that grows by blocks: as numbers while all cells are, as codes of texts where `text`."""

    rules: Rules = _PLAIN
    text: bool = False
    categorical: bool = False  # a category, whatever its cells look like
    blocks: list[np.ndarray] = field(default_factory=list)
    codes: dict[str, int] = field(default_factory=dict)
    bytes: int = 0
    turned: bool = False  # it is text after all, and has to be read again from its beginning
    small: list[Sequence[str]] = field(default_factory=list)  # the cells, while they are few
    numbers: int = 0
    unsure: int = 0  # cells ? or - that are missing among numbers
    kept: bool = False  # the first blocks are in a file
    counts: np.ndarray = field(default_factory=lambda: np.zeros(0, np.int64))  # cells of each text
    firsts: list[int] = field(default_factory=list)  # and the row of the first one
    words: set[str] = field(default_factory=set)  # that were taken for missing values

    def extend(self, cells: Sequence[str], begin: int) -> None:
        """More cells, the first of which is of row `begin`."""
        if not self.text and not self.turned:
            found = self.rules.numbers(cells)
            if found is not None:
                block, unsure = found
                self.blocks.append(block)
                self.bytes += block.nbytes
                self.numbers += len(block) - int(np.isnan(block).sum())
                self.unsure += unsure
                return
            self._turn()
        if self.text:
            block = self._coded(cells, begin)
            self.blocks.append(block)
            self.bytes += block.nbytes

    def _turn(self) -> None:
        """The first block with text makes texts of all cells; those of earlier blocks may have to be read again."""
        if self.numbers or self.unsure:
            self.turned = True
        else:
            self.text = True
            self.blocks = [np.full(len(block), -1, np.int32) for block in self.blocks]

    def _coded(self, cells: Sequence[str], begin: int) -> np.ndarray:
        known, before = self.codes, len(self.codes)
        plain = [cell.strip() for cell in cells]
        for cell in dict.fromkeys(plain):
            if cell in known:
                continue
            if self.rules.is_missing(cell):
                self.words |= {cell} if cell and len(self.words) < 8 else set()
                continue
            known[cell] = len(known)
            self.bytes += _ENTRY_BYTES + 4 * len(cell)
        block = np.fromiter((known.get(cell, -1) for cell in plain), np.int32, len(plain))
        if len(known) > before:
            self.counts = np.concatenate([self.counts, np.zeros(len(known) - before, np.int64)])
            found, rows = np.unique(block, return_index=True)
            self.firsts += (begin + rows[found >= before]).tolist()
        self.counts += np.bincount(block + 1, minlength=len(known) + 1)[1:]
        return block

    def taken(self) -> np.ndarray:
        """The cells in memory, float64 with NaN for a missing one, which are let go."""
        cells = np.concatenate(self.blocks).astype(np.float64)
        if self.text:
            cells[cells < 0] = np.nan
        self.bytes -= sum(block.nbytes for block in self.blocks)
        self.blocks, self.kept, self.small = [], True, []
        return cells

    def plain(self, name: str) -> list[Any]:
        """What a file of cells does not tell: name, kind, texts, what they mean as booleans, words for missing ones."""
        kind, lookup = self._kind()
        return [name, kind, list(self.codes), lookup, sorted(self.words)]

    def column(self) -> Column:
        """What has grown."""
        kind, lookup = self._kind()
        if kind == "number":
            return Column("number", np.concatenate(self.blocks) if self.blocks else np.empty(0), text=self._as_text())
        codes, texts = np.concatenate(self.blocks), tuple(self.codes)
        category = Column("category", codes, texts)
        return Column("boolean", np.array([*lookup, np.nan])[codes], text=category) if lookup else category

    def told(self) -> KeyColumn:
        """What has grown, where it is text: as labels, splits, groups or times."""
        return KeyColumn(np.concatenate(self.blocks), tuple(self.codes), tuple(sorted(self.words)))

    def remark(self) -> dict[str, Any]:
        """What is odd about a column of text: see `cells.odd_cells`, and how many `unsure` cells are missing."""
        kind, lookup = self._kind()
        if kind != "category":
            unsure = [int(n) for text, n in zip(self.codes, self.counts, strict=True) if self.rules.is_unsure(text)]
            count = sum(unsure) if lookup else self.unsure
            return {"unsure": count} if count else {}
        if self.categorical:
            return {}
        texts = list(self.codes)
        odd = odd_cells(texts, self.counts.tolist(), self.rules)
        return odd | {"row": self.firsts[odd["odd"]], "cell": texts[odd["odd"]]} if odd else {}

    def _kind(self) -> tuple[str, list[float]]:
        if not self.text:
            return "number", []
        lookup = None if self.categorical else self.rules.booleans(list(self.codes))
        return ("boolean", lookup) if lookup else ("category", [])

    def _as_text(self) -> Column | None:
        if not self.small:
            return None
        other = Growing(self.rules, text=True)
        for cells in self.small:
            other.extend(cells, 0)
        return Column("category", np.concatenate(other.blocks), tuple(other.codes))
