"""Arrow streams in files, read in child processes: see `arrow_columns`."""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, NoReturn

from epochal.data.column_file import ColumnWriter
from epochal.data.sources.files import TooLarge, brief
from epochal.data.sources.huggingface.arrow_columns import array_pieces, arrays, cells, encoded, kind
from epochal.data.sources.images.decoder import answer, decode
from epochal.data.sources.tables import arrow_tables
from epochal.data.sources.tables.arrow_tables import ArrowColumn
from epochal.data.sources.tables.roles import Roles, check_names
from epochal.errors import DataError, option
from epochal.system.disk import Output
from epochal.system.memory import format_bytes

END = b"\xff\xff\xff\xff\0\0\0\0"  # what a stream ends with; without it, record batches may be missing


def outline(paths: list[str]) -> dict[str, Any]:
    """Rows of each file, and the names of the columns with their kinds."""
    schema: Any = None
    rows, names, kinds = [], [], []
    for path in paths:
        try:
            data = _mapped(path)
            stream = _stream(path)
            rows.append(sum(batch.num_rows for batch in stream))
            names, kinds = stream.schema.names, [kind(field.type) for field in stream.schema]
            check_names(names, path)
            whole = data.size() >= len(END) and data.read_at(len(END), data.size() - len(END)) == END
        except Exception as error:
            _refuse(path, error)
        if not whole:
            raise DataError(f"{path}: does not end as an Arrow stream does; it is cut short, fetch or write it again")
        if schema is not None and not stream.schema.equals(schema):
            raise DataError(f"{path}: has other columns than {paths[0]}; the files of one split must be alike")
        schema = schema or stream.schema
    return {"rows": rows, "names": names, "kinds": kinds}


def _mapped(path: str) -> Any:
    import pyarrow as pa

    if not Path(path).stat().st_size:
        raise DataError(f"{path}: byte 0: the file is empty; fetch or write it again")
    return pa.memory_map(path)


def _stream(path: str) -> Any:
    import pyarrow as pa

    pa.set_memory_pool(pa.system_memory_pool())
    return pa.ipc.open_stream(_mapped(path))


def _refuse(path: str, error: Exception) -> NoReturn:
    if isinstance(error, DataError | MemoryError):
        raise error
    raise DataError(f"{path}: is no sound Arrow stream ({brief(error)[:200]}); fetch or write it again") from None


def opened(paths: Sequence[str], begin: int = 0, end: int | None = None) -> Iterator[tuple[str, int, Any]]:
    """The rows from `begin` to `end` of files one after the other, in batches that have been checked."""
    row = 0
    for path in paths:
        first = row
        try:
            for batch in _stream(path):
                rows = batch.num_rows
                low, high = max(begin - row, 0), rows if end is None else min(end - row, rows)
                if low < high:
                    batch.validate(full=True)
                    yield path, row - first + low, batch.slice(low, high - low)
                row += rows
        except Exception as error:
            _refuse(path, error)


def decode_rows(spec: list[Any], paths: list[str], column: str, begin: int, end: int) -> dict[str, Any]:
    """Decode the images in some rows of a column of files, and answer as `pixels` does."""
    names, sources = zip(*encoded(opened(paths, begin, end), column), strict=True)
    return answer(decode(spec, names, sources))


def read_arrays(paths: list[str], column: str, limit: int, file: str = "", most: int = 0) -> Any:
    """A column of nested lists as one array; or where it takes more than `limit` bytes, a word that it is `larger`.

    With the name of a `file` its rows go there, not more than `most` bytes, and shape and dtype are answered.
    """
    if not file:
        try:
            return {"x": arrays(opened(paths), column, limit)}
        except TooLarge:
            return {"larger": True}
    rows, shape, dtype = 0, (0,), ""
    with Output(Path(file)) as out:
        for where, piece in array_pieces(opened(paths), column):
            if out.size + piece.nbytes > most:
                raise DataError(
                    f"{where}: column {column!r} takes more than {format_bytes(most)}, far above the bytes of the "
                    f"file; is it damaged or hostile? if it is sound, grant more with {option('host_memory')}"
                )
            out.write(piece)
            rows, shape, dtype = rows + len(piece), piece.shape[1:], piece.dtype.str
    return {"shape": [rows, *shape], "dtype": dtype, "digest": out.digest}


def read_cells(
    paths: list[str],
    roles: list[Any],
    classes: dict[str, list[str]],
    where: str,
    limit: int,
    file: str = "",
    size: int = 0,
) -> dict[str, Any]:
    """The columns of cells that have a role, in an `arrow_tables.answer`."""
    features, categorical, *keys = roles

    def read(writer: ColumnWriter | None) -> tuple[dict[str, ArrowColumn], dict[str, Any]]:
        of = Roles(tuple(features), *keys, dropped=(), categorical=tuple(categorical))
        columns = cells(opened(paths), of, classes, where, limit, writer)
        return columns, {"rows": [column.rows for column in columns.values()][:1]}

    return arrow_tables.answer(file, where, size, read)
