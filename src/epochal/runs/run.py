"""Runs in folders: train into one, resume, load."""

import logging
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from epochal.data.dataset import Dataset
from epochal.data.loading import load
from epochal.errors import DataError, DivergedError, EpochalError, RecipeError, RunError, StorageError
from epochal.models.base import Model
from epochal.runs import best_file, checkpoint, history
from epochal.runs.row_file import RecordedData
from epochal.runs.run_code import RunCode
from epochal.runs.schema import NAME, REMEDY, DataRecord, RunRecord, misfit, read_record, run_sha256
from epochal.runs.versions import differences
from epochal.runs.writer import RunWriter, sweep
from epochal.system.lock import take_lock
from epochal.system.plain_files import reason
from epochal.system.schema import Unfit
from epochal.training import user_functions
from epochal.training.fitted import Fit
from epochal.training.program import Program
from epochal.training.progress import Epoch, Stopped
from epochal.training.recipe import FUNCTIONS, Recipe
from epochal.training.training import Training, train

log = logging.getLogger("epochal")


def fit(
    model: Model | Any,
    data: Dataset,
    recipe: Recipe | None = None,
    *,
    out: str | Path | None = None,
    memory_bytes: int | None = None,
) -> Fit:
    """Train to the end and return the best on the validation split; with `out`, keep the run in that folder.

    Raises what `train` raises, and RunError where the folder cannot be written. The `fit` of a DivergedError is the
    best until then.
    """
    training = train(model, data, recipe, memory_bytes=memory_bytes)
    if out is None:
        for _ in training:
            pass
        return training.fit()
    return _drained(RunWriter.create(Path(out), training))


def _drained(folder: RunWriter) -> Fit:
    training = folder.training
    try:
        with folder:
            for _ in folder.progress():
                pass
    except DivergedError as error:
        error.fit = training.fit(folder.path) if training.best else None
        raise
    return training.fit(folder.path)


@dataclass(frozen=True)
class Resumed:
    """A run that goes on: its folder, locked, and notes for its user."""

    folder: RunWriter
    notes: tuple[str, ...]

    def fit(self) -> Fit:
        """Train to the end."""
        return _drained(self.folder)


def resume(
    path: str | Path,
    data: Dataset | None = None,
    *,
    model: Model | Any = None,
    recipe: Recipe | None = None,
    strict: bool = False,
    trust: bool = False,
    memory_bytes: int | None = None,
) -> Resumed:
    """Go on with the run in `path` from its newest whole checkpoint, or from its beginning where there is none.

    `data`, `model`, `recipe` and `trust` are needed where the folder does not hold them, as for `load_run`. Another
    machine, core count or version of JAX may change bits: a note says so, and `strict` refuses, before any code is
    executed; it also refuses where a file of the user has changed since, though the text that the run keeps is used.
    `memory_bytes` is what the rows may take on the device; left out: what they might before.
    Raises RunError for what is no run, in use, damaged beyond its checkpoints, or other than it was; DataError.
    """
    path = Path(path)
    _read(path)  # what is no run gets no lock
    lock = take_lock(path)
    try:
        record = _read(path)
        code = RunCode.opened(path, record, FUNCTIONS + (("model",) if model is None else ()), trusted=trust)
        notes = code.changed(strict=strict, given=model) + _differences(record.versions, strict, path)
        recipe = code.recipe(recipe)
        data = training_data(path) if data is None else data
        _check_same(data, record.data, path)
        functions, model = code.functions(recipe), code.model(model)
        training = Training(model, data, recipe, memory_bytes or record.memory_bytes, functions)
        sweep(path)
        complaints = _restored(training, path, record)
        for damaged, complaint in complaints.items():
            aside = checkpoint.set_aside(damaged)
            notes.append(f"{complaint}; it is called {aside.name} now, and an older checkpoint is used")
        return Resumed(RunWriter(path, lock, training, record=record), tuple(notes))
    except OSError as error:
        lock.close()
        raise StorageError(f"{path}: the run cannot be resumed: {reason(error)}") from None
    except BaseException as error:
        lock.close()
        if _is_misfit(error, model):
            raise RunError(f"{path / NAME}: makes no sense: {error!r}; {REMEDY}") from None
        raise


def _restored(training: Training, path: Path, record: RunRecord) -> dict[Path, str]:
    """Bring `training` to the newest whole checkpoint; what is wrong with newer ones. Raises RunError."""
    run = run_sha256(training.model, training.recipe, training.data)
    snapshot, complaints = checkpoint.newest(path, run)
    if snapshot is None:
        return complaints
    source = training.model.source.reference
    try:
        state = checkpoint.STATE(snapshot.metadata, "")
        training.load_snapshot(snapshot, history.read(path, state["epochs"], state["history"]))
    except (KeyError, TypeError, ValueError, AttributeError, IndexError, OverflowError) as error:
        if source and isinstance(error, ValueError):
            raise RunError(
                f"{path}: does not fit the model {source}: {error}; resume it with the one it keeps"
            ) from None
        where = checkpoint.path_of(path, snapshot.metadata["step"])
        raise RunError(f"{where}: is no checkpoint of this run: {error}; remove it, and an older one is used") from None
    return complaints


