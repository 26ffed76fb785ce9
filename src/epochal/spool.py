"""Rows that do not fit the host's memory, in entries of the user's cache, each there whole or not at all.

    <cache>/rows/<key>/entry.json      what the entry holds; size and time of each file beside it; a SHA-256 over both
    <cache>/rows/<key>/cells, rows, …  numbers alone
    <cache>/rows/.<key>.….part/        being made: whoever makes it holds the lock in it

The key is a SHA-256 over the sources' paths, sizes and times and over how they are read, so an entry is never out of
date. One whose files are not as they were left is made anew.
"""

import errno
import hashlib
import json
import os
import re
import sys
import tempfile
import time
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

from epochal import lock
from epochal.errors import DataError, option
from epochal.memory import format_bytes

_FORMAT = 2
"""Raised whenever a reader makes other numbers of the same file."""

_ENTRY, _LOCK = "entry.json", "lock"
_PART = re.compile(r"\.[0-9a-f]{32}\.[A-Za-z0-9_]+\.part")
_NAME = re.compile(r"entry\.json|lock|[a-z]+")
_TRIES = 100
_YOUNG_SECONDS = 600


def cache_folder() -> Path:
    """Where data are kept that can be had again: `EPOCHAL_CACHE`, or the user's cache folder of the platform."""
    if told := os.environ.get("EPOCHAL_CACHE"):
        return Path(told).expanduser()
    from platformdirs import user_cache_path

    try:
        return user_cache_path("epochal", appauthor=False)
    except RuntimeError as error:  # a user without a home
        raise DataError(f"the cache folder: {error}; or name one with EPOCHAL_CACHE") from None


def folder() -> Path:
    """Where entries are."""
    return cache_folder() / "rows"


