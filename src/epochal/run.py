"""Runs that are kept: train into a folder, go on where a run was left, open one that is done."""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any, get_args

from epochal import checkpoint, parameters, record, sealed
from epochal.dataset import Dataset
from epochal.errors import DataError, RecipeError, RunError
from epochal.fitted import Best, Epoch, Fit
from epochal.folder import FORMAT, Keeping, RunFolder, take_lock
from epochal.loading import load
from epochal.models import BUILT_IN, Model
from epochal.preprocessing import Preprocessing
from epochal.program import Program
from epochal.reading import Reading
from epochal.recipe import OptimizerName, Recipe
from epochal.training import train


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
    return _drained(RunFolder.create(Path(out), training))


def _drained(folder: RunFolder) -> Fit:
    for _ in folder.moments():
        pass
    return folder.training.fit(folder.path)


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
    model: Model | None = None,
    recipe: Recipe | None = None,
    strict: bool = False,
    memory_bytes: int | None = None,
) -> Resumed:
    """Take up the run in `path` from its newest whole checkpoint, or from its beginning where there is none.

    `data`, `model` and `recipe` are needed where the folder cannot tell them, as for `load_run`. Another machine, core
    count or version of JAX may change bits: a note says so, and `strict` refuses. `memory_bytes` is what the rows may
    take on the device; left out: what they might before.
    Raises RunError for what is no run, in use, damaged beyond its checkpoints, or other than it was; DataError.
    """
    path = Path(path)
    told = _read_json(path)
    lock = take_lock(path)
    try:
        model, recipe = _model(path, told, model), _recipe(path, told, recipe)
        data = training_data(path) if data is None else data
        _check_same(data, told["data"], path)
        notes = _differences(told["versions"], strict, path)
        training = train(model, data, recipe, memory_bytes=memory_bytes or told["memory_bytes"])
        checkpoint.sweep(path)
        snapshot, complaints = checkpoint.newest(path)
        notes += [f"{complaint}; an older checkpoint is used" for complaint in complaints]
        if snapshot is not None:
            epochs = _history(path)
            if len(epochs) < snapshot.told["epochs"]:
                raise RunError(
                    f"{path / 'history.jsonl'}: has {len(epochs)} epochs, the checkpoint {snapshot.told['epochs']}; "
                    f"the file is damaged, bring it back"
                )
            training.restore(snapshot, epochs)
        return Resumed(RunFolder(path, lock, training, Keeping(**told["keeping"])), tuple(notes))
    except (KeyError, TypeError, ValueError) as error:
        lock.close()
        if isinstance(error, RecipeError):
            raise
        raise RunError(f"{path}: is damaged, or its checkpoints are of another run: {error!r}") from None
    except BaseException:
        lock.close()
        raise


def _differences(then: dict[str, str], strict: bool, path: Path) -> list[str]:
    now = record.versions()
    differ = [
        f"{name} was {then.get(name)}, is {now.get(name)}" for name in sorted(now) if then.get(name) != now.get(name)
    ]
    if differ and strict:
        raise RunError(f"{path}: was begun elsewhere: {'; '.join(differ)}; resume it there, or without --strict")
    return [f"bits may differ from an uninterrupted run: {'; '.join(differ)}"] if differ else []


def _model(path: Path, told: dict[str, Any], given: Model | None) -> Model:
    name, settings = told["model"]["name"], told["model"]["settings"]
    if given is None and name not in BUILT_IN:
        raise RunError(f"{path}: was trained with the model {name!r} of your own; give it: load_run(RUN, model=…)")
    return given or BUILT_IN[name](**settings)


def _recipe(path: Path, told: dict[str, Any], given: Recipe | None) -> Recipe:
    if given is None and told["recipe"]["optimizer"] not in get_args(OptimizerName):
        raise RunError(f"{path}: was trained with an optimizer given by value; give it: load_run(RUN, recipe=…)")
    recipe = given or Recipe.from_dict(told["recipe"])
    if given is not None and given.to_dict() != told["recipe"]:
        differ = [k for k in told["recipe"] if k != "optimizer" and given.to_dict().get(k) != told["recipe"][k]]
        if differ:
            key = differ[0]
            raise RunError(f"{path}: its recipe has {key} = {told['recipe'][key]!r}, got {given.to_dict().get(key)!r}")
    return recipe


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
        model, recipe, described = _model(path, told, model), _recipe(path, told, recipe), told["data"]
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
