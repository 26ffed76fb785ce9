"""Columns of Arrow record batches: encoded images, arrays, and cells with the names of classes."""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from itertools import chain
from typing import Any, NoReturn

import numpy as np

from epochal.data.column_file import ColumnWriter
from epochal.data.sources.files import TooLarge
from epochal.data.sources.images.decoder import answer, decode
from epochal.data.sources.tables.arrow_tables import ArrowColumn, grow
from epochal.data.sources.tables.roles import Roles
from epochal.errors import DataError, option
from epochal.system.aligned import frozen
from epochal.system.memory import format_bytes

MAX_AXES = 8

Batches = Iterable[tuple[str, int, Any]]
"""Record batches, each with the place that it is from (a file) and the number of its first row there."""


def kind(arrow_type: Any) -> str:
    """What a column of this type can be: image, array, or cell."""
    import pyarrow as pa

    arrow_type = getattr(arrow_type, "storage_type", arrow_type)
    if pa.types.is_struct(arrow_type):
        names = {arrow_type.field(i).name for i in range(arrow_type.num_fields)}
        return "image" if names == {"bytes", "path"} else "cell"
    if pa.types.is_binary(arrow_type) or pa.types.is_large_binary(arrow_type):
        return "image"
    return "array" if _is_list(arrow_type) else "cell"


def _is_list(arrow_type: Any) -> bool:
    import pyarrow as pa

    return pa.types.is_list(arrow_type) or pa.types.is_large_list(arrow_type) or pa.types.is_fixed_size_list(arrow_type)


def decode_bytes(spec: list[Any], names: list[str], data: np.ndarray, sizes: np.ndarray) -> dict[str, Any]:
    """Decode images that lie one after the other in `data`, and answer as `pixels` does."""
    ends = np.cumsum(sizes)
    return answer(decode(spec, names, [data[end - size : end].data for end, size in zip(ends, sizes, strict=True)]))


def encoded(
    batches: Batches, column: str, fetch: Callable[[str], memoryview] | None = None
) -> Iterator[tuple[str, memoryview]]:
    """The encoded image of every row, after the row's place; of a row that has a path alone, what `fetch` gives for it.

    Raises DataError for a row that has neither.
    """
    import pyarrow as pa

    for where, first, batch in batches:
        array = _storage(batch.column(column))
        paths: Any = [None] * len(array)
        if pa.types.is_struct(array.type):
            fields = dict(zip((array.type.field(i).name for i in range(2)), array.flatten(), strict=True))
            array = fields["bytes"]
            paths = fields["path"].to_pylist() if fetch else paths
        if not (pa.types.is_binary(array.type) or pa.types.is_large_binary(array.type)):
            array = pa.nulls(len(array), pa.binary())
        for row, (value, path) in enumerate(zip(array, paths, strict=True)):
            place = f"{where}: row {first + row:,}"
            if value.is_valid:
                yield place, memoryview(value.as_buffer())
            elif fetch and isinstance(path, str) and path:
                yield f"{place}: {path}", fetch(path)
            else:
                raise DataError(
                    f"{place}: column {column!r} holds no bytes of an image; save the data set again with its images "
                    f"embedded"
                )


def _storage(array: Any) -> Any:
    return getattr(array, "storage", array)


def arrays(batches: Batches, column: str, limit: int) -> np.ndarray:
    """Nested lists of numbers, which must all have one shape, as an array [rows, …].

    Raises DataError, and TooLarge where it takes more than `limit` bytes.
    """
    pieces: list[np.ndarray] = []
    size = 0
    for where, piece in array_pieces(batches, column):
        pieces.append(piece)
        size += piece.nbytes
        if size > limit:
            raise TooLarge(
                f"{where}: column {column!r} takes more than {format_bytes(limit)}, the memory granted for reading; "
                f"grant more with {option('host_memory')}"
            )
    return frozen(np.concatenate(pieces))