def key(told: Any) -> str:
    """The name of the entry that is made of what `told`, a tree of plain values, says."""
    text = json.dumps([_FORMAT, sys.byteorder, told], sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()[:32]


def digest(paths: Iterable[str]) -> str:
    """SHA-256 over `states` of very many files. Raises DataError."""
    found = hashlib.sha256()
    for path in paths:
        found.update(json.dumps(states([Path(path)])).encode())
    return found.hexdigest()


def states(paths: Sequence[Path]) -> list[list[Any]]:
    """Path, size and time of each file, for a key. Raises DataError."""
    found = []
    for path in paths:
        try:
            told = path.stat()
            found.append([str(path.resolve()), told.st_size, told.st_mtime_ns])
        except OSError as error:
            raise DataError(
                f"{path}: cannot be read: {error.strerror or error}; check its path and permissions"
            ) from None
    return found


def unchanged(paths: Sequence[Path], then: Sequence[Any]) -> None:
    """Raise DataError where a file is not as `states` found it."""
    for path, before, now in zip(paths, then, states(paths), strict=True):
        if before != now:
            raise DataError(
                f"{path}: the file has changed while it was read: it had {before[1]:,} bytes, now {now[1]:,}; "
                f"begin again when it is complete"
            )


@dataclass(frozen=True)
class Entry:
    """An entry that is whole: its folder, what its maker told of it, and the bytes that it takes."""

    folder: Path
    told: dict[str, Any]
    bytes: int

    def note(self, what: str, limit: int | None = None) -> str:
        """What is kept, and where; `limit` bytes are granted, or what is left of them was too small."""
        most = "is left of" if limit is None else f"{format_bytes(limit)},"
        return (
            f"{what} more than {most} the memory granted for reading: kept in {self.folder}, "
            f"{format_bytes(self.bytes)}; remove that folder to free the disk"
        )


def find(key: str) -> Entry | None:
    """The entry, None where there is none or it is not as it was left."""
    place = folder() / key
    try:
        found = json.loads((place / _ENTRY).read_bytes())
        told, files = found["told"], found["files"]
        if found["sha256"] != _digest(told, files) or files != _files(place, files):
            return None
        return Entry(place, told, sum(size for size, _ in files.values()))
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return None


class Making:
    """An entry that is being made, in a folder that `folder` names."""

    def __init__(self, key: str):
        """Raises OSError."""
        self.key = key
        root = folder()
        root.mkdir(parents=True, exist_ok=True)
        _sweep(root)
        for _ in range(_TRIES):
            self.folder = Path(tempfile.mkdtemp(prefix=f".{key}.", suffix=".part", dir=root))
            self._lock: IO[str] = (self.folder / _LOCK).open("a+", encoding="utf-8")
            with suppress(OSError):
                lock.take(self._lock)
                if os.path.samestat((self.folder / _LOCK).stat(), os.fstat(self._lock.fileno())):
                    return
            self._lock.close()  # another maker took it for a left-over in the instant before the lock
        raise OSError(errno.EBUSY, os.strerror(errno.EBUSY))

    def publish(self, told: dict[str, Any]) -> Entry:
        """The entry, whole: this one, or that of another maker who was faster. Raises DataError."""
        try:
            names = sorted(path.name for path in self.folder.iterdir() if path.name != _LOCK)
            files = _files(self.folder, names)
            content = {"told": told, "files": files, "sha256": _digest(told, files)}
            (self.folder / _ENTRY).write_text(json.dumps(content), encoding="ascii")
            for _ in range(5):  # two who replace a damaged entry may get in each other's way
                with suppress(OSError):
                    self.folder.rename(folder() / self.key)
                if found := find(self.key):
                    return found
                with suppress(OSError):
                    damaged = folder() / self.key
                    _remove(damaged.rename(folder() / f".{self.key}.{os.getpid()}_{time.monotonic_ns()}.part"))
        except OSError as error:
            raise _unusable(self.folder, error) from None
        raise DataError(f"{folder() / self.key}: cannot be put there; remove that folder, and try again")

    def end(self) -> None:
        """Remove what is not published, and let go of the lock."""
        _remove(self.folder)
        self._lock.close()
        with suppress(OSError):
            (folder() / self.key / _LOCK).unlink()


@contextmanager
def making(key: str) -> Iterator[Making]:
    """Make an entry; nothing is left of it unless it is published. Raises DataError where the cache is no use."""
    try:
        begun = Making(key)
    except OSError as error:
        raise _unusable(folder(), error) from None
    try:
        yield begun
    finally:
        begun.end()


def _unusable(place: Path, error: OSError) -> DataError:
    return DataError(
        f"{place}: rows that do not fit the memory granted cannot be kept there ({error.strerror or error}); make room "
        f"or mend its permissions, name another folder with EPOCHAL_CACHE, or grant more with {option('host_memory')}"
    )


def _digest(told: Any, files: Any) -> str:
    return hashlib.sha256(json.dumps([told, files], sort_keys=True).encode()).hexdigest()


def _files(place: Path, names: Sequence[str]) -> dict[str, list[int]]:
    found = {name: (place / name).stat() for name in names if _NAME.fullmatch(name)}
    return {name: [told.st_size, told.st_mtime_ns] for name, told in found.items()}


def _sweep(root: Path) -> None:
    """Remove what makers left who were killed: nobody holds its lock."""
    for place in root.iterdir():
        if not _PART.fullmatch(place.name) or place.is_symlink():
            continue
        with suppress(OSError):
            if not (place / _LOCK).exists() and time.time() - place.stat().st_mtime < _YOUNG_SECONDS:
                continue  # its maker is about to take the lock
            with (place / _LOCK).open("a+", encoding="utf-8") as file:
                lock.take(file)
                _remove(place)


def _remove(place: Path) -> None:
    """Remove a folder of ours with the files of ours in it, and nothing else."""
    with suppress(OSError):
        for path in place.iterdir():
            if _NAME.fullmatch(path.name) and not path.is_dir():
                path.unlink()
        place.rmdir()
