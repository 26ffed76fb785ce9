"""The lock of a folder: one process writes to it, and the lock ends with its owner, however that ends."""

import errno
import json
import os
import socket
import time
import weakref
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import IO

from epochal.errors import RunError, StorageError
from epochal.system import atomic, json_file, plain_files

NAME = "lock"
_BEGIN, _MOST_BYTES = b'{"process": ', 4096

try:
    import fcntl
except ImportError:  # Windows
    fcntl = None


class Lock:
    """Holds the lock of a run folder until it is closed. The system releases it when the process ends.

    The file tells who holds it: process, host, and since when. It stays when the lock goes; what counts is the lock.
    A file of that name that is somebody else's is neither followed, where it is a link, nor written to.
    """

    def __init__(self, folder: Path):
        """Take the lock. Raises RunError, naming the owner, where another process has it; OSError."""
        self.path = folder / NAME
        self._file = plain_files.opened(self.path, os.O_RDWR | os.O_CREAT)
        # Also without `close`, as where a loop over a run ends early, and before the interpreter takes itself apart.
        self._release = weakref.finalize(self, os.close, self._file)
        try:
            _take(self._file, folder)
            if not _is_ours(self._file):
                raise RunError(f"{self.path}: is no lock of epochal's, and stays as it is; name another folder")
            os.ftruncate(self._file, 0)
            since = datetime.now(UTC).isoformat(timespec="seconds")
            owner = {"process": os.getpid(), "host": socket.gethostname(), "since": since}
            os.lseek(self._file, 0, os.SEEK_SET)
            plain_files.write_all(self._file, json.dumps(owner).encode())
        except BaseException:
            self.close()
            raise

    def check(self) -> None:
        """Raise StorageError where the folder is no longer the one that was locked: removed, or another in its place.

        What is written to another would be mixed with the run of its owner.
        """
        held = os.fstat(self._file)
        try:
            there = self.path.lstat()
        except OSError as error:
            raise StorageError(
                f"{self.path.parent}: the run folder has been removed or cannot be reached any more: {error.strerror}; "
                f"bring it back"
            ) from None
        if (there.st_dev, there.st_ino) != (held.st_dev, held.st_ino):
            raise StorageError(f"{self.path.parent}: another folder lies in the place of this run's; bring it back")

    def close(self) -> None:
        self._release()
        self._file = -1


def check_free(folder: Path) -> None:
    """Raise RunError, naming the owner, where another process has the lock of `folder`. Writes nothing."""
    try:
        file = plain_files.opened(folder / NAME, os.O_RDWR)
    except OSError:
        return
    try:
        _take(file, folder)
    finally:
        os.close(file)


def _take(file: int, folder: Path) -> None:
    try:
        _hold(file, block=False)
    except OSError as error:
        if error.errno not in (errno.EWOULDBLOCK, errno.EACCES, errno.EDEADLK):  # file systems without locks
            raise
        owner = _owner(file)
        raise RunError(f"{folder}: is in use by {owner}; wait for it, or name another folder with --out") from None


def take(file: IO[str]) -> None:
    """Lock `file` until it is closed. Raises OSError where another process has it."""
    _hold(file.fileno(), block=False)


def wait(file: int) -> None:
    """Lock `file` until it is closed, once others have closed it. Raises OSError."""
    _hold(file, block=True)


def _hold(file: int, *, block: bool) -> None:
    if fcntl is not None:
        fcntl.flock(file, fcntl.LOCK_EX | (0 if block else fcntl.LOCK_NB))
        return
    import msvcrt

    os.lseek(file, 1 << 30, os.SEEK_SET)  # a byte that nobody reads: on Windows a locked byte cannot be read either
    msvcrt.locking(file, msvcrt.LK_LOCK if block else msvcrt.LK_NBLCK, 1)  # pyrefly: ignore


def _content(file: int) -> bytes:
    os.lseek(file, 0, os.SEEK_SET)
    return os.read(file, _MOST_BYTES)


def _is_ours(file: int) -> bool:
    """Whether a lock file holds what this module writes, a part of it, or nothing."""
    content = _content(file).strip(b"\0")  # zeros: what was not flushed before the power went
    whole = len(content) < _MOST_BYTES
    return whole and (content.startswith(_BEGIN) or _BEGIN.startswith(content))


def _owner(file: int) -> str:
    for _ in range(20):  # the owner may have taken the lock this instant, and not written yet
        with suppress(OSError, ValueError, KeyError, TypeError):
            owner = json_file.parse(_content(file))
            process, host, since = (json_file.shown(owner[name]) for name in ("process", "host", "since"))
            return f"process {process} on {host} since {since}"
        time.sleep(0.01)
    return "another process"


def take_lock(path: Path) -> Lock:
    """The lock of the run folder `path`, which is made if need be. Raises RunError, StorageError."""
    try:
        if not isinstance(path, plain_files.Inner):
            atomic.make_folder(path)
        return Lock(path)
    except OSError as error:
        raise StorageError(f"{path}: the run folder cannot be made: {error.strerror or error}") from None
