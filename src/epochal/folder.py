"""A run folder being written: nothing in it is ever half there, and what it holds is enough to go on.

recipe.toml                the effective options; `epochal train --config` takes it back
run.json                   model, recipe, data fingerprint, versions, and the outcome; it makes the folder a run
history.jsonl              one line an epoch
best.safetensors           the parameters with the best validation score
checkpoint-N.safetensors   the whole state after update N; the newest two
test-ledger.jsonl          one line for every opening of the test split
lock                       who writes
"""

import json
import logging
import os
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import IO, Any, Literal

import numpy as np
import tomli_w

from epochal import atomic, checkpoint, parameters, record, sealed
from epochal.checkpoint import Saver, Snapshot
from epochal.errors import RecipeError, RunError, StorageError
from epochal.fitted import Best
from epochal.lock import NAME as LOCK
from epochal.lock import Lock
from epochal.training import Moment, Training

FORMAT = 1
COST_SHARE = 50
"""A save at a new best waits until this many times its own cost has passed, so that it costs at most 2 %."""

log = logging.getLogger("epochal")


@dataclass(frozen=True, kw_only=True)
class Keeping:
    """How a run is kept."""

    checkpoint_seconds: float = 60.0
    """Seconds between two checkpoints at most; a new best is saved as soon as that costs less than 2 %."""

    on_storage_error: Literal["retry", "stop"] = "retry"
    """Where a checkpoint cannot be saved: go on and try again, or stop with exit code 1."""

    no_test: bool = False
    """Leave the test split closed at the end."""

    def __post_init__(self) -> None:
        if not self.checkpoint_seconds >= 0:
            raise RecipeError(f"checkpoint_seconds: must be at least 0, got {self.checkpoint_seconds!r}")
        if self.on_storage_error not in ("retry", "stop"):
            raise RecipeError(f"on_storage_error: must be retry or stop, got {self.on_storage_error!r}")


