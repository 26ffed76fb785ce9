"""Files on disk: reading detects changes of the file, writing explains a full disk."""

import hashlib
import mmap
import os
import shutil
import threading
import weakref
from pathlib import Path
from typing import NoReturn, Self

import numpy as np

from epochal.errors import DataError, option
from epochal.system.memory import format_bytes


class MappedFile(mmap.mmap):
    """The bytes of a file, and where it is."""

    path: Path

    @classmethod
    def open(cls, path: Path) -> "MappedFile":
        """Map `path` to be read. Raises OSError, ValueError for an empty file."""
        with path.open("rb") as file:
            mapped = cls(file.fileno(), 0, access=mmap.ACCESS_READ)
        mapped.path = path.resolve()
        return mapped


class File:
    """A file that is open for reading, and must stay as it is."""

    def __init__(self, path: Path):
        """Raises OSError."""
        self.path = path
        self._handle = os.open(path, os.O_RDONLY | getattr(os, "O_CLOEXEC", 0) | getattr(os, "O_BINARY", 0))
        weakref.finalize(self, os.close, self._handle)
        self.state = self._stat()

    @property
    def identity(self) -> str:
        return f"{self.path} {self.state}"

    def check(self) -> None:
        """Raise DataError where the file is another than when it was opened."""
        if self._stat() != self.state:
            raise self._changed()

    def fill(self, wanted: memoryview, place: int) -> None:
        """Read the bytes from `place` on to `wanted`. Raises DataError."""
        done = 0
        while done < len(wanted):  # a signal or a network may cause that only a part comes
            try:
                count = _read_at(self._handle, wanted[done:], place + done)
            except OSError as error:
                raise self._gone(error) from None
            if count == 0:
                raise self._changed()
            done += count

    def _stat(self) -> tuple[int, int, int]:
        try:
            state = self.path.stat()
        except OSError as error:
            raise self._gone(error) from None
        # A program can set the time of a file's content back, as copying does, but not the time of its last change.
        return state.st_size, state.st_mtime_ns, state.st_ctime_ns

    def _gone(self, error: OSError) -> DataError:
        return DataError(f"{self.path}: cannot be read any more: {error.strerror}; bring the file back")

    def _changed(self) -> DataError:
        was, now = self.state, self._stat()
        what = f"it had {was[0]:,} bytes, now {now[0]:,}" if was[0] != now[0] else "its times are others"
        return DataError(
            f"{self.path}: the file has changed while it was in use: {what}; bring the old file back, or train again"
        )


_ONE_AT_A_TIME = threading.Lock()


def _read_at(handle: int, wanted: memoryview, place: int) -> int:
    """Fill `wanted` with the file's bytes from `place` on; how many there were."""
    if hasattr(os, "preadv"):
        return os.preadv(handle, [wanted], place)
    with _ONE_AT_A_TIME:  # Windows: a handle has one place for all threads
        os.lseek(handle, place, os.SEEK_SET)
        piece = os.read(handle, len(wanted))
    wanted[: len(piece)] = piece
    return len(piece)


_NEW = os.O_WRONLY | os.O_CREAT | os.O_TRUNC
for _flag in ("O_NOFOLLOW", "O_CLOEXEC", "O_BINARY"):
    _NEW |= getattr(os, _flag, 0)


class Output:
    """A new file that grows, this user's alone; a context that closes it.

    Where the disk is full it says what is needed and what to do.
    """

    def __init__(self, path: Path, needed: int = 0):
        """`needed` bytes are to be written in all, where that is known. Raises DataError where they have no room."""
        self.path, self.needed, self.size, self._digest = path, needed, 0, hashlib.sha256()
        try:
            if needed > shutil.disk_usage(path.parent).free:
                self._refuse("there is no room")
            self._file = os.fdopen(os.open(path, _NEW, 0o600), "wb", buffering=0)
        except OSError as error:
            self._refuse(error.strerror or str(error))

    def write(self, array: np.ndarray) -> None:
        """Append the bytes of an array. Raises DataError."""
        view = np.ascontiguousarray(array).reshape(-1).view(np.uint8).data
        try:
            while view:
                count = self._file.write(view) or 0
                self._digest.update(view[:count])
                view, self.size = view[count:], self.size + count
        except OSError as error:
            self._refuse(error.strerror or str(error))

    @property
    def digest(self) -> str:
        return self._digest.hexdigest()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        self.close()

    def close(self) -> None:
        self._file.close()

    def _refuse(self, why: str) -> NoReturn:
        try:
            free = f", where {format_bytes(shutil.disk_usage(self.path.parent).free)} are free"
        except OSError:
            free = ""
        needed = f"{format_bytes(max(self.needed, self.size))}{'' if self.needed else ' or more'}"
        raise DataError(
            f"{self.path.parent}: cannot keep rows that do not fit the memory granted ({why}): {needed} are needed"
            f"{free}; make room, name another folder with EPOCHAL_CACHE, or grant more with {option('host_memory')}"
        ) from None
