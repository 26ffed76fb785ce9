"""Checkpoints in a run folder: written in the background, whole or not at all, the newest whole one found again.

A save writes a new name, flushes it, renames it, flushes the folder, reads it back, and only then removes older ones.
"""

import re
import threading
from collections.abc import Callable
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
    """Write `snapshot` and remove all but the newest two. Raises StorageError; the older ones then stay."""
    path = path_of(folder, snapshot.told["step"])
    try:
        sealed.write(path, snapshot.arrays, snapshot.told)
        sealed.read(path)
        for _, old in found(folder)[:-KEEP]:
            old.unlink()
    except (OSError, RunError) as error:
        size = sum(array.nbytes for array in snapshot.arrays.values())
        reason = (error.strerror if isinstance(error, OSError) else "") or str(error)
        raise StorageError(f"{path}: the checkpoint cannot be saved: {reason}; it needs {size:,} bytes") from None


def found(folder: Path) -> list[tuple[int, Path]]:
    """The checkpoints of a run by update, oldest first. What a killed process left half-written is none of them."""
    matches = ((_NAME.fullmatch(path.name), path) for path in folder.iterdir())
    return sorted((int(match[1]), path) for match, path in matches if match)


def newest(folder: Path) -> tuple[Snapshot | None, list[str]]:
    """The newest whole checkpoint, None where there is none, and what is wrong with newer ones.

    Raises RunError where there are some, and none is whole.
    """
    complaints = []
    checkpoints = found(folder)
    for _, path in reversed(checkpoints):
        try:
            return Snapshot(*sealed.read(path)), complaints
        except (RunError, FileNotFoundError) as error:
            complaints.append(str(error))
    if checkpoints:
        raise RunError(f"{folder}: none of its {len(checkpoints)} checkpoints is whole: {complaints[0]}; train anew")
    return None, complaints


def sweep(folder: Path) -> None:
    """Remove what killed saves of ours have left behind."""
    for path in folder.glob(".*.safetensors.*.tmp"):
        path.unlink(missing_ok=True)


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