class RunFolder:
    """The folder of a run that is going on. Whoever makes one holds its lock until `moments` ends, or `close`."""

    def __init__(self, path: Path, lock: Lock, training: Training, keeping: Keeping):
        self.path, self.lock, self.training, self.keeping = path, lock, training, keeping
        self._best: Best | None = None
        self._submitted, self._cost = time.monotonic(), 0.0
        self._saved_best: Best | None = None

    @classmethod
    def create(cls, path: Path, training: Training, keeping: Keeping = Keeping()) -> "RunFolder":
        """Make the folder of a new run. Raises RunError where there is a run in it, or something else."""
        lock = take_lock(path)
        try:
            others = sorted(entry.name for entry in path.iterdir() if entry.name not in (LOCK, "recipe.toml"))
            others = [name for name in others if not (name.startswith(".") and name.endswith(".tmp"))]
            if "run.json" in others:
                raise RunError(
                    f"{path}: holds a run; go on with `epochal resume {path}`, or name another folder with --out"
                )
            if others:
                raise RunError(f"{path}: is not empty (it holds {others[0]}); name another folder with --out")
            folder = cls(path, lock, training, keeping)
            folder._begin()
        except OSError as error:
            lock.close()
            raise StorageError(f"{path}: the run cannot be written: {error.strerror or error}") from None
        except BaseException:
            lock.close()
            raise
        return folder

    def moments(self) -> Iterator[Moment]:
        """The training's moments, each recorded before it is passed on; however it ends, the state is saved."""
        saver, history, whole = Saver(self._save), self._history(), True
        iterator = self.training.moments()
        try:
            while True:
                whole = False  # while a stretch runs, the state is in the compiled program's hands
                moment = next(iterator, None)
                whole = True
                if moment is None:
                    return
                if moment.epoch:
                    self._written(history, json.dumps(record.epoch_json(moment.epoch)) + "\n")
                self._heed(saver.failure())
                if self._due():
                    self._submit(saver, history)
                yield moment
        finally:
            self._end(saver, history, whole)

    def close(self) -> None:
        """Let go of the folder."""
        self.lock.close()

    def _history(self) -> IO[str]:
        """The history, cut to the epochs that the state knows."""
        path = self.path / "history.jsonl"
        lines = [json.dumps(record.epoch_json(epoch)) + "\n" for epoch in self.training.epochs]
        atomic.write(path, "".join(lines).encode())
        return path.open("a", encoding="utf-8")

    def _due(self) -> bool:
        since = time.monotonic() - self._submitted
        better = self.training.best is not self._best and since >= COST_SHARE * self._cost
        return better or since >= self.keeping.checkpoint_seconds

    def _submit(self, saver: Saver, history: IO[str]) -> None:
        begun = time.monotonic()
        snapshot = self.training.snapshot()
        os.fsync(history.fileno())  # a checkpoint counts the epochs before it, so they must be there
        saver.submit(snapshot)
        self._best, self._submitted = self.training.best, time.monotonic()
        self._cost = max(self._cost, self._submitted - begun)

    def _save(self, snapshot: Snapshot) -> None:
        """In the saver's thread: the checkpoint, and the best parameters where they are new."""
        begun = time.monotonic()
        checkpoint.save(self.path, snapshot)
        if snapshot.told["best"] is not None:
            epoch, step, wrong = snapshot.told["best"]
            named = {n.removeprefix("best."): array for n, array in snapshot.arrays.items() if n.startswith("best.")}
            self._save_best(Best(epoch, step, self.training.valid_score(wrong)), named)
        self._cost = max(self._cost, time.monotonic() - begun)

    def _save_best(self, best: Best, named: dict[str, np.ndarray]) -> None:
        if best == self._saved_best:
            return
        path = self.path / "best.safetensors"
        try:
            sealed.write(path, named, record.best_json(best))
            self._saved_best = best
        except OSError as error:
            raise StorageError(f"{path}: the best parameters cannot be saved: {error.strerror or error}") from None

    def _heed(self, error: StorageError | None) -> None:
        if error is None:
            return
        if self.keeping.on_storage_error == "stop":
            self.training.stopped = "storage"
            raise error
        log.warning("%s; the run goes on and tries again", error)
        self._best = None

    def _written(self, history: IO[str], line: str) -> None:
        try:
            history.write(line)
            history.flush()
        except OSError as error:
            raise StorageError(f"{history.name}: cannot be written: {error.strerror or error}") from None

    def _end(self, saver: Saver, history: IO[str], whole: bool) -> None:
        try:
            if whole and self.training.stopped != "storage":
                self._submit(saver, history)
            error = saver.close()
            if error is not None and whole:  # once more, in the open: what fails now is lost
                self._save(self.training.snapshot())
            if (
                self.training.best is not None and self.training.stopped != "storage"
            ):  # also where the state is lost: a run that diverged keeps its best
                self._save_best(self.training.best, parameters.flatten(self.training.params))
            atomic.write_json(self.path / "run.json", self._describe())
        except OSError as failed:
            raise StorageError(f"{self.path}: the outcome cannot be written: {failed.strerror or failed}") from None
        finally:
            saver.close()
            history.close()
            self.close()

    def _begin(self) -> None:
        checkpoint.sweep(self.path)
        training = self.training
        options = record.model_options(training.model) | training.recipe.to_dict()
        if training.data.origin:
            options = {"data": training.data.origin} | training.data.reading.to_dict() | options
        text = f"# Options of this run: epochal train --config {self.path / 'recipe.toml'} repeats it.\n"
        atomic.write(self.path / "recipe.toml", (text + tomli_w.dumps(options)).encode())
        atomic.write_json(self.path / "run.json", self._describe())

    def _describe(self) -> dict[str, Any]:
        training, data = self.training, self.training.data
        return {
            "format": FORMAT,
            "model": {"name": training.model.name, "settings": dict(training.model.settings)},
            "recipe": training.recipe.to_dict(),
            "data": record.data_json(data),
            "best": record.best_json(training.best) if training.best else None,
            "parameters_sha256": parameters.sha256(training.params) if training.best else None,
            "steps": training.step,
            "stopped": training.stopped,
            "residency": record.residency_json(training.residency),
            "seconds": dict(training.seconds),
            "keeping": asdict(self.keeping),
            "memory_bytes": training.program.memory_bytes,
            "versions": record.versions(),
        }


def take_lock(path: Path) -> Lock:
    """The lock of the run folder `path`, which is made if need be. Raises RunError, StorageError."""
    try:
        path.mkdir(parents=True, exist_ok=True)
        return Lock(path)
    except OSError as error:
        raise StorageError(f"{path}: the run folder cannot be made: {error.strerror or error}") from None


def new_folder(parent: Path, name: str) -> Path:
    """`parent`/`name`-N with the first number that is free; made here, so that two runs never get the same one."""
    for number in range(1, 1_000_000):
        path = parent / f"{name}-{number}"
        try:
            path.mkdir(parents=True)
            return path
        except FileExistsError:
            continue
        except OSError as error:
            raise RunError(f"{path}: the run folder cannot be made: {error.strerror}; name one with --out") from None
    raise RunError(f"{parent}: a million runs are called {name}; name another with --out")
