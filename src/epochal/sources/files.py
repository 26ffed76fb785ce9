"""Bytes of a file, unpacked if they are gzip, never more than the memory granted."""

import io
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import IO, Any, BinaryIO

import numpy as np

from epochal import spool
from epochal.disk import MappedFile
from epochal.errors import DataError, RecipeError, option
from epochal.lending import zeros
from epochal.memory import available_bytes, format_bytes, parse_bytes

TEXT = (".csv", ".tsv", ".txt")
PARQUET = (".parquet", ".pq")
ARROW = (".arrow", ".feather", ".ipc")
TABLES = (*TEXT, *PARQUET, *ARROW)
"""Suffixes of tables."""


class TooLarge(DataError):
    """A file holds more than the memory granted for reading."""


_GZIP = b"\x1f\x8b"
# A decoder hands back the rest of a piece after each member: with small pieces, a file of a million empty members costs
# no more than a million copies of 64 kB.
_PIECE = 1 << 16
_BURST = 1 << 20


def memory_limit(host_memory: str | int | None) -> int:
    """The bytes that files may unpack to: as asked, or half of what the machine has free. Raises RecipeError."""
    try:
        return available_bytes() // 2 if host_memory is None else parse_bytes(host_memory)
    except ValueError as error:
        raise RecipeError(f"host_memory: {error}") from None


def locate(source: str | Path) -> Path | None:
    """The file or folder that `source` names, `~` expanded; None where there is none."""
    try:
        path = Path(source).expanduser()
        return path if path.exists() else None
    except (OSError, ValueError, RuntimeError):  # a name too long, a name with NUL, a user without a home
        return None


def suffix_of(path: Path) -> str:
    """The suffix in small letters, that of gzip left out."""
    return next((s for s in map(str.lower, reversed(path.suffixes)) if s != ".gz"), "")


def brief(error: Exception) -> str:
    """The first line of what `error` says, or else its kind."""
    return next(iter(str(error).splitlines()), "") or type(error).__name__


def first_bytes(path: Path, count: int) -> bytes:
    """The first `count` bytes, or fewer, of what `read_bytes` gives; none where the file cannot be read."""
    try:
        with path.open("rb") as file:
            head = file.read(_PIECE)
        return zlib.decompressobj(wbits=31).decompress(head, count) if head[:2] == _GZIP else head[:count]
    except (OSError, zlib.error):
        return b""


def read_bytes(path: Path, limit: int, *, mappable: bool = False) -> memoryview:
    """The bytes of `path`, read-only, decompressed where it is gzip.

    Raises DataError; never holds more than `limit` bytes (and the growth of one buffer). A larger file that is not
    packed is mapped instead, where that is allowed.
    """
    _bounded(0, limit, path)
    try:
        with path.open("rb") as file:
            head = file.peek(2)[:2]
            if not head:
                raise DataError(f"{path}: byte 0: the file is empty; fetch or write it again")
            if mappable and not _GZIP.startswith(head) and path.stat().st_size > limit:
                return memoryview(MappedFile.open(path)).toreadonly()
            # A lone first byte of gzip's two is the start of a cut file, and of no other form.
            out = _unpacked(file, path, limit) if _GZIP.startswith(head) else _plain(file, path, limit)
    except OSError as error:
        raise DataError(
            f"{path}: cannot be read: {error.strerror or error}; check its path, kind and permissions"
        ) from None
    return memoryview(out).toreadonly()


def filled(file: IO[bytes], size: int) -> memoryview:
    """The next `size` bytes of `file`, or those that there are, read-only, where a device may take them as they are."""
    out, end = zeros([size], np.uint8).data, 0
    while piece := file.read(min(_BURST, size - end)):
        out[end : end + len(piece)] = piece
        end += len(piece)
    return out[:end].toreadonly()


def _plain(file: BinaryIO, path: Path, limit: int) -> bytearray | memoryview:
    size = path.stat().st_size
    _bounded(size, limit, path)
    begun = filled(file, size)
    piece = file.read(_BURST)
    if not piece:
        return begun
    out = bytearray(begun)  # it is no plain file, or it grows
    while piece:
        out += piece
        _bounded(len(out), limit, path)
        piece = file.read(_BURST)
    return out


def _unpacked(file: BinaryIO, path: Path, limit: int) -> bytearray:
    out = bytearray()
    for piece in _inflated(file, path):
        out += piece
        _bounded(len(out), limit, path)
    return out


def _inflated(file: BinaryIO, path: Path) -> Iterator[bytes]:
    """What gzip data unpack to, piece by piece: each is bounded, so that a bomb is met before it has gone off."""
    piece, consumed, decoder, begun = b"", 0, None, b""
    while piece := piece or file.read(_PIECE):
        if decoder is None:
            if consumed and piece[:1] != _GZIP[:1]:
                raise DataError(
                    f"{path}: byte {consumed:,}: bytes follow the end of the gzip data; the file is damaged, "
                    f"fetch it again"
                )
            decoder = zlib.decompressobj(wbits=31)
        try:
            out = decoder.decompress(piece, _BURST)
        except zlib.error as error:
            raise DataError(
                f"{path}: after byte {consumed:,}: the gzip data are damaged ({error}); fetch the file again"
            ) from None
        begun = (begun + out[:2])[:2]
        if begun == _GZIP:
            raise DataError(f"{path}: byte 0: the gzip data hold gzip data again; unpack the file once")
        if out:
            yield out
        rest = decoder.unconsumed_tail or decoder.unused_data
        consumed += len(piece) - len(rest)
        piece = rest
        if decoder.eof:
            decoder = None
    if decoder is not None:
        raise DataError(
            f"{path}: byte {consumed:,}: the gzip data end too early; the file is cut short, fetch it again"
        )


class Stream(io.RawIOBase):
    """The bytes of a file as they come, unpacked if they are gzip. Raises DataError, also where the file changes."""

    def __init__(self, path: Path, state: Any):
        self._path, self._state, self._rest = path, state, memoryview(b"")
        spool.unchanged([path], [state])
        self._pieces = self._read()

    def readable(self) -> bool:
        """It is."""
        return True

    def readinto(self, buffer: Any) -> int:
        """Some bytes more."""
        if not self._rest:
            self._rest = memoryview(next(self._pieces, b""))
        count = min(len(buffer), len(self._rest))
        buffer[:count], self._rest = self._rest[:count], self._rest[count:]
        return count

    def _read(self) -> Iterator[bytes]:
        try:
            with self._path.open("rb") as file:
                packed = _GZIP.startswith(file.peek(2)[:2])
                yield from _inflated(file, self._path) if packed else iter(lambda: file.read(_BURST), b"")
        except OSError as error:
            raise DataError(
                f"{self._path}: cannot be read: {error.strerror or error}; check its path, kind and permissions"
            ) from None
        spool.unchanged([self._path], [self._state])


def _bounded(size: int, limit: int, path: Path) -> None:
    if size > limit:
        raise TooLarge(
            f"{path}: holds more than {format_bytes(limit)}, the memory granted for reading; "
            f"if the file is sound, grant more with {option('host_memory')}"
        )
