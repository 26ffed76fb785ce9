"""The writer of a run folder: nothing in it is ever half there, and what it holds is enough to go on.

recipe.toml                the effective options; `epochal train --config` takes it back
run.json                   model, recipe, data fingerprint, versions, and the outcome; it makes the folder a run
history.jsonl              one line an epoch
best.safetensors           the parameters with the best validation score
checkpoint-N.safetensors   the whole state after update N; the newest two
rows.safetensors           digests of the rows, by which they are recognised
test-ledger.jsonl          one line for every opening of the test split
code/                      the user's own files that were executed, where there are any (`kept_code`)
lock                       who writes
"""

import logging
import shlex
import time
from collections.abc import Generator
from pathlib import Path
from typing import Any, Self

import numpy as np
import tomli_w

from epochal.errors import EpochalError, RunError, StorageError
from epochal.models import parameters
from epochal.runs import best_file, checkpoint, row_file
from epochal.runs.checkpoint import Saver
from epochal.runs.code_keeper import Keeper
from epochal.runs.history import History
from epochal.runs.kept_code import NAME as CODE
from epochal.runs.options import CheckpointOptions
from epochal.runs.schema import NAME as RUN
from epochal.runs.schema import DataRecord, HistoryRecord, ModelRecord, ResidencyRecord, RunRecord, now, run_sha256
from epochal.runs.versions import versions
from epochal.system import atomic, json_file, plain_files
from epochal.system.lock import NAME as LOCK
from epochal.system.lock import Lock, check_free, take_lock
from epochal.training.progress import Best, Progress, Stopped
from epochal.training.score import Score
from epochal.training.snapshot import Snapshot
from epochal.training.training import Training

COST_SHARE = 50
"""A save at a new best waits until this many times its own cost has passed, so that it costs at most 2 %."""
WARNING_SECONDS = 10.0
"""Seconds between two warnings of a disk that stays full."""

log = logging.getLogger("epochal")


