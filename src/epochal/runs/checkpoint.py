"""Checkpoints in a run folder: written in the background, whole or not at all, and the newest whole one to go on from.

A save writes a new name, flushes it, renames it, flushes the folder, reads it back, and only then removes older ones.
"""

import re
import threading
from collections.abc import Callable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np

from epochal.errors import RunError, StorageError
from epochal.system import checksummed, plain_files
from epochal.system.schema import fields, flag, listed, mapping, number, optional, plain, sha256, together, whole
from epochal.training.progress import stopped
from epochal.training.snapshot import Snapshot

KEEP = 2
STATE = fields(
    dict, step=whole(), patience=listed(plain, 4, 4), best=optional(listed(whole(), 4, 4)), epochs=whole(),
    current_epoch=fields(
        dict, loss=number, rows=whole(), seconds=number, validation_seconds=number, best=flag,
        validations=listed(together(whole(), whole())),
    ),
    stopped=optional(stopped), seconds=mapping(number), run=optional(sha256), history=optional(sha256),
)  # fmt: skip
"""The metadata of a run's checkpoint."""
_NAME = re.compile(r"checkpoint-(\d{12})\.safetensors")


def to_arrays(snapshot: Snapshot) -> dict[str, np.ndarray]:
    """The arrays of a snapshot as a file holds them: each by its name, behind `state.` or `best.`."""
    parts = {"state": snapshot.state, "best": snapshot.best}
    return {f"{part}.{name}": array for part, arrays in parts.items() for name, array in arrays.items()}


def to_snapshot(arrays: Mapping[str, np.ndarray], metadata: dict[str, Any]) -> Snapshot:
    """The snapshot of a file's arrays and metadata."""
    return Snapshot(under("state.", arrays), under("best.", arrays), metadata)


def under(prefix: str, arrays: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Those of the arrays whose names begin with `prefix`, by the rest of their names."""
    return {name.removeprefix(prefix): array for name, array in arrays.items() if name.startswith(prefix)}


def path_of(folder: Path, step: int) -> Path:
    """Where the checkpoint of update `step` lies."""
    return folder / f"checkpoint-{step:012}.safetensors"


def save(folder: Path, snapshot: Snapshot) -> None:
    """Write `snapshot`, and remove those before it but for the last. Raises StorageError; the older ones then stay."""
    step, arrays = snapshot.metadata["step"], to_arrays(snapshot)
    path = path_of(folder, step)
    try:
        checksummed.write(path, arrays, snapshot.metadata)
        _read_back(path)
        for _, old in [pair for pair in paths(folder) if pair[0] < step][: 1 - KEEP]:
            plain_files.unlink(old)
    except (OSError, RunError) as error:
        size = sum(array.nbytes for array in arrays.values())
        why = plain_files.reason(error)
        raise StorageError(f"{path}: the checkpoint cannot be saved: {why}; it needs {size:,} bytes") from None


def _read_back(path: Path) -> None:
    try:
        checksummed.read(path)
    except (OSError, RunError):
        with suppress(OSError):
            plain_files.unlink(path)
        raise


def paths(folder: Path) -> list[tuple[int, Path]]:
    """The checkpoints of a run by update, oldest first. What a killed process left half-written is none of them.

    Nor are links, and whatever else is no regular file.
    """
    matches = ((_NAME.fullmatch(path.name), path) for path in folder.iterdir())
    return sorted((int(match[1]), path) for match, path in matches if match and plain_files.is_plain(path))


def newest(folder: Path, run: str | None = None) -> tuple[Snapshot | None, dict[Path, str]]:
    """The newest whole checkpoint, None where there is none, and what is wrong with newer ones.

    `run` is what their value of that name must be: a checkpoint of another run does not count.
    Raises RunError where there are some, and none is whole, or where one may not be read.
    """
    complaints = {}
    for step, path in reversed(paths(folder)):
        try:
            arrays, metadata = checksummed.read(path)
            if metadata.get("step") == step and run in (None, metadata.get("run")):
                return to_snapshot(arrays, metadata), complaints
            complaints[path] = f"{path}: is a checkpoint of another run, or of another step"
        except PermissionError as error:  # which is no damage
            raise RunError(f"{path}: may not be read: {plain_files.reason(error)}; make it readable") from None
        except (RunError, FileNotFoundError) as error:
            complaints[path] = str(error)
    if complaints:
        first = next(iter(complaints.values()))
        raise RunError(f"{folder}: none of its {len(complaints)} checkpoints is whole: {first}; train anew")
    return None, complaints


def set_aside(path: Path) -> Path:
    """Rename a file that is not whole, so that it does not count as one; returns its new name. Raises OSError."""
    return plain_files.set_aside(path, "damaged")


class Saver:
    """Saves snapshots in a background thread, the latest first; a failure surfaces at the next call and on close."""

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
        """Wait until all is saved, end the thread; the last failure, if nobody has it yet."""
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
