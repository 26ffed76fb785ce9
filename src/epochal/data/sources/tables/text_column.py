"""A column of text cells: what kind it has shows when all of them are read (see `cells`)."""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from epochal.data.sources.tables.cells import Rules, odd_cells
from epochal.data.sources.tables.column_builder import ColumnBuilder, ColumnInfo, as_feature, joined
from epochal.data.table import Column

_PLAIN = Rules()


@dataclass
class TextColumn(ColumnBuilder):
    """Numbers while all cells are numbers, else codes of texts."""

    rules: Rules = _PLAIN
    categorical: bool = False  # a category, whatever its cells look like
    turned: bool = False  # it is text after all, and has to be read again from its beginning
    small: Sequence[str] = ()  # the cells, while they are few
    numbers: int = 0
    unsure: int = 0  # cells ? or - that are missing among numbers
    counts: np.ndarray = field(default_factory=lambda: np.zeros(0, np.int64))  # cells of each text
    firsts: list[int] = field(default_factory=list)  # and the row of the first one
    words: set[str] = field(default_factory=set)  # that were read as missing values

    def extend(self, cells: Sequence[str], begin: int) -> None:
        """More cells, the first of which is of row `begin`."""
        if self.kind == "number" and not self.turned:
            if (numbers := self.rules.numbers(cells)) is not None:
                block, unsure = numbers
                self.add(block)
                self.numbers += len(block) - int(np.isnan(block).sum())
                self.unsure += unsure
                return
            # The first block with text makes texts of all cells; those before it may have to be read again.
            self.turned = bool(self.numbers or self.unsure)
            if not self.turned:
                self.become_category()
        if self.kind == "category":
            self.add(self._coded(cells, begin))

    def _coded(self, cells: Sequence[str], begin: int) -> np.ndarray:
        known, before = self.codes, len(self.codes)
        plain = [cell.strip() for cell in cells]
        for cell in dict.fromkeys(plain):
            if cell in known:
                continue
            if self.rules.is_missing(cell):
                self.words |= {cell} if cell and len(self.words) < 8 else set()
            else:
                self.add_text(cell)
        block = np.fromiter((known.get(cell, -1) for cell in plain), np.int32, len(plain))
        if len(known) > before:
            self.counts = np.concatenate([self.counts, np.zeros(len(known) - before, np.int64)])
            codes, rows = np.unique(block, return_index=True)
            self.firsts += (begin + rows[codes >= before]).tolist()
        self.counts += np.bincount(block + 1, minlength=len(known) + 1)[1:]
        return block

    def info(self, name: str) -> ColumnInfo:
        lookup = None
        if self.kind == "category" and not self.categorical:
            lookup = self.rules.booleans(list(self.codes))
        return replace(
            super().info(name), kind="boolean" if lookup else self.kind, lookup=lookup or (), words=sorted(self.words)
        )

    def column(self) -> Column:
        """The column as a feature, in memory; of few numbers also as texts."""
        column = as_feature(self.info(""), joined(self.chunks) if self.chunks else np.empty(0))
        if not self.small or column.kind != "number":
            return column
        texts = TextColumn("category", rules=self.rules)
        texts.extend(self.small, 0)
        return replace(column, text=Column("category", joined(texts.chunks), tuple(texts.codes)))

    def remark(self) -> dict[str, Any]:
        """What is odd about a column of text: see `cells.odd_cells`, and how many `unsure` cells are missing."""
        info = self.info("")
        if info.kind != "category":
            unsure = [int(n) for text, n in zip(self.codes, self.counts, strict=True) if self.rules.is_unsure(text)]
            count = sum(unsure) if info.lookup else self.unsure
            return {"unsure": count} if count else {}
        if self.categorical:
            return {}
        odd = odd_cells(info.texts, self.counts.tolist(), self.rules)
        return odd | {"row": self.firsts[odd["odd"]], "cell": info.texts[odd["odd"]]} if odd else {}
