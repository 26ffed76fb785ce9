"""A cache on disk for rows that do not fit the host's memory; each entry is there whole or not at all.

    <cache>/rows/hmac.key              32 random bytes of this user's
    <cache>/rows/<key>/entry.json      what the entry holds; bytes and SHA-256 of each file beside it; an HMAC over both
    <cache>/rows/<key>/cells, rows, …  numbers alone
    <cache>/rows/.<key>.….part/        being written; its writer holds the lock in it

The key is a SHA-256 over the sources' paths, sizes, times and inodes and over how they are read, so an entry is never
out of date. One whose files are not as they were left, or that was not signed here, is written again.
"""

import errno
import hashlib
import hmac
import json
import os
import re
import secrets
import sys
import time
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any, Self

from epochal.errors import DataError, option, reading
from epochal.system import cache_folder, lock
from epochal.system.cache_folder import Folder
from epochal.system.memory import format_bytes

_FORMAT = 4
"""Raised whenever a reader returns other numbers for the same file."""

_ENTRY, _LOCK, _SECRET = "entry.json", "lock", "hmac.key"
_SECRET_BYTES = 32
_MOST_ENTRY_BYTES = 1 << 30  # texts of columns are in it
_PART = re.compile(r"\.[0-9a-f]{32}\.[A-Za-z0-9_]+\.part")
_NAME = re.compile(r"entry\.json|lock|[a-z]+")
_TRIES = 100
_YOUNG_SECONDS = 600
_PIECE = 1 << 22

_checked: set[tuple[Any, ...]] = set()
"""Files whose content this process has seen to have its digest: device, inode, size, both times, digest."""


def folder() -> Path:
    return cache_folder.cache_folder() / "rows"


