"""Bytes of a file, unpacked if they are gzip, never more than the memory granted."""

import io
import os
import stat
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import IO, Any, BinaryIO

import numpy as np

from epochal.errors import DataError, RecipeError, escaped, option, reading
from epochal.system import disk_cache
from epochal.system.aligned import zeros
from epochal.system.disk import MappedFile
from epochal.system.memory import available_bytes, format_bytes, parse_bytes


class TooLarge(DataError):
    """A file holds more than the memory granted for reading."""


_COPIES = 4
MOST_TEXT_FOLD = 100
_HARMLESS_TEXT = 1 << 28
"""Text takes time by its characters, however few bytes they are packed in: time is bounded by the bytes of the file."""

_GZIP = b"\x1f\x8b"
# A decoder hands back the rest of a piece after each member: with small pieces, a file of a million empty members costs
# no more than a million copies of 64 kB.
_PIECE = 1 << 16
_BURST = 1 << 20


def memory_limit(host_memory: str | int | None) -> int:
    """The bytes that one copy of a file's content may take: as asked, or a quarter of what is free. Raises RecipeError.

    At most two copies are there at once: bytes and columns, rows and those held out of them, the rows and the device's.
    """
    try:
        return available_bytes() // _COPIES if host_memory is None else parse_bytes(host_memory)
    except ValueError as error:
        raise RecipeError(f"host_memory: {error}") from None


def locate(source: str | Path) -> Path | None:
    """The file or folder that `source` names, `~` expanded; None where there is none."""
    for text in (os.path.expanduser(source), os.fspath(source)):  # noqa: PTH111  `./~.csv` and `~.csv` are files
        try:
            if (path := Path(text)).exists():
                return path
        except (OSError, ValueError):  # a name too long, a name with NUL
            continue
    return None


_KINDS = {
    stat.S_IFIFO: "a pipe", stat.S_IFCHR: "a device", stat.S_IFBLK: "a device", stat.S_IFSOCK: "a socket",
}  # fmt: skip


def check_kind(path: Path) -> None:
    """Raise DataError for what is neither a file nor a folder: a pipe may never end, a device has no end."""
    try:
        kind = _KINDS.get(stat.S_IFMT(path.stat().st_mode))
    except OSError:
        return  # opening it will say why it cannot be read
    if kind:
        raise DataError(
            f"{path}: is {kind}; data are read from files that can be read twice: write what it gives to a file"
        )


def check_path(path: Path) -> None:
    """Raise DataError for pipes and devices, and for a path that no text can hold: a run keeps it in text files."""
    check_kind(path)
    whole = str(path.resolve())
    if any("\ud800" <= c <= "\udfff" for c in whole):
        raise DataError(
            f"{escaped(whole)}: the name of this file or of a folder above it is no UTF-8, and cannot be kept in a "
            f"run; rename it, or call it through a link of another name in another folder"
        )


def suffix_of(source: Any) -> str:
    """The suffix of a file in small letters, that of gzip left out; "" for all else."""
    if not isinstance(source, Path) or source.is_dir():
        return ""
    return next((s for s in map(str.lower, reversed(source.suffixes)) if s != ".gz"), "")


_BRIEF = 200


def brief(error: Exception) -> str:
    """The first line of what `error` says, or else its kind; without control characters, cut where it is long."""
    return escaped(next(iter(str(error).splitlines()), ""), _BRIEF) or type(error).__name__


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
    check_kind(path)
    with reading(path), path.open("rb") as file:
        head = file.peek(2)[:2]
        if not head:
            raise DataError(f"{path}: byte 0: the file is empty; fetch or write it again")
        if mappable and not _GZIP.startswith(head) and path.stat().st_size > limit:
            return memoryview(MappedFile.open(path)).toreadonly()
        # A lone first byte of gzip's two is the start of a cut file, and of no other form.
        out = _unpacked(file, path, limit) if _GZIP.startswith(head) else _plain(file, path, limit)
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
    out = bytearray(begun)  # it is not a plain file, or it grows
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


def most_text(path: Path) -> int:
    """The bytes of text that a file may give: those it has; where it is packed, not far more. Raises DataError."""
    [(_, size, *_)] = disk_cache.states([path])
    try:
        with path.open("rb") as file:
            packed = file.read(2) == _GZIP
    except OSError:
        return size  # reading it will say why it cannot be read
    return max(_HARMLESS_TEXT, MOST_TEXT_FOLD * size) if packed else max(size, 1)


class Stream(io.RawIOBase):
    """The bytes of a file as they come, unpacked if they are gzip. Raises DataError, also where the file changes."""

    def __init__(self, path: Path, state: Any):
        self._path, self._state, self._rest, self._come = path, state, memoryview(b""), 0
        check_kind(path)
        disk_cache.unchanged([path], [state])
        self._pieces, self._most = self._read(), most_text(path)

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        if not self._rest:
            self._rest = memoryview(next(self._pieces, b""))
            self._come += len(self._rest)
            if self._come > self._most:
                raise DataError(
                    f"{self._path}: unpacks to more than {format_bytes(self._most)}, {MOST_TEXT_FOLD} times its bytes, "
                    f"which would take long to read; if it is sound, unpack it and name the plain file"
                )
        count = min(len(buffer), len(self._rest))
        buffer[:count], self._rest = self._rest[:count], self._rest[count:]
        return count

    def _read(self) -> Iterator[bytes]:
        with reading(self._path), self._path.open("rb") as file:
            packed = _GZIP.startswith(file.peek(2)[:2])
            yield from _inflated(file, self._path) if packed else iter(lambda: file.read(_BURST), b"")
        disk_cache.unchanged([self._path], [self._state])


def _bounded(size: int, limit: int, path: Path) -> None:
    if size > limit:
        raise TooLarge(
            f"{path}: holds more than {format_bytes(limit)}, the memory granted for reading; "
            f"if the file is sound, grant more with {option('host_memory')}"
        )
