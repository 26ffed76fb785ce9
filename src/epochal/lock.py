"""One process a run folder: a lock that its owner's end releases, however it ends."""

import errno
import json
import os
import socket
import time
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import IO

from epochal import atomic
from epochal.errors import RunError, StorageError

NAME = "lock"

try:
    import fcntl
except ImportError:  # Windows
    fcntl = None


class Lock:
    """Holds the lock of a run folder until it is closed. The system releases it when the process ends.

    The file tells who holds it: process, host, and since when. It stays when the lock goes; what counts is the lock.
    """

    def __init__(self, folder: Path):
        """Take the lock. Raises RunError, naming the owner, where another process has it; OSError."""
        self.path = folder / NAME
        self._file: IO[str] = self.path.open("a+", encoding="utf-8")
        try:
            self._take(folder)
            self._file.seek(0)
            self._file.truncate()
            since = datetime.now(UTC).isoformat(timespec="seconds")
            json.dump({"process": os.getpid(), "host": socket.gethostname(), "since": since}, self._file)
            self._file.flush()
        except BaseException:
            with suppress(OSError):  # what could not be written is tried once more
                self._file.close()
            raise

    def check(self) -> None:
        """Raise StorageError where the folder is no longer the one that was locked: removed, or another in its place.

        What is written to another would be mixed with the run of its owner.
        """
        held = os.fstat(self._file.fileno())
        try:
            there = self.path.stat()
        except OSError as error:
            raise StorageError(
                f"{self.path.parent}: the run folder has been removed or cannot be reached any more: {error.strerror}; "
                f"bring it back"
            ) from None
        if (there.st_dev, there.st_ino) != (held.st_dev, held.st_ino):
            raise StorageError(f"{self.path.parent}: another folder lies in the place of this run's; bring it back")

    def close(self) -> None:
        """Release the lock."""
        self._file.close()

    def _take(self, folder: Path) -> None:
        try:
            _hold(self._file, block=False)
        except OSError as error:
            if error.errno not in (errno.EWOULDBLOCK, errno.EACCES, errno.EDEADLK):  # file systems without locks
                raise
            owner = _owner(self._file)
            raise RunError(f"{folder}: is in use by {owner}; wait for it, or name another folder with --out") from None


def take(file: IO[str]) -> None:
    """Have `file` to oneself until it is closed. Raises OSError where another has it."""
    _hold(file, block=False)


def wait(file: IO[bytes]) -> None:
    """Have `file` to oneself until it is closed; waits for others. Raises OSError."""
    _hold(file, block=True)


def _hold(file: IO[str] | IO[bytes], *, block: bool) -> None:
    if fcntl is not None:
        fcntl.flock(file, fcntl.LOCK_EX | (0 if block else fcntl.LOCK_NB))
        return
    import msvcrt

    file.seek(1 << 30)  # a byte that nobody reads: on Windows a locked byte cannot be read either
    msvcrt.locking(file.fileno(), msvcrt.LK_LOCK if block else msvcrt.LK_NBLCK, 1)  # pyrefly: ignore


def _owner(file: IO[str]) -> str:
    for _ in range(20):  # the owner may have taken the lock this instant, and not told yet
        with suppress(OSError, ValueError, KeyError, TypeError):
            file.seek(0)
            told = json.load(file)
            return f"process {told['process']} on {told['host']} since {told['since']}"
        time.sleep(0.01)
    return "another process"


def take_lock(path: Path) -> Lock:
    """The lock of the run folder `path`, which is made if need be. Raises RunError, StorageError."""
    try:
        atomic.make_folder(path)
        return Lock(path)
    except OSError as error:
        raise StorageError(f"{path}: the run folder cannot be made: {error.strerror or error}") from None
