"""Tables that take more than the memory granted, converted once to a file of the user's cache."""

from bisect import bisect_right
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import replace
from typing import Any

import numpy as np

from epochal.data import column_file as cells
from epochal.data.column_file import ColumnWriter
from epochal.data.rows import FileRows
from epochal.data.sources.tables.cells import Rules
from epochal.data.sources.tables.roles import Roles
from epochal.data.sources.tables.splits import KeyColumn
from epochal.data.sources.tables.text_form import TextFile
from epochal.data.sources.tables.text_tables import Grown, read_columns
from epochal.data.table import Column
from epochal.errors import DataError
from epochal.system import disk_cache
from epochal.system.disk_cache import Entry

CELLS = "cells"
_FORMS = {"whole": "i8", "category": "i4", "boolean": "f8", "number": "f8"}


def columns(entry: Entry, forms: Sequence[tuple[str, Sequence[float]]]) -> list[FileRows]:
    """The columns of an entry. Raises DataError where it has gone."""
    try:
        return cells.opened(entry.folder / CELLS, entry.metadata["starts"], forms)
    except OSError as error:
        raise DataError(f"{entry.folder}: cannot be read: {error.strerror or error}; try again") from None


def columnar(key: str, limit: int, read: Callable[[str], dict[str, Any]]) -> tuple[dict[str, Any], Entry | None]:
    """What `read` answers, in the form of `columnar`: it reads to memory, or where that is too small to a file.

    `read` is called with no name, and says `larger` where the columns do not fit; then with the name of a file, or not
    at all where an entry is there.
    """
    entry = disk_cache.find(key)
    if entry is None or entry.metadata["bytes"] <= limit:
        answer = read("")
        if "larger" not in answer:
            return answer, None
        with disk_cache.writing(key) as writer:
            answer = read(str(writer.folder / CELLS))
            told = {
                "columns": answer["columns"],
                **{name: answer[name] for name in ("rows", "names", "starts", "index")},
            }
            rows = sum(answer["rows"])
            size = sum(rows * (4 if one[1] == "category" else 8) + _text_bytes(one[3]) for one in told["columns"])
            entry = writer.commit(told | {"bytes": max(size, limit + 1)}, {CELLS: answer["digest"]})
    told = entry.metadata["columns"]
    found = columns(entry, [(_FORMS[one[1]], ()) for one in told])
    plain = [[name, kind, [values], *rest] for (name, kind, _, *rest), values in zip(told, found, strict=True)]
    return entry.metadata | {"columns": plain}, entry


def _text_bytes(texts: Sequence[str]) -> int:
    return sum(160 + 4 * len(text) for text in texts)


class Text:
    """What text tables hold: features, columns of labels, splits, groups and times, and where rows begin."""

    def __init__(self, files: Sequence[TextFile], roles: Roles, rules: Rules, limit: int):
        """Read them, or find what was kept of them. Raises DataError."""
        self.files, self.roles, self.rules, self.entry = files, roles, rules, None
        paths = [file.path for file in files]
        states = disk_cache.states(paths)
        forms = [[file.separator, file.header, list(file.names), file.encoding] for file in files]
        key = disk_cache.key(["text", states, forms, roles.features, roles.keys, roles.categorical, rules.plain()])
        found = disk_cache.find(key)
        if found and found.metadata["bytes"] > limit:
            self.entry = found
        else:
            self._read(key, states, limit)
        self.files = [replace(file, data=memoryview(b"")) for file in files]  # the text is not needed any more
        self._open()

    def _read(self, key: str, states: list[Any], limit: int) -> None:
        making: list[disk_cache.EntryWriter] = []
        with ExitStack() as stack:

            def keep() -> ColumnWriter:
                if not making:
                    making.append(stack.enter_context(disk_cache.writing(key)))
                name, size = str(self.files[0].path), sum(state[1] for state in states)
                return stack.enter_context(ColumnWriter(making[0].folder / CELLS, name, size))

            self._grown = read_columns(self.files, self.roles, self.rules, limit, keep)
            if self._grown.kept:
                disk_cache.unchanged([file.path for file in self.files], states)
                self.entry = making[0].commit(_told(self._grown, self.roles), {CELLS: self._grown.kept.digest})

    def _open(self) -> None:
        if self.entry is None:
            grown = self._grown.columns
            self.remarks = self._grown.remarks(self.roles.features)
            self._starts, self._lines = self._grown.starts, self._grown.lines
            del self._grown
            self.columns = {name: grown.pop(name).column() for name in self.roles.features}
            self.told = {name: grown.pop(name).told() for name in self.roles.keys}
            return
        told = self.entry.metadata
        forms = {name: ("f8" if kind == "number" else "i4", lookup) for name, kind, _, lookup, _ in told["columns"]}
        forms |= dict.fromkeys(self.roles.keys, ("i4", ()))
        *found, self._lines = columns(self.entry, [*forms.values(), ("i8", ())])
        self.columns, self.told = {}, {}
        for (name, kind, texts, _, words), values in zip(told["columns"], found, strict=True):
            if name in self.roles.keys:
                self.told[name] = KeyColumn(np.asarray(values), texts, tuple(words))
            else:
                self.columns[name] = Column(kind, values, tuple(texts) if kind == "category" else ())
        self.remarks, self._starts = told["remarks"], told["files"]

    def place(self, row: int) -> str:
        """File, row and line."""
        at = bisect_right(self._starts, row) - 1
        return f"{self.files[at].path}: row {row - self._starts[at]:,} (line {int(self._lines[row]):,})"


def _told(grown: Grown, roles: Roles) -> dict[str, Any]:
    assert grown.kept
    return {
        "columns": [column.plain(name) for name, column in grown.columns.items()],
        "starts": grown.kept.starts,
        "files": grown.starts,
        "remarks": grown.remarks(roles.features),
        "bytes": grown.bytes,
    }
