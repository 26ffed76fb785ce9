"""Runs that are kept: train into a folder, go on where a run was left, open one that is done."""

import json
import logging
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from epochal import checkpoint, history, own, parameters, record, sealed, userfile
from epochal.dataset import Dataset
from epochal.errors import DataError, RecipeError, RunError, StorageError
from epochal.fitted import Best, Epoch, Fit
from epochal.folder import FORMAT, RunFolder, sweep, take_lock
from epochal.keeping import Keeping
from epochal.loading import Stored, load
from epochal.models import BUILT_IN, Model, adapted
from epochal.preprocessing import Preprocessing
from epochal.program import Program
from epochal.reading import Reading
from epochal.recipe import Recipe
from epochal.training import train

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

    Raises what `train` raises, and RunError where the folder cannot be written.
    """
    training = train(model, data, recipe, memory_bytes=memory_bytes)
    if out is None:
        for _ in training:
            pass
        return training.fit()
    return _drained(RunFolder.create(Path(out), training))


def _drained(folder: RunFolder) -> Fit:
    with folder:
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
    model: Model | Any = None,
    recipe: Recipe | None = None,
    strict: bool = False,
    memory_bytes: int | None = None,
) -> Resumed:
    """Take up the run in `path` from its newest whole checkpoint, or from its beginning where there is none.

    `data`, `model` and `recipe` are needed where the folder cannot tell them, as for `load_run`. Another machine, core
    count or version of JAX may change bits, and so may a file that has changed: a note says so, and `strict` refuses.
    `memory_bytes` is what the rows may take on the device; left out: what they might before.
    Raises RunError for what is no run, in use, damaged beyond its checkpoints, or other than it was; DataError.
    """
    path = Path(path)
    told = _read_json(path)
    lock = take_lock(path)
    try:
        model, recipe = _model(path, told, model), _recipe(path, told, recipe)
        data = training_data(path) if data is None else data
        _check_same(data, told["data"], path)
        notes = _changed(told["files"], strict, path) + _differences(told["versions"], strict, path)
        training = train(model, data, recipe, memory_bytes=memory_bytes or told["memory_bytes"])
        sweep(path)
        snapshot, complaints = checkpoint.newest(path, record.run_sha256(model, recipe, data))
        if snapshot is not None:
            training.restore(snapshot, history.read(path, snapshot.told["epochs"], snapshot.told["history"]))
        for damaged, complaint in complaints.items():
            aside = checkpoint.set_aside(damaged)
            notes.append(f"{complaint}; it is called {aside.name} now, and an older checkpoint is used")
        return Resumed(RunFolder(path, lock, training, Keeping(**told["keeping"])), tuple(notes))
    except OSError as error:
        lock.close()
        raise StorageError(f"{path}: the run cannot be taken up: {error.strerror or error}") from None
    except (KeyError, TypeError, ValueError) as error:
        lock.close()
        if isinstance(error, RecipeError):
            raise
        if changed := userfile.changed(told.get("files", {})):
            raise RunError(f"{changed[0]}; what {path} holds does not fit it: {error}; bring the file back") from None
        raise RunError(f"{path / 'run.json'}: is damaged: {error!r}; bring it back, or train anew") from None
    except BaseException:
        lock.close()
        raise


def _changed(files: dict[str, str], strict: bool, path: Path) -> list[str]:
    changed = userfile.changed(files)
    if changed and strict:
        raise RunError(f"{path}: {changed[0]}; bring it back as it was, or resume without --strict")
    return changed


def _differences(then: dict[str, str], strict: bool, path: Path) -> list[str]:
    now = record.versions()
    differ = [
        f"{name} was {then[name]}, is {now[name]}" for name in sorted(now) if name in then and then[name] != now[name]
    ]
    if differ and strict:
        raise RunError(f"{path}: was begun elsewhere: {'; '.join(differ)}; resume it there, or without --strict")
    return [f"bits may differ from an uninterrupted run: {'; '.join(differ)}"] if differ else []


def _model(path: Path, told: dict[str, Any], given: Any) -> Model:
    name, settings = told["model"]["name"], told["model"]["settings"]
    given = told["model"].get("reference") if given is None else given
    if given is None and name not in BUILT_IN:
        raise RunError(f"{path}: was trained with the model {name!r} of your own; give it: load_run(RUN, model=…)")
    given = BUILT_IN[name](**settings) if given is None else given
    return adapted(given, tuple(told["data"]["example_shape"]), len(told["data"]["classes"]))


def _recipe(path: Path, told: dict[str, Any], given: Recipe | None) -> Recipe:
    values = told["recipe"]
    if given is None:
        lost = [name for name in told["by_value"] if name in values]
        if lost:
            raise RunError(f"{path}: was trained with its {lost[0]} given by value; give it: load_run(RUN, recipe=…)")
        return Recipe.from_dict(values)
    differ = [k for k in values if k not in told["by_value"] and given.to_dict().get(k) != values[k]]
    if differ:
        key = differ[0]
        raise RunError(f"{path}: its recipe has {key} = {values[key]!r}, got {given.to_dict().get(key)!r}")
    return given


def load_run(
    path: str | Path, data: Dataset | None = None, *, model: Model | Any = None, recipe: Recipe | None = None
) -> Fit:
    """Open a run folder: the best parameters, ready to predict.

    `data` are needed to `test()` only, and must be those of the run. `model` and `recipe` are needed where the run's
    model or its optimizer was given by value; FILE.py:NAME is fetched again, and a file that has changed is warned of.
    Raises RunError for a folder that is no whole run, DataError for other data.
    """
    path = Path(path)
    told = _read_json(path)
    try:
        model, recipe, described = _model(path, told, model), _recipe(path, told, recipe), told["data"]
        if data is not None:
            _check_same(data, described, path)
        for note in userfile.changed(
            {file: told["files"][file] for file in model.source.files if file in told["files"]}
        ):
            log.warning("%s: %s", path, note)
        program = Program(model, recipe, tuple(described["example_shape"]), len(described["classes"]), own=own.NONE)
        best, params = _read_best(path / "best.safetensors", program)
        return Fit(
            model, recipe, program, params, best, _history(path, told), told["steps"], told["stopped"] or "interrupted",
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
    return reading.inheriting(told)


def stored(path: Path) -> Stored:
    """How the features of a run were stored."""
    told = _read_json(path)["data"]
    return Stored(told["dtype"], told["divisor"])


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


def _preprocessing(told: dict[str, Any]) -> Preprocessing | None:
    return Preprocessing.from_json(told["preprocessing"]) if told["preprocessing"] else None


def _history(path: Path, told: dict[str, Any]) -> tuple[Epoch, ...]:
    if told["stopped"] is None:  # it goes on, or was killed: what is there so far
        return history.so_far(path)
    return history.read(path, told["history"]["epochs"], told["history"]["sha256"])
