"""An estimator's parameters, which are checked when it is fitted: the model, the recipe, the memory granted."""

import operator
from collections.abc import Mapping
from dataclasses import fields
from typing import Any, NamedTuple

import numpy as np

from epochal.errors import RecipeError
from epochal.memory import parse_bytes
from epochal.models import BUILT_IN, lenet, logistic, mlp
from epochal.recipe import Recipe


class Settings(NamedTuple):
    """What a training is made of, besides its rows."""

    model: Any  # as `train` takes it
    recipe: Recipe
    memory_bytes: int | None


def settled(given: Mapping[str, Any], seed: int) -> Settings:
    """The settings of an estimator with the parameters `given`. Raises RecipeError, naming the parameter."""
    values = {knob.name: given[knob.name] for knob in fields(Recipe) if knob.name not in ("seed", "class_weight")}
    recipe = Recipe(**values, seed=seed)
    return Settings(_model(given["model"], given["hidden"], given["activation"]), recipe, _amount(given["memory"]))


def _model(model: Any, hidden: Any, activation: str) -> Any:
    if not isinstance(model, str) or ".py:" in model:
        return model
    if model not in BUILT_IN:
        raise RecipeError(f"model: must be one of {', '.join(BUILT_IN)}, FILE.py:NAME, or a model, got {model!r}")
    if model == "logistic":
        return logistic()
    try:
        widths = [operator.index(width) for width in np.atleast_1d(np.array(hidden, dtype=object))]
    except TypeError:
        raise RecipeError(f"hidden: must be a width, or several, like 500 or (500, 300), got {hidden!r}") from None
    if model == "mlp":
        return mlp(widths, activation)
    if len(widths) != 1:
        raise RecipeError(f"hidden: lenet has one hidden layer, got {hidden!r}; give one width")
    return lenet(hidden=widths[0], activation=activation)


def _amount(memory: Any) -> int | None:
    try:
        return None if memory is None else parse_bytes(memory)
    except ValueError as error:
        raise RecipeError(f"memory: {error}") from None
