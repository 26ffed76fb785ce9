"""Bytes of a file, unpacked if they are gzip, never more than the memory granted."""

import zlib
from pathlib import Path

from epochal.errors import DataError
from epochal.memory import available_bytes, format_bytes

_PIECE = 1 << 20


def memory_limit(memory_bytes: int | None) -> int:
    """The bytes that files may unpack to: as asked, or half of what the machine has free."""
    return available_bytes() // 2 if memory_bytes is None else memory_bytes


def read_bytes(path: Path, limit: int) -> memoryview:
    """The bytes of `path`, read-only, decompressed where it is gzip.

    Raises DataError; never holds more than `limit` bytes (and the growth of one buffer).
    """
    return memoryview(_read(path, limit)).toreadonly()


def _read(path: Path, limit: int) -> bytearray:
    out = bytearray()
    consumed = 0
    try:
        with path.open("rb") as file:
            packed = file.read(2) == b"\x1f\x8b"
            file.seek(0)
            if not packed:
                size = path.stat().st_size
                _bounded(size, limit, path)
                out.extend(file.read(limit + 1))
                _bounded(len(out), limit, path)
                return out
            decoder = zlib.decompressobj(wbits=31)
            while piece := file.read(_PIECE):
                while piece:
                    # The output of one call is bounded, so that a bomb is met before it has gone off.
                    out += decoder.decompress(piece, _PIECE * 16)
                    _bounded(len(out), limit, path)
                    consumed += len(piece) - len(decoder.unconsumed_tail) - len(decoder.unused_data)
                    piece = decoder.unconsumed_tail
                    if decoder.eof:
                        piece = decoder.unused_data or file.read(_PIECE)
                        if not piece:
                            return out
                        if piece[:1] != b"\x1f":
                            raise DataError(
                                f"{path}: byte {consumed:,}: bytes follow the end of the gzip data; the file is damaged"
                            )
                        decoder = zlib.decompressobj(wbits=31)
    except zlib.error as error:
        raise DataError(
            f"{path}: byte {consumed:,}: the gzip data are damaged ({error}); fetch the file again"
        ) from None
    except OSError as error:
        raise DataError(f"{path}: cannot be read: {error.strerror or error}") from None
    raise DataError(f"{path}: byte {consumed:,}: the gzip data end too early; the file is cut short, fetch it again")


def _bounded(size: int, limit: int, path: Path) -> None:
    if size > limit:
        raise DataError(
            f"{path}: holds more than {format_bytes(limit)}, the memory granted for reading; "
            f"if the file is sound, grant more with --host-memory"
        )