def _is_misfit(error: BaseException, model: Any) -> bool:
    """Whether an error is one of Python's own, where no code of the user's could have raised it."""
    own_code = isinstance(model, Model) and not model.built_in
    return not own_code and isinstance(error, MISFITS) and not isinstance(error, EpochalError)


MISFITS = (KeyError, TypeError, ValueError, AttributeError, IndexError, OverflowError, ArithmeticError)
"""What values raise that fit their own keys, and do not fit each other."""


def _differences(then: Mapping[str, str], strict: bool, path: Path) -> list[str]:
    differ = differences(then)
    if differ and strict:
        raise RunError(f"{path}: was begun elsewhere: {'; '.join(differ)}; resume it there, or without --strict")
    return [f"bits may differ from an uninterrupted run: {'; '.join(differ)}"] if differ else []


def load_run(
    path: str | Path,
    data: Dataset | None = None,
    *,
    model: Model | Any = None,
    recipe: Recipe | None = None,
    trust: bool = False,
) -> Fit:
    """Open a run folder: the best parameters, ready to predict.

    `data` are needed to `test()` only, and must be those of the run. `model` and `recipe` are needed where the run's
    model or its optimizer was given by value. A model of FILE.py:NAME is executed as the run keeps it, and a warning
    says where the file has changed since; `model` takes the one of a file as it is now. What this user's runs have not
    written is executed with `trust` alone.
    Raises RunError for a folder that is no whole run, or whose code is not trusted, DataError for other data.
    """
    path = Path(path)
    record = _read(path)
    try:
        code = RunCode.opened(path, record, ("model",) if model is None else (), trusted=trust)
        model, recipe, prepared = code.model(model), code.recipe(recipe), record.data.preparation
        if data is not None:
            _check_same(data, record.data, path)
        for note in code.changed():
            log.warning("%s: %s", path, note)
        program = _program(model, recipe, record, path)
        best, params = best_file.read(path, record, program.variable_shapes)
        return Fit(
            model=model,
            recipe=recipe,
            program=program,
            params=params,
            best=best,
            epochs=_history(path, record),
            steps=record.steps,
            stopped=record.stopped or Stopped.INTERRUPTED,
            preparation=prepared,
            seconds=dict(record.seconds),
            data=data,
            folder=path,
            recorded=RecordedData(path, record.data.fingerprint, record.data.origin),
        )
    except MISFITS as error:
        if _is_misfit(error, model):
            raise RunError(f"{path / NAME}: makes no sense: {error!r}; {REMEDY}") from None
        raise


def _read(path: Path) -> RunRecord:
    """The record of a run whose model, where it is a built-in one, can be built. Raises RunError."""
    record = read_record(path)
    if record.model.built_in and not record.model.reference:
        try:
            record.model.build()
        except Unfit as error:
            raise misfit(path / NAME, error) from None
    return record


def _program(model: Model, recipe: Recipe, record: RunRecord, path: Path) -> Program:
    prepared = record.data.preparation
    try:
        return Program(model, recipe, prepared.example_shape, len(prepared.classes), functions=user_functions.NONE)
    except RecipeError as error:
        if not model.built_in:
            raise
        raise RunError(f"{path / NAME}: makes no sense: {error}") from None


def training_data(path: Path) -> Dataset:
    """The data that a run was trained on, read again. Raises RunError, or DataError where they have changed."""
    record = read_record(path).data
    if record.origin is None:
        raise RunError(f"{path}: was trained on arrays of a program, which are not kept; name data to score")
    data = load(record.origin, record.reading)
    _check_same(data, record, path)
    return data


def _check_same(data: Dataset, record: DataRecord, path: Path) -> None:
    if data.fingerprint != record.fingerprint:
        raise DataError(
            f"{data.source}: these are not the data of {path}: their fingerprint is {data.fingerprint[:12]}…, "
            f"the run's is {record.fingerprint[:12]}… ({record.source}); has the file changed?"
        )


def _history(path: Path, record: RunRecord) -> tuple[Epoch, ...]:
    if record.stopped is None:  # it goes on, or was killed: what is there so far
        return history.so_far(path)
    try:
        return history.read(path, *record.history)
    except RunError as error:  # the parameters do not depend on it
        log.warning("%s; the parameters are not concerned, the curve of this run is not whole", error)
        return history.so_far(path)
