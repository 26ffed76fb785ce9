"""Checkpoints in a run folder: written in the background, whole or not at all, the newest whole one found again.

A save writes a new name, flushes it, renames it, flushes the folder, reads it back, and only then removes older ones.
"""

import re
import threading
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from epochal import sealed
from epochal.errors import RunError, StorageError

KEEP = 2
_NAME = re.compile(r"checkpoint-(\d{12})\.safetensors")


class Snapshot(NamedTuple):
    """All that a run needs to go on to the same bits: copies of its arrays by name, and plain values."""

    arrays: dict[str, np.ndarray]
    told: dict[str, Any]


def path_of(folder: Path, step: int) -> Path:
    """Where the checkpoint of update `step` lies."""
    return folder / f"checkpoint-{step:012}.safetensors"


def save(folder: Path, snapshot: Snapshot) -> None:
    """Write `snapshot`, and remove those before it but for the last. Raises StorageError; the older ones then stay."""
    step = snapshot.told["step"]
    path = path_of(folder, step)
    try:
        sealed.write(path, snapshot.arrays, snapshot.told)
        _read_back(path)
        for _, old in [pair for pair in found(folder) if pair[0] < step][: 1 - KEEP]:
            old.unlink(missing_ok=True)
    except (OSError, RunError) as error:
        size = sum(array.nbytes for array in snapshot.arrays.values())
        reason = (error.strerror if isinstance(error, OSError) else "") or str(error)
        raise StorageError(f"{path}: the checkpoint cannot be saved: {reason}; it needs {size:,} bytes") from None


def _read_back(path: Path) -> None:
    try:
        sealed.read(path)
    except (OSError, RunError):
        with suppress(OSError):
            path.unlink()
        raise


def found(folder: Path) -> list[tuple[int, Path]]:
    """The checkpoints of a run by update, oldest first. What a killed process left half-written is none of them."""
    matches = ((_NAME.fullmatch(path.name), path) for path in folder.iterdir())
    return sorted((int(match[1]), path) for match, path in matches if match and path.is_file())


def newest(folder: Path, run: str | None = None) -> tuple[Snapshot | None, dict[Path, str]]:
    """The newest whole checkpoint, None where there is none, and what is wrong with newer ones.

    `run` is what their value of that name must be, lest a checkpoint of another run is taken.
    Raises RunError where there are some, and none is whole.
    """
    complaints = {}
    for step, path in reversed(found(folder)):
        try:
            snapshot = Snapshot(*sealed.read(path))
            told = snapshot.told.get("step"), snapshot.told.get("run")
            if told == (step, run or told[1]):
                return snapshot, complaints
            complaints[path] = f"{path}: is a checkpoint of another run, or of another step"
        except (RunError, FileNotFoundError) as error:
            complaints[path] = str(error)
    if complaints:
        first = next(iter(complaints.values()))
        raise RunError(f"{folder}: none of its {len(complaints)} checkpoints is whole: {first}; train anew")
    return None, complaints


def set_aside(path: Path) -> Path:
    """Rename a checkpoint that is not whole, so that it does not count as one; returns its new name. Raises OSError."""
    return path.replace(path.with_name(f"{path.name}.damaged"))


class Saver:
    """Saves snapshots in a thread of its own, the latest first; a failure surfaces at the next call and on close."""

    def __init__(self, save: Callable[[Snapshot], None]):
        self._save = save
        self._waiting: Snapshot | None = None
        self._error: StorageError | None = None
        self._wake, self._closing = threading.Condition(), False
        self._thread = threading.Thread(target=self._run, name="epochal-saver", daemon=True)
        self._thread.start()

    def submit(self, snapshot: Snapshot) -> None:
        """Have `snapshot` saved; one that still waits is replaced by it."""
        with self._wake:
            self._waiting = snapshot
            self._wake.notify_all()

    def failure(self) -> StorageError | None:
        """The failure of the last save that ended, once."""
        with self._wake:
            error, self._error = self._error, None
            return error

    def close(self) -> StorageError | None:
        """Wait until all is saved, end the thread; the last failure, if it has not been told."""
        with self._wake:
            self._closing = True
            self._wake.notify_all()
        self._thread.join()
        return self.failure()

    def _run(self) -> None:
        while True:
            with self._wake:
                self._wake.wait_for(lambda: self._waiting is not None or self._closing)
                snapshot, self._waiting = self._waiting, None
            if snapshot is None:
                return
            error = None
            try:
                self._save(snapshot)
            except StorageError as failed:
                error = failed
            except Exception as failed:  # a fault of ours must not end the thread in silence
                error = StorageError(f"the checkpoint cannot be saved: {failed!r}")
            with self._wake:
                self._error = error