class RunWriter:
    """Writes the folder of a run in progress. It holds the folder's lock until `close`; `with` closes it."""

    def __init__(
        self,
        path: Path,
        lock: Lock,
        training: Training,
        options: CheckpointOptions | None = None,
        record: RunRecord | None = None,
    ):
        """`record` is that of a run that goes on, whose folder has its options."""
        self.path, self.lock, self.training = path, lock, training
        self.options = record.options if record else options or CheckpointOptions()
        self._begun, self._ended = record.begun if record else now(), False
        self._best: Best | None = None
        self._submitted, self._cost = time.monotonic(), 0.0
        self._saved_best: Best | None = None
        self._warned = -WARNING_SECONDS
        self._run = run_sha256(training.model, training.recipe, training.data)
        self._history = History(path, lock)
        uses = {"model": training.model.source, **training.loop.functions.sources}
        self._keeper = Keeper(path, uses, record.code if record else None)

    @classmethod
    def create(cls, path: Path, training: Training, options: CheckpointOptions | None = None) -> "RunWriter":
        """Make the folder of a new run. Raises RunError where there is a run in it, or something else."""
        keeper = Keeper(path, {"model": training.model.source, **training.loop.functions.sources})
        if path.is_dir():
            _check_empty(path, keeper)  # before anything is written: what is refused stays as it is
        lock = take_lock(path)
        try:
            _check_empty(path, keeper)
            folder = cls(path, lock, training, options)
            folder._begin()
        except OSError as error:
            lock.close()
            raise StorageError(f"{path}: the run cannot be written: {plain_files.reason(error)}") from None
        except BaseException:
            lock.close()
            raise
        return folder

    def progress(self) -> Generator[Progress]:
        """The progress of the training, recorded before it is passed on; however it ends, the state is saved."""
        self._write_description()  # says again that the run is not over
        self._history.begin(self.training.epochs)
        saver, whole = Saver(self._save), True
        iterator = self.training.progress()
        try:
            while True:
                whole = False  # while a stretch runs, the state is in the compiled program's hands
                progress = next(iterator, None)
                whole = True
                if progress is None:
                    return
                if progress.epoch:
                    self._history.add(progress.epoch)
                self._handle(self._history.write() or saver.failure() or self._keep_code())
                if self._due() and self._history.whole:
                    self._submit(saver)
                yield progress
        finally:
            self._end(saver, whole)

    def close(self) -> None:
        """Release the folder's lock."""
        self.lock.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        self.close()

    def _due(self) -> bool:
        since = time.monotonic() - self._submitted
        better = self.training.best is not self._best and since >= COST_SHARE * self._cost
        return better or since >= self.options.checkpoint_seconds

    def _submit(self, saver: Saver) -> None:
        begun = time.monotonic()
        saver.submit(self._snapshot())
        self._best, self._submitted = self.training.best, time.monotonic()
        self._cost = max(self._cost, self._submitted - begun)

    def _snapshot(self) -> Snapshot:
        snapshot = self.training.snapshot()
        return snapshot._replace(metadata=snapshot.metadata | {"run": self._run, "history": self._history.sha256})

    def _save(self, snapshot: Snapshot) -> None:
        """In the saver's thread: the checkpoint, and the best parameters where they are new. Raises StorageError."""
        begun = time.monotonic()
        self.lock.check()
        self._history.sync()  # a checkpoint counts the epochs before it, so they must be there
        checkpoint.save(self.path, snapshot)
        if snapshot.metadata["best"] is not None:
            epoch, step, wrong, of = snapshot.metadata["best"]
            self._save_best(Best(epoch, step, Score(wrong, of)), snapshot.best)
        self._cost = max(self._cost, time.monotonic() - begun)

    def _save_best(self, best: Best, named: dict[str, np.ndarray]) -> None:
        if best == self._saved_best:
            return
        best_file.write(self.path, best, named, self._run)
        self._saved_best = best

    def _handle(self, error: StorageError | None) -> None:
        if error is None:
            return
        if self.options.on_storage_error == "stop":
            self.training.stop(Stopped.STORAGE)
            raise error
        if time.monotonic() - self._warned >= WARNING_SECONDS:
            log.warning("%s; the run goes on and tries again", error)
            self._warned = time.monotonic()
        self._best = None

    def _end(self, saver: Saver, whole: bool) -> None:
        failure: EpochalError | None = None
        stopped = self.training.stopped == Stopped.STORAGE  # the error is on its way already
        try:
            if whole and not stopped:
                self._save_last(saver)
        except EpochalError as error:
            failure = error
        finally:
            saver.close()
        try:
            self._save_outcome()  # also where the state is lost: a run that diverged keeps its best
        except StorageError as error:
            failure = failure or (None if stopped else error)
        if failure:
            raise failure

    def _save_last(self, saver: Saver) -> None:
        """The state at the end. Raises DivergedError where it is not finite, StorageError."""
        failure = self._history.write()
        if failure is None:
            self._submit(saver)
        if saver.close() or failure:  # once more, in the open: what fails now is lost
            failure = self._history.write()
            if failure:
                raise failure
            self._save(self._snapshot())

    def _save_outcome(self) -> None:
        self.lock.check()
        self._ended = True
        if self.training.best is not None:
            self._save_best(self.training.best, parameters.flatten(self.training.params))
        self._write_description()

    def _write_description(self) -> None:
        try:
            atomic.write_json(self.path / RUN, self._describe())
        except OSError as error:
            raise StorageError(f"{self.path / RUN}: cannot be written: {plain_files.reason(error)}") from None

    def _begin(self) -> None:
        sweep(self.path)
        self._keeper.sweep()
        training = self.training
        options = ModelRecord.of(training.model).options | training.recipe.to_dict()
        if training.data.origin:
            options = {"data": training.data.origin} | training.data.reading.to_dict() | options
        # A name of a folder may hold what no comment can.
        recipe = shlex.quote(str(self.path / "recipe.toml")) if str(self.path).isprintable() else "recipe.toml"
        text = f"# Options of this run: epochal train --config {recipe} repeats it.\n"
        row_file.write(self.path, training.data)
        atomic.write(self.path / "recipe.toml", (text + tomli_w.dumps(options)).encode())
        atomic.write_json(self.path / RUN, self._describe())

    def _keep_code(self) -> StorageError | None:
        """Keep what was imported in the middle of a run; what could not be written."""
        if self._keeper.has_grown():
            try:
                self._write_description()
            except StorageError as error:
                return error
        return None

    def _describe(self) -> dict[str, Any]:
        training = self.training
        record = RunRecord(
            run_sha256=self._run,
            model=ModelRecord.of(training.model),
            recipe=training.recipe.to_dict(),
            by_value=training.recipe.by_value,
            data=DataRecord.of(training.data),
            best=training.best,
            parameters_sha256=parameters.sha256(training.params) if training.best else None,
            steps=training.step,
            steps_per_epoch=training.steps_per_epoch,
            stopped=training.stopped,
            begun=self._begun,
            ended=now() if self._ended else None,
            residency=ResidencyRecord.of(training.residency),
            seconds=dict(training.seconds),
            memory_bytes=training.loop.memory_bytes,
            history=HistoryRecord(len(training.epochs), self._history.sha256),
            options=self.options,
            code=self._keeper.keep(),
            versions=versions(),
        )
        return json_file.sealed(record.to_json())


def sweep(path: Path) -> None:
    """Remove what killed writers have left in a run folder whose lock is held. Raises OSError."""
    atomic.sweep(path, r"recipe\.toml", r"run\.json", r"history\.jsonl", r"[\w-]+\.safetensors")


def _check_empty(path: Path, keeper: Keeper) -> None:
    """Raise RunError where a folder holds more than what a training leaves that was killed before it was a run."""
    try:
        others = sorted(e.name for e in path.iterdir() if e.name != LOCK and not atomic.is_temporary(e.name))
    except OSError as error:
        raise RunError(f"{path}: cannot be looked into: {plain_files.reason(error)}; name another folder") from None
    ours = [name for name in ("recipe.toml", row_file.NAME) if plain_files.is_plain(path / name)]
    if "run.json" in others:
        check_free(path)
        raise RunError(f"{path}: holds a run; go on with `epochal resume {path}`, or name another folder with --out")
    others = [name for name in others if name not in ours and not (name == CODE and keeper.is_own())]
    if others:
        raise RunError(f"{path}: is not empty (it holds {others[0]}); name another folder with --out")


def new_folder(parent: Path, name: str) -> Path:
    """`parent`/`name`-N with the first number that is free; created here, so that two runs never get the same one."""
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