def array_pieces(batches: Batches, column: str) -> Iterator[tuple[str, np.ndarray]]:
    """The arrays of each batch, all of one shape and dtype, and where they are from. Raises DataError."""
    shape: tuple[int, ...] = ()
    for where, first, batch in batches:
        piece = _array(_storage(batch.column(column)), f"{where}: column {column!r}", first)
        if shape and piece.shape[1:] != shape:
            raise DataError(
                f"{where}: column {column!r}: row {first:,} has shape {list(piece.shape[1:])}, but row 0 of the data "
                f"{list(shape)}; all rows must be alike: pad or cut them"
            )
        shape = piece.shape[1:]
        yield where, piece


def _array(array: Any, where: str, first: int) -> np.ndarray:
    """Lists of lists … of numbers, all of one length on each level."""
    import pyarrow as pa
    from pyarrow import compute

    rows, shape = len(array), [len(array)]

    def refuse(place: int, what: str, remedy: str) -> NoReturn:
        raise DataError(f"{where}: row {first + place * rows // len(array):,} holds {what}; {remedy}")

    while _is_list(array.type):
        if array.null_count:
            refuse(_first_null(array), "a missing list", "fill it in, or drop the row")
        sizes, places = np.unique(
            compute.call_function("list_value_length", [array]).to_numpy(zero_copy_only=False), return_index=True
        )
        if len(sizes) > 1:
            lengths = f"a list of another length than a row before it (of {sizes[0]:,} to {sizes[-1]:,} values)"
            refuse(int(places.max()), lengths, "all rows must be alike: pad or cut them")
        if not sizes[0] or len(shape) == MAX_AXES:
            refuse(
                0,
                f"an empty list, or lists of more than {MAX_AXES - 1} levels",
                f"leave the column out with {option('drop')}",
            )
        shape.append(int(sizes[0]))
        array = _storage(array.flatten())
    if array.null_count:
        refuse(_first_null(array), "a missing value", "fill it in, or drop the row")
    if not (pa.types.is_integer(array.type) or pa.types.is_floating(array.type) or pa.types.is_boolean(array.type)):
        refuse(
            0,
            f"{str(array.type)[:80]} in lists",
            f"arrays hold numbers alone: leave the column out with {option('drop')}",
        )
    return array.to_numpy(zero_copy_only=False).reshape(shape)


def _first_null(array: Any) -> int:
    return array.is_null().index(True).as_py()


def cells(
    batches: Batches,
    roles: Roles,
    classes: Mapping[str, Sequence[str]],
    where: str,
    limit: int,
    writer: ColumnWriter | None = None,
) -> dict[str, ArrowColumn]:
    """The columns of cells that have a role; class labels become their names. With a `writer` cells go to a file."""
    import pyarrow as pa

    wanted = [*roles.features, *roles.keys]

    def named() -> Iterator[Any]:
        for place, first, batch in batches:
            columns = [batch.column(name) for name in wanted]
            for i, name in enumerate(wanted):
                if name in classes:
                    columns[i] = _names(columns[i], classes[name], f"{place}: column {name!r}", first)
            yield pa.record_batch(columns, names=wanted)

    checked = named()
    head = next(checked, None)
    if head is None or not wanted:
        return {}
    return grow(head.schema, chain([head], checked), roles, where, limit, None, writer)


def _names(array: Any, classes: Sequence[str], where: str, first: int) -> Any:
    """Codes of classes as their names; -1, as usual for rows without a label, as a missing value."""
    import pyarrow as pa

    if not (pa.types.is_integer(array.type) or pa.types.is_null(array.type)):
        raise DataError(
            f"{where}: is declared to hold classes by number, but holds {str(array.type)[:80]}; save the data set again"
        )
    try:
        codes = array.cast(pa.int64()).fill_null(-1).to_numpy(zero_copy_only=False)
    except pa.ArrowInvalid:
        raise DataError(
            f"{where}: from row {first:,} on holds a class above {len(classes):,}, the number of names; the data are "
            f"damaged, fetch or write them again"
        ) from None
    wrong = (codes < -1) | (codes >= len(classes))
    if wrong.any():
        row = int(np.argmax(wrong))
        raise DataError(
            f"{where}: row {first + row:,} holds class {codes[row]}, but {len(classes)} classes have a name; the data "
            f"are damaged, fetch or write them again"
        )
    return pa.DictionaryArray.from_arrays(
        pa.array(codes.astype(np.int32), mask=codes < 0), pa.array(list(classes), pa.string())
    )
