"""How a run is written down: plain values for JSON and TOML, and back."""

import hashlib
import json
import platform
import sys
from collections.abc import Iterable, Mapping
from dataclasses import asdict
from importlib.metadata import PackageNotFoundError, version
from typing import Any

from epochal.training import user_functions
from epochal.models import parameters
from epochal.system import environment, user_file
from epochal.data.dataset import Dataset
from epochal.training.fitted import Best, Epoch
from epochal.system.schema import fields, flag, listed, number, optional, sha256, together, whole
from epochal.models.base import Model
from epochal.training.recipe import Recipe
from epochal.device.residency import Residency
from epochal.training.score import SCORE
from epochal.training.training import Training


def data_json(data: Dataset) -> dict[str, Any]:
    """What must be known of the data to use the model, and to find the same data again."""
    return {
        "source": data.source,
        "fingerprint": data.fingerprint,
        "origin": data.origin,
        "reading": data.reading.to_dict(),
        "preprocessing": data.preprocessing.to_json() if data.preprocessing else None,
        "rows": {"train": len(data.train), "valid": len(data.valid), "test": len(data.test)},
        "example_shape": list(data.example_shape),
        "dtype": str(data.train.x.dtype),
        "divisor": data.divisor,
        "classes": list(data.classes),
        "class_counts": data.class_counts,
        "notes": list(data.notes),
    }


def training_json(training: Training) -> dict[str, Any]:
    """What a run is made of, and how far it is."""
    return {
        "run_sha256": run_sha256(training.model, training.recipe, training.data),
        "model": model_json(training.model),
        "recipe": training.recipe.to_dict(),
        "by_value": training.recipe.by_value,
        "data": data_json(training.data),
        "best": best_json(training.best) if training.best else None,
        "parameters_sha256": parameters.sha256(training.params) if training.best else None,
        "steps": training.step,
        "stopped": training.stopped,
        "residency": residency_json(training.residency),
        "seconds": dict(training.seconds),
        "memory_bytes": training.program.memory_bytes,
    }


def run_sha256(model: Model, recipe: Recipe, data: Dataset) -> str:
    """What tells the checkpoints of one run from those of another: a digest of model, recipe and data."""
    numbers = recipe.to_dict() | dict.fromkeys(recipe.by_value, "by value")
    told = [model.name, dict(model.settings), numbers, data.fingerprint]
    return hashlib.sha256(json.dumps(told, sort_keys=True).encode()).hexdigest()


def residency_json(residency: Residency) -> dict[str, Any]:
    """What was decided about the place of the rows, and why."""
    return {"kind": residency.kind, "bytes": residency.bytes, "why": residency.why}


def epoch_json(epoch: Epoch) -> dict[str, Any]:
    """A line of the history."""
    return asdict(epoch) | {"valid": epoch.valid.to_json() if epoch.valid else None}


def epoch_from(told: Any) -> Epoch:
    """The record of a line of the history. Raises ValueError."""
    return EPOCH(told, "")


def best_json(best: Best) -> dict[str, Any]:
    """Where the best score was reached, and the score."""
    return {"epoch": best.epoch, "step": best.step, "valid": best.valid.to_json()}


EPOCH = fields(
    Epoch, epoch=whole(1), step=whole(), loss=number, valid=optional(SCORE), best=flag,
    validations=listed(together(whole(), whole())), seconds=number,
)  # fmt: skip
BEST = fields(dict, epoch=whole(1), step=whole(), valid=SCORE, run=sha256)


def model_options(model: Model) -> dict[str, Any]:
    """The command line's options for a built-in model."""

    def plain(value: Any) -> Any:
        return "x".join(map(str, value)) if isinstance(value, (list, tuple)) else value

    if model.source.reference:
        return {"model": model.source.reference}
    if not model.built_in:
        return {"model": f"{model.name} (given by value)"}
    return {"model": model.name} | {name: plain(value) for name, value in model.settings.items()}


def model_json(model: Model) -> dict[str, Any]:
    """What makes the model again: name and settings of a built-in one, FILE.py:NAME of one from a user's file."""
    told: dict[str, Any] = {"name": model.name, "settings": dict(model.settings), "built_in": model.built_in}
    return told | ({"reference": model.source.reference} if model.source.reference else {})


def code_uses(told: dict[str, Any]) -> dict[str, str]:
    """What a run takes from files of the user, FILE.py:NAME by what it is used for; `told` is its run.json."""
    named = {"model": told["model"].get("reference")}
    named |= {name: told["recipe"].get(name) for name in user_functions.NAMES if name not in told["by_value"]}
    return {name: text for name, text in named.items() if user_file.is_reference(text)}


def versions(libraries: Iterable[str] = ()) -> dict[str, str]:
    """Versions of all that may change the bits of a run, and the machine with its device.

    Of the `libraries` that not every run needs also where no code has imported them yet.
    """
    device = {"device": sys.modules["jax"].devices()[0].device_kind} if "jax" in sys.modules else {}
    return installed(libraries) | environment.settings() | device


def differences(then: Mapping[str, str]) -> list[str]:
    """What of `then`, the `versions` of a run, is another now and may change bits."""
    now = versions(then)
    return [
        f"{name} was {then[name] or 'not set'}, is {now[name] or 'not set'}"
        for name in sorted(now)
        if name in then and then[name] != now[name]
    ]


def installed(libraries: Iterable[str] = ()) -> dict[str, str]:
    """The same without the device, which starts JAX."""
    found = {"python": platform.python_version(), "platform": platform.platform()}
    found |= {"cores": str(environment.cores()), "processor": environment.processor()}
    libraries = [package for package in ("flax", "equinox") if package in sys.modules or package in libraries]
    for package in ("epochal", "jax", "jaxlib", "numpy", "optax", *libraries):
        try:
            found[package] = version(package)
        except PackageNotFoundError:
            found[package] = "unknown"
    return found
