"""The rows of one split of a `datasets` data set: in files, which other processes read, or in an object."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import accumulate
from pathlib import Path
from typing import Any

import numpy as np

from epochal.data.column_file import HARMLESS_BYTES, MOST_FOLD
from epochal.data.options import Reading
from epochal.data.rows import ROWS, Rows, entry_rows
from epochal.data.sources.files import brief, read_bytes
from epochal.data.sources.huggingface import arrow_columns, files
from epochal.data.sources.images.decoder import ImageSpec
from epochal.data.sources.images.workers import decoded
from epochal.data.sources.tables.arrow_tables import Columns, read_isolated
from epochal.data.sources.tables.roles import Roles
from epochal.errors import DataError
from epochal.system import disk_cache, isolated
from epochal.system.aligned import frozen
from epochal.system.disk_cache import Overflow


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
            where=where, memory_bytes=2 * self.limit + self._size, seconds=isolated.time_limit(self._size),
        )  # fmt: skip

    @cached_property
    def outline(self) -> dict[str, Any]:
        return self._called(files.outline)

    def place(self, row: int) -> str:
        ends = list(accumulate(self.outline["rows"]))
        at = next(i for i, end in enumerate(ends) if row < end)
        return f"{self.paths[at]}: row {row - ends[at] + self.outline['rows'][at]:,}"

    def images(self, column: str, reading: Reading) -> tuple[Rows, list[str]]:
        """A column of encoded images, decoded, and what was done to them, and where they are kept."""
        names = [str(path) for path in self.paths]
        spec = ImageSpec.of(reading, sum(self.outline["rows"]), self.limit)
        decode = (files.decode_rows, lambda rows: [names, column, rows.start, rows.stop])
        return decoded(spec, decode, lambda rows: _several(self, rows), lambda: [column, disk_cache.states(self.paths)])

    def array(self, column: str) -> tuple[Rows, list[str]]:
        with Overflow(["array", column], self.limit, self.paths) as overflow:
            if overflow.entry is None:
                answer = self._called(files.read_arrays, column, self.limit)
                if "larger" not in answer:
                    return frozen(answer["x"]), []
                most, file = max(MOST_FOLD * self._size, HARMLESS_BYTES), str(overflow.folder / ROWS)
                answer = self._called(files.read_arrays, column, self.limit, file, most)
                overflow.commit(answer, {ROWS: answer.pop("digest")})
        assert overflow.entry
        x = entry_rows(overflow.entry, overflow.entry.metadata["shape"], overflow.entry.metadata["dtype"])
        return x, overflow.notes(f"{self.where}: column {column!r} takes")

    def cells(self, assigned: Roles, classes: Mapping[str, list[str]]) -> tuple[Columns, list[str]]:
        roles = [assigned.features, assigned.categorical, assigned.label, assigned.split, assigned.group, assigned.time]

        def read(file: str) -> Any:
            return self._called(files.read_cells, roles, dict(classes), self.where, self.limit, file, self._size)

        with Overflow(["cells", roles, dict(classes)], self.limit, self.paths) as overflow:
            columns, _ = read_isolated(overflow, read)
        return columns, overflow.notes(f"{self.where}: its columns take")


@dataclass(frozen=True, eq=False)
class Held:
    """A table in memory; `order` numbers its rows, where not all of them in order are meant."""

    where: str
    table: Any
    order: np.ndarray | None
    limit: int

    @cached_property
    def outline(self) -> dict[str, Any]:
        schema = self.table.schema
        rows = len(self.table) if self.order is None else len(self.order)
        return {"rows": [rows], "names": schema.names, "kinds": [arrow_columns.kind(field.type) for field in schema]}

    def place(self, row: int) -> str:
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
        def arguments(rows: range) -> list[Any]:
            images = arrow_columns.encoded(self._batches([column], rows), column, self._fetched)
            names, pieces = zip(*images, strict=True)
            sizes = np.array([len(piece) for piece in pieces], np.int64)
            return [list(names), np.frombuffer(b"".join(pieces), np.uint8), sizes]

        spec = ImageSpec.of(reading, self.outline["rows"][0], self.limit)
        return decoded(spec, (arrow_columns.decode_bytes, arguments), lambda rows: _several(self, rows))

    def _fetched(self, path: str) -> memoryview:
        return read_bytes(Path(path), self.limit)

    def array(self, column: str) -> tuple[Rows, list[str]]:
        return arrow_columns.arrays(self._batches([column]), column, self.limit), []

    def cells(self, assigned: Roles, classes: Mapping[str, list[str]]) -> tuple[Columns, list[str]]:
        wanted = [*assigned.features, *assigned.keys]
        if not wanted:
            return [], []
        grown = arrow_columns.cells(self._batches(wanted), assigned, classes, self.where, self.limit)
        return [(column.info(name), column.chunks) for name, column in grown.items()], []


Source = Files | Held
"""The rows of one split, wherever they are. Columns are called by their names."""


def _several(source: Source, rows: range) -> str:
    place = source.place(rows.start)
    return place if len(rows) == 1 else f"{place} to {rows.stop - 1:,}"
