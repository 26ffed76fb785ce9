"""Runs that are kept: train into a folder, go on where a run was left, open one that is done."""

import json
import logging
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import ml_dtypes  # noqa: F401, NumPy knows bfloat16 by it
import numpy as np

from epochal import checkpoint, history, own, parameters, record, sealed
from epochal.dataset import Dataset
from epochal.errors import DataError, DivergedError, RecipeError, RunError, StorageError
from epochal.fitted import Best, Epoch, Fit, Recorded
from epochal.folder import FORMAT, RunFolder, sweep
from epochal.keeping import Keeping
from epochal.loading import load
from epochal.lock import take_lock
from epochal.models import Model
from epochal.preparation import Preparation
from epochal.preprocessing import Preprocessing
from epochal.program import Program
from epochal.reading import Reading
from epochal.recipe import Recipe
from epochal.runcode import RunCode
from epochal.training import Training, train

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
    return _drained(RunFolder.create(Path(out), training))


def _drained(folder: RunFolder) -> Fit:
    training = folder.training
    try:
        with folder:
            for _ in folder.moments():
                pass
    except DivergedError as error:
        error.fit = training.fit(folder.path) if training.best else None
        raise
    return training.fit(folder.path)


@dataclass(frozen=True)
class Resumed:
    """A run taken up again: its folder, locked, and what is worth saying about it."""

    folder: RunFolder
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
    """Take up the run in `path` from its newest whole checkpoint, or from its beginning where there is none.

    `data`, `model`, `recipe` and `trust` are needed where the folder cannot tell them, as for `load_run`. Another
    machine, core count or version of JAX may change bits: a note says so, and `strict` refuses, before any code is
    executed; it also refuses where a file of the user has changed since, though the text that the run keeps is used.
    `memory_bytes` is what the rows may take on the device; left out: what they might before.
    Raises RunError for what is no run, in use, damaged beyond its checkpoints, or other than it was; DataError.
    """
    path = Path(path)
    told = _read_json(path)
    lock = take_lock(path)
    try:
        code = RunCode.opened(path, told, own.NAMES + (("model",) if model is None else ()), trusted=trust)
        notes = code.changed(strict=strict, given=model) + _differences(told["versions"], strict, path)
        recipe = code.recipe(recipe)
        data = training_data(path) if data is None else data
        _check_same(data, told["data"], path)
        functions, model = code.functions(recipe), code.model(model)
        training = Training(model, data, recipe, memory_bytes or told["memory_bytes"], functions)
        sweep(path)
        snapshot, complaints = checkpoint.newest(path, record.run_sha256(model, recipe, data))
        if snapshot is not None:
            training.restore(snapshot, history.read(path, snapshot.told["epochs"], snapshot.told["history"]))
        for damaged, complaint in complaints.items():
            aside = checkpoint.set_aside(damaged)
            notes.append(f"{complaint}; it is called {aside.name} now, and an older checkpoint is used")
        return Resumed(RunFolder(path, lock, training, Keeping(**told["keeping"]), told["code"]), tuple(notes))
    except OSError as error:
        lock.close()
        raise StorageError(f"{path}: the run cannot be taken up: {error.strerror or error}") from None
    except (KeyError, TypeError, ValueError) as error:
        lock.close()
        if isinstance(error, RecipeError):
            raise
        if isinstance(model, Model) and model.source.reference and isinstance(error, ValueError):
            raise RunError(
                f"{path}: does not fit the model {model.source.reference}: {error}; resume it with the one it keeps"
            ) from None
        raise RunError(f"{path / 'run.json'}: is damaged: {error!r}; bring it back, or train anew") from None
    except BaseException:
        lock.close()
        raise


def _differences(then: dict[str, str], strict: bool, path: Path) -> list[str]:
    differ = record.differences(then)
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
    told = _read_json(path)
    try:
        code = RunCode.opened(path, told, ("model",) if model is None else (), trusted=trust)
        model, recipe, described = code.model(model), code.recipe(recipe), told["data"]
        if data is not None:
            _check_same(data, described, path)
        for note in code.changed():
            log.warning("%s: %s", path, note)
        program = Program(model, recipe, tuple(described["example_shape"]), len(described["classes"]), own=own.NONE)
        best, params = _read_best(path / "best.safetensors", program)
        return Fit(
            model, recipe, program, params, best, _history(path, told), told["steps"], told["stopped"] or "interrupted",
            preparation_from(described), told["seconds"], data, path,
            Recorded(described["fingerprint"], described["origin"]),
        )  # fmt: skip
    except (KeyError, TypeError) as error:
        raise RunError(f"{path / 'run.json'}: is damaged or of another version: {error!r}") from None


def training_data(path: Path) -> Dataset:
    """The data that a run was trained on, read again. Raises RunError, or DataError where they have changed."""
    told = _read_json(path)["data"]
    if told["origin"] is None:
        raise RunError(f"{path}: was trained on arrays of a program, which are not kept; name data to score")
    data = load(told["origin"], Reading.from_dict(told["reading"]))
    _check_same(data, told, path)
    return data


def preparation_from(told: dict[str, Any]) -> Preparation:
    """How the rows of a run were prepared, from what `record.data_json` wrote."""
    return Preparation(
        tuple(told["example_shape"]), np.dtype(told["dtype"]), float(told["divisor"]), tuple(told["classes"]),
        tuple(told["class_counts"]["train"]),
        Preprocessing.from_json(told["preprocessing"]) if told["preprocessing"] else None,
        Reading.from_dict(told["reading"]),
    )  # fmt: skip


def _check_same(data: Dataset, told: dict[str, Any], path: Path) -> None:
    if data.fingerprint != told["fingerprint"]:
        raise DataError(
            f"{data.source}: these are not the data of {path}: their fingerprint is {data.fingerprint[:12]}…, "
            f"the run's is {told['fingerprint'][:12]}… ({told['source']}); has the file changed?"
        )


def _read_json(path: Path) -> dict[str, Any]:
    try:
        told = json.loads((path / "run.json").read_bytes())
    except FileNotFoundError:
        raise RunError(
            f"{path}: is no run folder, it has no run.json; `epochal train --out {path}` makes one"
        ) from None
    except (OSError, ValueError) as error:
        raise RunError(f"{path / 'run.json'}: cannot be read: {error}") from None
    if not isinstance(told, dict) or told.get("format") != FORMAT:
        raise RunError(f"{path / 'run.json'}: is no run of format {FORMAT}; open it with the epochal that wrote it")
    return told


def _read_best(path: Path, program: Program) -> tuple[Best, Any]:
    try:
        named, told = sealed.read(path)
        params = parameters.unflatten(named, program.variable_shapes)
        return Best(told["epoch"], told["step"], record.score_from(told["valid"])), params
    except FileNotFoundError:
        raise RunError(f"{path}: is missing; the run ended before its first validation, train it again") from None
    except (ValueError, KeyError) as error:
        raise RunError(f"{path}: holds another model's parameters: {error}") from None


def _history(path: Path, told: dict[str, Any]) -> tuple[Epoch, ...]:
    if told["stopped"] is None:  # it goes on, or was killed: what is there so far
        return history.so_far(path)
    return history.read(path, told["history"]["epochs"], told["history"]["sha256"])