def key(parts: Any) -> str:
    """The name of the entry that `parts`, a tree of plain values, determine."""
    text = json.dumps([_FORMAT, sys.byteorder, parts], sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()[:32]


def digest(paths: Iterable[str]) -> str:
    """SHA-256 over `states` of very many files. Raises DataError."""
    hashed = hashlib.sha256()
    for path in paths:
        hashed.update(json.dumps(states([Path(path)])).encode())
    return hashed.hexdigest()


def states(paths: Sequence[Path]) -> list[list[Any]]:
    """Path, size, times and inode of each file, for a key. Raises DataError.

    A program can set the time of a file's content back, as copying does, but not the time of its last change.
    """
    all_states = []
    for path in paths:
        with reading(path):
            state = path.stat()
        all_states.append([str(path.resolve()), state.st_size, state.st_mtime_ns, state.st_ctime_ns, state.st_ino])
    return all_states


def unchanged(paths: Sequence[Path], then: Sequence[Any]) -> None:
    """Raise DataError where a file is not as `states` found it."""
    for path, before, now in zip(paths, then, states(paths), strict=True):
        if before != now:
            what = f"it had {before[1]:,} bytes, now {now[1]:,}" if before[1] != now[1] else "its times are others"
            raise DataError(f"{path}: the file has changed while it was read: {what}; begin again when it is complete")


@dataclass(frozen=True)
class Entry:
    """An entry that is whole: its folder, the metadata that its writer gave, and the bytes of its files."""

    folder: Path
    metadata: dict[str, Any]
    bytes: int

    def note(self, what: str, limit: int | None = None) -> str:
        """What is kept, and where; `limit` bytes are granted, or what is left of them was too small."""
        most = "is left of" if limit is None else f"{format_bytes(limit)},"
        return (
            f"{what} more than {most} the memory granted for reading: kept in {self.folder}, "
            f"{format_bytes(self.bytes)}; remove that folder to free the disk"
        )


def find(key: str) -> Entry | None:
    """The entry, None where there is none or it is not as it was left. Raises DataError without a cache."""
    place = folder()
    try:
        with Folder.opened(place) as root:
            return _entry(root, key)
    except (OSError, DataError):  # nothing is read from a folder of others; writing an entry will say so
        return None


def _entry(root: Folder, key: str) -> Entry | None:
    """The entry `key`; None for whatever is wrong with it."""
    try:
        secret = _read(root.open(_SECRET), _SECRET_BYTES)
        with root.sub(key) as place:
            content = json.loads(_read(place.open(_ENTRY), _MOST_ENTRY_BYTES))
            metadata, files = content["metadata"], content["files"]
            if not hmac.compare_digest(content["hmac"], _signature(secret, key, metadata, files)):
                return None
            if not all(_is_as_left(place, name, *about) for name, about in files.items()):
                return None
            return Entry(place.path, metadata, sum(size for size, _ in files.values()))
    except (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError):
        return None


class EntryWriter:
    """An entry that is being written, in a folder that `folder` names. A context: what is not committed is removed."""

    def __init__(self, key: str):
        """Raises DataError where the cache cannot be used."""
        self.key = key
        try:
            self._begin()
        except OSError as error:
            raise _unusable(folder(), error) from None

    def _begin(self) -> None:
        with Folder.opened(folder(), make=True) as root:
            _sweep(root)
            self._secret = _secret(root)
            for _ in range(_TRIES):
                self.name = f".{self.key}.{secrets.token_hex(6)}.part"
                root.mkdir(self.name)
                self.folder = root.path / self.name
                self._lock: IO[str] = _locked(root, self.name)
                with suppress(OSError), root.sub(self.name) as place:
                    lock.take(self._lock)
                    if os.path.samestat(place.stat(_LOCK), os.fstat(self._lock.fileno())):
                        return
                self._lock.close()  # another writer took it for a left-over in the instant before the lock
        raise OSError(errno.EBUSY, os.strerror(errno.EBUSY))

    def commit(self, metadata: dict[str, Any], digests: Mapping[str, str]) -> Entry:
        """The entry, whole: this one, or that of another writer who was faster. Raises DataError.

        `digests` are the SHA-256 of its files, taken while they were written.
        """
        try:
            with Folder.opened(folder()) as root:
                with root.sub(self.name) as place:
                    self._complete(place, metadata, digests)
                for _ in range(5):  # two who replace a damaged entry may get in each other's way
                    with suppress(OSError):
                        root.rename(self.name, self.key)
                    if entry := _entry(root, self.key):
                        return entry
                    with suppress(OSError):
                        aside = f".{self.key}.{os.getpid()}_{time.monotonic_ns()}.part"
                        root.rename(self.key, aside)
                        _remove(root, aside)
        except OSError as error:
            raise _unusable(self.folder, error) from None
        raise DataError(f"{folder() / self.key}: cannot be put there; remove that folder, and try again")

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        """Remove what is not committed, and release the lock."""
        with suppress(OSError, DataError), Folder.opened(folder()) as root:
            _remove(root, self.name)
            self._lock.close()
            with root.sub(self.key) as place:
                place.unlink(_LOCK)
        self._lock.close()

    def _complete(self, place: Folder, metadata: dict[str, Any], digests: Mapping[str, str]) -> None:
        files = {}
        for name, digest in digests.items():
            state = place.stat(name)
            files[name] = [state.st_size, digest]
            _checked.add(_identity(state, digest))  # written a moment ago
        content = {"metadata": metadata, "files": files, "hmac": _signature(self._secret, self.key, metadata, files)}
        with os.fdopen(place.open(_ENTRY, os.O_WRONLY | os.O_CREAT | os.O_EXCL), "w", encoding="ascii") as file:
            file.write(json.dumps(content))


class Overflow:
    """Where data go that take more than `limit` bytes: an `entry` of the cache, there already or written now.

    A context for the one who reads: where `entry` is None, read to memory; where that is too small, write to files in
    `folder`, and `commit` them. The key is of `parts` and of the states of the files `paths` that the data come from.
    """

    def __init__(self, parts: Sequence[Any], limit: int, paths: Sequence[Path] = ()):
        self.limit, self._paths, self._states = limit, paths, states(paths)
        self.size = sum(state[1] for state in self._states)
        self.key = key([*parts, self._states])
        entry = find(self.key)
        self.entry = entry if entry and entry.metadata.get("bytes", entry.bytes) > limit else None
        self._writer: EntryWriter | None = None

    @property
    def folder(self) -> Path:
        """The folder of the entry that is being written. Raises DataError where the cache cannot be used."""
        self._writer = self._writer or EntryWriter(self.key)
        return self._writer.folder

    def check(self) -> None:
        """Raise DataError where a file is not as it was at the beginning."""
        unchanged(self._paths, self._states)

    def commit(self, metadata: dict[str, Any], digests: Mapping[str, str]) -> None:
        """See `EntryWriter.commit`; `bytes` among the metadata says what the data would take in memory."""
        assert self._writer
        self.check()
        self.entry = self._writer.commit(metadata, digests)

    def notes(self, what: str) -> list[str]:
        return [self.entry.note(what, self.limit)] if self.entry else []

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        if self._writer:
            self._writer.__exit__(*error)


def _unusable(place: Path, error: OSError) -> DataError:
    return DataError(
        f"{place}: rows that do not fit the memory granted cannot be kept there ({error.strerror or error}); make room "
        f"or mend its permissions, name another folder with EPOCHAL_CACHE, or grant more with {option('host_memory')}"
    )


def _locked(root: Folder, name: str) -> IO[str]:
    with root.sub(name) as place:
        return os.fdopen(place.open(_LOCK, os.O_RDWR | os.O_CREAT), "r+", encoding="utf-8")


def _secret(root: Folder) -> bytes:
    """The key of this cache, created where there is none. Raises OSError."""
    with os.fdopen(root.open(_SECRET, os.O_RDWR | os.O_CREAT), "r+b") as file:
        lock.wait(file.fileno())
        secret = file.read(_SECRET_BYTES + 1)
        if len(secret) != _SECRET_BYTES:  # new, or damaged: the entries that it signed are written again
            secret = secrets.token_bytes(_SECRET_BYTES)
            file.seek(0)
            file.truncate()
            file.write(secret)
            file.flush()
        return secret


def _signature(secret: bytes, key: str, metadata: Any, files: Any) -> str:
    return hmac.new(secret, json.dumps([key, metadata, files], sort_keys=True).encode(), "sha256").hexdigest()


def _read(handle: int, most: int) -> bytes:
    with os.fdopen(handle, "rb") as file:
        data = file.read(most + 1)
    if len(data) > most:
        raise ValueError
    return data


def _identity(state: os.stat_result, digest: str) -> tuple[Any, ...]:
    return state.st_dev, state.st_ino, state.st_size, state.st_mtime_ns, state.st_ctime_ns, digest


def _is_as_left(place: Folder, name: str, size: int, digest: str) -> bool:
    """Whether a file has the size and the content that it was published with: it is read once in a process."""
    if not _NAME.fullmatch(name):
        return False
    with os.fdopen(place.open(name), "rb") as file:
        state = os.fstat(file.fileno())
        if state.st_size != size:
            return False
        if (identity := _identity(state, digest)) not in _checked:
            content = hashlib.sha256()
            while piece := file.read(_PIECE):
                content.update(piece)
            if content.hexdigest() != digest:
                return False
            _checked.add(identity)
    return True


def _sweep(root: Folder) -> None:
    """Remove what killed writers have left: nobody holds its lock."""
    for name in root.names():
        if not _PART.fullmatch(name):
            continue
        with suppress(OSError), root.sub(name) as place:
            if _LOCK not in place.names() and time.time() - root.stat(name).st_mtime < _YOUNG_SECONDS:
                continue  # its writer is about to take the lock
            with _locked(root, name) as file:
                lock.take(file)
                _remove(root, name)


def _remove(root: Folder, name: str) -> None:
    """Remove a folder of ours with the files of ours in it, and nothing else: a link stays, and what it leads to."""
    with suppress(OSError):
        with root.sub(name) as place:
            for file in place.names():
                if _NAME.fullmatch(file):
                    with suppress(OSError):
                        place.unlink(file)
        root.rmdir(name)
