"""One process a run folder: a lock that its owner's end releases, however it ends."""

import json
import os
import socket
import time
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import IO

from epochal.errors import RunError

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
        path = folder / NAME
        self._file: IO[str] = path.open("a+", encoding="utf-8")
        try:
            _take(self._file)
        except OSError:
            owner = _owner(self._file)
            self._file.close()
            raise RunError(f"{folder}: is in use by {owner}; wait for it, or name another folder with --out") from None
        self._file.seek(0)
        self._file.truncate()
        since = datetime.now(UTC).isoformat(timespec="seconds")
        json.dump({"process": os.getpid(), "host": socket.gethostname(), "since": since}, self._file)
        self._file.flush()

    def close(self) -> None:
        """Release the lock."""
        self._file.close()


def _take(file: IO[str]) -> None:
    if fcntl is not None:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        return
    import msvcrt

    file.seek(1 << 30)  # a byte that nobody reads: on Windows a locked byte cannot be read either
    msvcrt.locking(file.fileno(), msvcrt.LK_NBLCK, 1)  # pyrefly: ignore


def _owner(file: IO[str]) -> str:
    for _ in range(20):  # the owner may have taken the lock this instant, and not told yet
        with suppress(OSError, ValueError, KeyError, TypeError):
            file.seek(0)
            told = json.load(file)
            return f"process {told['process']} on {told['host']} since {told['since']}"
        time.sleep(0.01)
    return "another process"
