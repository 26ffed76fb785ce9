"""The run folder: a recipe, a history, the best parameters and the test ledger, each whole at any instant.

recipe.toml          the effective options; `epochal train --config` takes it back
run.json             model, recipe, data fingerprint, versions, and the outcome
history.jsonl        one line an epoch
best.safetensors     the parameters with the best validation score
test-ledger.jsonl    one line for every opening of the test split
"""

import json
import os
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, get_args

import tomli_w

from epochal import atomic, parameters, record, sealed
from epochal.dataset import Dataset
from epochal.errors import DataError, RunError
from epochal.fitted import Best, Epoch, Fit
from epochal.loading import load
from epochal.models import BUILT_IN, Model
from epochal.preprocessing import Preprocessing
from epochal.program import Program
from epochal.reading import Reading
from epochal.recipe import OptimizerName, Recipe
from epochal.training import Moment, Training, train

FORMAT = 1
SAVE_SECONDS = 10.0
"""The best parameters are written at the end, and before that at most this often."""


class RunFolder:
    """A run folder being written."""

    def __init__(self, path: Path, training: Training):
        """Make the folder. Raises RunError where it exists with something in it, or cannot be made."""
        try:
            path.mkdir(parents=True, exist_ok=True)
            occupied = next(path.iterdir(), None)
        except OSError as error:
            raise RunError(f"{path}: the run folder cannot be made: {error.strerror or error}") from None
        if occupied is not None:
            raise RunError(f"{path}: is not empty (it holds {occupied.name}); name another folder with --out")
        self.path, self.training = path, training
        self._saved: Best | None = None
        self._saved_at = time.monotonic()
        self._begin()

    def moments(self) -> Iterator[Moment]:
        """The training's moments, each recorded before it is passed on; the outcome is written however it ends."""
        try:
            with (self.path / "history.jsonl").open("w", encoding="utf-8") as history:
                for moment in self.training.moments():
                    if moment.epoch:
                        history.write(json.dumps(record.epoch_json(moment.epoch)) + "\n")
                        history.flush()
                    if time.monotonic() - self._saved_at > SAVE_SECONDS:
                        self._save_best()
                    yield moment
                os.fsync(history.fileno())
        finally:
            self._save_best()
            atomic.write_json(self.path / "run.json", self._describe())

    def _begin(self) -> None:
        training = self.training
        options = record.model_options(training.model) | training.recipe.to_dict()
        if training.data.origin:
            options = {"data": training.data.origin} | training.data.reading.to_dict() | options
        text = f"# Options of this run: epochal train --config {self.path / 'recipe.toml'} repeats it.\n"
        atomic.write(self.path / "recipe.toml", (text + tomli_w.dumps(options)).encode())
        atomic.write_json(self.path / "run.json", self._describe())

    def _save_best(self) -> None:
        if self.training.best is None or self.training.best is self._saved:
            return
        # The score lies in the same file as the parameters, so that a kill cannot part them.
        named = parameters.flatten(self.training.params)
        sealed.write(self.path / "best.safetensors", named, record.best_json(self.training.best))
        self._saved, self._saved_at = self.training.best, time.monotonic()

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
            "versions": record.versions(),
        }


def fit(
    model: Model,
    data: Dataset,
    recipe: Recipe | None = None,
    *,
    out: str | Path | None = None,
    memory_bytes: int | None = None,
) -> Fit:
    """Train to the end and return the best on the validation split; with `out`, keep the run in that folder.

    Raises what `train` raises, and RunError where the folder cannot be written.
    """
    training = train(model, data, recipe, memory_bytes=memory_bytes)
    if out is None:
        for _ in training:
            pass
        return training.fit()
    folder = RunFolder(Path(out), training)
    for _ in folder.moments():
        pass
    return training.fit(folder.path)


def load_run(
    path: str | Path, data: Dataset | None = None, *, model: Model | None = None, recipe: Recipe | None = None
) -> Fit:
    """Open a run folder: the best parameters, ready to predict.

    `data` are needed to `test()` only, and must be those of the run. `model` and `recipe` are needed where the run's
    model was no built-in one, or its optimizer was given by value.
    Raises RunError for a folder that is no whole run, DataError for other data.
    """
    path = Path(path)
    told = _read_json(path)
    try:
        name, settings = told["model"]["name"], told["model"]["settings"]
        if model is None and name not in BUILT_IN:
            raise RunError(f"{path}: was trained with the model {name!r} of your own; give it: load_run(RUN, model=…)")
        model = model or BUILT_IN[name](**settings)
        if recipe is None and told["recipe"]["optimizer"] not in get_args(OptimizerName):
            raise RunError(f"{path}: was trained with an optimizer given by value; give it: load_run(RUN, recipe=…)")
        recipe, described = recipe or Recipe.from_dict(told["recipe"]), told["data"]
        if data is not None:
            _check_same(data, described, path)
        program = Program(model, recipe, tuple(described["example_shape"]), len(described["classes"]))
        best, params = _read_best(path / "best.safetensors", program)
        return Fit(
            model, recipe, program, params, best, _history(path), told["steps"], told["stopped"] or "interrupted",
            tuple(described["classes"]), described["divisor"], told["seconds"], data, path, _preprocessing(described),
        )  # fmt: skip
    except (KeyError, TypeError) as error:
        raise RunError(f"{path / 'run.json'}: is damaged or of another version: {error!r}") from None


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


def training_data(path: Path) -> Dataset:
    """The data that a run was trained on, read again. Raises RunError, or DataError where they have changed."""
    told = _read_json(path)["data"]
    if told["origin"] is None:
        raise RunError(f"{path}: was trained on arrays of a program, which are not kept; name data to score")
    data = load(told["origin"], Reading.from_dict(told["reading"]))
    _check_same(data, told, path)
    return data


def merged(path: Path, reading: Reading) -> Reading:
    """How other data for a run are read: as the run's own were, but for what is asked here and for splits."""
    told = {k: v for k, v in _read_json(path)["data"]["reading"].items() if k not in ("valid", "test", "labels")}
    return Reading.from_dict(told | reading.to_dict())


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
        params = parameters.unflatten(named, program.parameter_shapes())
        return Best(told["epoch"], told["step"], record.score_from(told["valid"])), params
    except FileNotFoundError:
        raise RunError(f"{path}: is missing; the run ended before its first validation, train it again") from None
    except (ValueError, KeyError) as error:
        raise RunError(f"{path}: holds another model's parameters: {error}") from None


def _preprocessing(told: dict[str, Any]) -> Preprocessing | None:
    return Preprocessing.from_json(told["preprocessing"]) if told["preprocessing"] else None


def _history(path: Path) -> tuple[Epoch, ...]:
    try:
        lines = (path / "history.jsonl").read_text(encoding="utf-8").splitlines()
        return tuple(record.epoch_from(json.loads(line)) for line in lines)
    except (OSError, ValueError, KeyError) as error:
        raise RunError(f"{path / 'history.jsonl'}: cannot be read: {error}") from None
