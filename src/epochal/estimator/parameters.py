"""An estimator's parameters, which are checked when it is fitted: the model, the recipe, the memory granted."""

from collections.abc import Mapping
from dataclasses import fields
from typing import Any, NamedTuple

from epochal.errors import RecipeError
from epochal.models.built_in import named
from epochal.system.memory import parse_bytes
from epochal.training.recipe import Recipe


class Settings(NamedTuple):
    """What a training is made of, besides its rows."""

    model: Any  # as `train` takes it
    recipe: Recipe
    memory_bytes: int | None


def settled(given: Mapping[str, Any], seed: int) -> Settings:
    """The settings of an estimator with the parameters `given`. Raises RecipeError, naming the parameter."""
    values = {knob.name: given[knob.name] for knob in fields(Recipe) if knob.name not in ("seed", "class_weight")}
    recipe = Recipe(**values, seed=seed)
    model = named(given["model"], {name: given[name] for name in ("hidden", "activation")})
    return Settings(model, recipe, _amount(given["memory"]))


def _amount(memory: Any) -> int | None:
    try:
        return None if memory is None else parse_bytes(memory)
    except ValueError as error:
        raise RecipeError(f"memory: {error}") from None
