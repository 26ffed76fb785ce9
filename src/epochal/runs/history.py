"""`history.jsonl` of a run folder: one line an epoch, and a digest of them that checkpoints hold."""

import hashlib
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path

from epochal.errors import RunError, StorageError
from epochal.system import atomic, json_file, jsonl, plain_files
from epochal.system.lock import Lock
from epochal.training.progress import EPOCH, Epoch

NAME = "history.jsonl"


class History:
    """The file being written. A line that cannot be written waits for the next time."""

    def __init__(self, folder: Path, lock: Lock):
        self.path, self._lock = folder / NAME, lock
        self._digest, self._waiting = hashlib.sha256(), list[bytes]()

    def begin(self, epochs: Iterable[Epoch]) -> None:
        """Cut the file to `epochs`. Raises StorageError."""
        lines = [_line(epoch) for epoch in epochs]
        self._digest = hashlib.sha256(b"".join(lines))
        try:
            atomic.write(self.path, b"".join(lines))
        except OSError as error:
            raise self._failure(error) from None

    def add(self, epoch: Epoch) -> None:
        """Queue `epoch` for the next `write`."""
        self._waiting.append(_line(epoch))
        self._digest.update(self._waiting[-1])

    def write(self) -> StorageError | None:
        """Write the lines that wait; returns the error if that fails."""
        if not self._waiting:
            return None
        try:
            self._lock.check()
            jsonl.append(self.path, self._waiting)
        except StorageError as error:
            return error
        except OSError as error:
            return self._failure(error)
        self._waiting.clear()
        return None

    def sync(self) -> None:
        """Flush what has been written to the disk. Raises StorageError."""
        try:
            jsonl.sync(self.path)
        except OSError as error:
            raise self._failure(error) from None

    @property
    def whole(self) -> bool:
        """Whether no line waits."""
        return not self._waiting

    @property
    def sha256(self) -> str:
        """Of all lines so far."""
        return self._digest.hexdigest()

    def _failure(self, error: OSError) -> StorageError:
        return StorageError(f"{self.path}: cannot be written: {plain_files.reason(error)}")


def read(folder: Path, count: int, sha256: str) -> tuple[Epoch, ...]:
    """The first `count` epochs of a run, which must have that digest. Raises RunError where they are not there.

    What lies behind them was written after the last checkpoint, and may have been lost with the power.
    """
    path = folder / NAME
    try:
        lines = jsonl.lines(path)[:count]
        if len(lines) < count:
            raise ValueError(f"it has {len(lines):,} whole lines, {count:,} were written")
        if hashlib.sha256(b"".join(lines)).hexdigest() != sha256:
            raise ValueError("its SHA-256 is not the one that was noted")
        return tuple(EPOCH(json_file.parse(line), "") for line in lines)
    except PermissionError as error:
        raise RunError(f"{path}: may not be read: {plain_files.reason(error)}; make it readable for yourself") from None
    except (OSError, ValueError) as error:
        raise RunError(
            f"{path}: cannot be read: {plain_files.reason(error)}; the file is damaged, bring it back"
        ) from None


def so_far(folder: Path) -> tuple[Epoch, ...]:
    """The epochs of a run that goes on or was killed, up to the first line that is not whole."""
    epochs = []
    with suppress(OSError, ValueError):
        for line in jsonl.lines(folder / NAME):
            epochs.append(EPOCH(json_file.parse(line), ""))
    return tuple(epochs)


def _line(epoch: Epoch) -> bytes:
    return jsonl.line(epoch.to_json())
