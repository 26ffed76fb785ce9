"""The rows of one split of a `datasets` data set: in files, which other processes read, or in an object."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import accumulate
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from epochal.data.column_file import HARMLESS_BYTES, MOST_FOLD
from epochal.data.options import Reading
from epochal.data.rows import Rows
from epochal.data.sources.files import brief, read_bytes
from epochal.data.sources.huggingface import arrow_columns, files
from epochal.data.sources.images.buffer import FILE as ROWS
from epochal.data.sources.images.buffer import stored
from epochal.data.sources.images.decoder import ImageSpec
from epochal.data.sources.images.workers import decoded
from epochal.data.sources.tables import converted
from epochal.data.sources.tables.roles import Roles
from epochal.errors import DataError
from epochal.system import disk_cache, isolated
from epochal.system.aligned import frozen

_SECONDS, _BYTES_A_SECOND = 60.0, 2e6  # far below what any decoder does: who needs longer hangs


class Source(Protocol):
    """The rows of one split, wherever they are. Columns are called by their names."""

    @property
    def where(self) -> str:
        """What messages begin with."""
        ...

    @property
    def outline(self) -> dict[str, Any]:
        """Rows of each file, names of the columns, and their kinds: image, array, cell."""
        ...

    def place(self, row: int) -> str:
        """The file and the row, for messages."""
        ...

    def images(self, column: str, reading: Reading) -> tuple[Rows, list[str]]:
        """A column of encoded images, decoded, and what was done to them, and where they are kept."""
        ...

    def array(self, column: str) -> tuple[Rows, list[str]]:
        """A column of nested lists, and where it is kept."""
        ...

    def cells(self, found: Roles, classes: Mapping[str, list[str]]) -> tuple[list[list[Any]], list[str]]:
        """Columns that have a role, in the plain form of `columnar`, and where they are kept."""
        ...


@dataclass(frozen=True)
class Files:
    """Arrow streams, one after the other."""

    where: str
    paths: Sequence[Path]
    limit: int

    @property
    def _size(self) -> int:
        return sum(path.stat().st_size for path in self.paths)

    def _called(self, function: Any, *arguments: Any) -> Any:
        where = str(self.paths[0]) if len(self.paths) == 1 else self.where
        return isolated.call(
            function, [str(path) for path in self.paths], *arguments,
            where=where, memory_bytes=2 * self.limit + self._size, seconds=_SECONDS + self._size / _BYTES_A_SECOND,
        )  # fmt: skip

    @cached_property
    def outline(self) -> dict[str, Any]:
        """Also checks that every file ends as it should."""
        return self._called(files.outline)

    def place(self, row: int) -> str:
        """The file and the row in it."""
        ends = list(accumulate(self.outline["rows"]))
        at = next(i for i, end in enumerate(ends) if row < end)
        return f"{self.paths[at]}: row {row - ends[at] + self.outline['rows'][at]:,}"

    def images(self, column: str, reading: Reading) -> tuple[Rows, list[str]]:
        """Decoded by several processes, each with some of the rows."""
        names = [str(path) for path in self.paths]
        asked = ImageSpec.of(reading, sum(self.outline["rows"]), self.limit)
        decode = (files.decode_rows, lambda rows: [names, column, rows.start, rows.stop])
        return decoded(
            asked, decode, lambda rows: _several(self, rows), lambda: [column, disk_cache.states(self.paths)]
        )

    def array(self, column: str) -> tuple[Rows, list[str]]:
        """Read by another process."""
        states = disk_cache.states(self.paths)
        key = disk_cache.key(["array", states, column])
        entry = disk_cache.find(key)
        if entry is None or entry.bytes <= self.limit:
            answer = self._called(files.read_arrays, column, self.limit)
            if "larger" not in answer:
                return frozen(answer["x"]), []
            with disk_cache.writing(key) as writer:
                most = max(MOST_FOLD * self._size, HARMLESS_BYTES)
                file = str(writer.folder / ROWS)
                told = self._called(files.read_arrays, column, self.limit, file, most)
                disk_cache.unchanged(self.paths, states)
                entry = writer.commit(told, {ROWS: told.pop("digest")})
        x = stored(entry, tuple(entry.metadata["shape"]), np.dtype(entry.metadata["dtype"]))
        return x, [entry.note(f"{self.where}: column {column!r} takes", self.limit)]

    def cells(self, found: Roles, classes: Mapping[str, list[str]]) -> tuple[list[list[Any]], list[str]]:
        """Read by another process."""
        told = [found.features, found.categorical, found.label, found.split, found.group, found.time]
        states = disk_cache.states(self.paths)

        def read(file: str) -> Any:
            asked = (told, dict(classes), self.where, self.limit, file, self._size)
            answer = self._called(files.read_cells, *asked)
            disk_cache.unchanged(self.paths, states)
            return answer

        answer, entry = converted.columnar(disk_cache.key(["cells", states, told, dict(classes)]), self.limit, read)
        note = [entry.note(f"{self.where}: its columns take", self.limit)] if entry else []
        return answer["columns"], note


@dataclass(frozen=True, eq=False)
class Held:
    """A table in memory; `order` numbers its rows, where not all of them in order are meant."""

    where: str
    table: Any
    order: np.ndarray | None
    limit: int

    @cached_property
    def outline(self) -> dict[str, Any]:
        """As of a file."""
        schema = self.table.schema
        rows = len(self.table) if self.order is None else len(self.order)
        return {"rows": [rows], "names": schema.names, "kinds": [arrow_columns.kind(field.type) for field in schema]}

    def place(self, row: int) -> str:
        """The row as the user counts it."""
        return f"{self.where}: row {row:,}"

    def _batches(self, columns: Sequence[str], rows: range | None = None) -> Iterator[tuple[str, int, Any]]:
        rows = range(self.outline["rows"][0]) if rows is None else rows
        try:
            table = self.table.select(list(dict.fromkeys(columns)))
            if self.order is None:
                table = table.slice(rows.start, len(rows))
            else:
                table = table.take(self.order[rows.start : rows.stop])
            batches = [batch for batch in table.combine_chunks().to_batches() if batch.num_rows]
        except (ValueError, TypeError, IndexError, NotImplementedError) as error:
            raise DataError(
                f"{self.where}: its table cannot be read ({brief(error)[:200]}); save it with save_to_disk and name "
                f"the folder"
            ) from None
        first = rows.start
        for batch in batches:
            yield self.where, first, batch
            first += batch.num_rows

    def images(self, column: str, reading: Reading) -> tuple[Rows, list[str]]:
        """Sent to several processes, which decode them."""

        def told(rows: range) -> list[Any]:
            found = arrow_columns.encoded(self._batches([column], rows), column, self._fetched)
            names, pieces = zip(*found, strict=True)
            sizes = np.array([len(piece) for piece in pieces], np.int64)
            return [list(names), np.frombuffer(b"".join(pieces), np.uint8), sizes]

        asked = ImageSpec.of(reading, self.outline["rows"][0], self.limit)
        return decoded(asked, (arrow_columns.decode_bytes, told), lambda rows: _several(self, rows))

    def _fetched(self, path: str) -> memoryview:
        return read_bytes(Path(path), self.limit)

    def array(self, column: str) -> tuple[Rows, list[str]]:
        """Made here."""
        return arrow_columns.arrays(self._batches([column]), column, self.limit), []

    def cells(self, found: Roles, classes: Mapping[str, list[str]]) -> tuple[list[list[Any]], list[str]]:
        """Made here."""
        wanted = [*found.features, *found.keys]
        if not wanted:
            return [], []
        grown = arrow_columns.cells(self._batches(wanted), found, classes, self.where, self.limit)
        return [column.plain(name) for name, column in grown.items()], []


def _several(source: Source, rows: range) -> str:
    place = source.place(rows.start)
    return place if len(rows) == 1 else f"{place} to {rows.stop - 1:,}"
