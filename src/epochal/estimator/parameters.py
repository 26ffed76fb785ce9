"""The parameters of the estimator: their signature, and what they are when they are checked, at `fit`."""

from collections.abc import Mapping
from dataclasses import fields
from inspect import Parameter, Signature
from typing import Any, NamedTuple

from epochal.errors import RecipeError
from epochal.models.built_in import OPTIONS, named
from epochal.system.memory import parse_bytes
from epochal.training.recipe import Recipe

ARCHITECTURE = tuple(dict.fromkeys(name for names in OPTIONS.values() for name in names))
"""Options of the built-in models."""

OWN = {"validation_fraction": "auto", "divisor": 1.0, "memory": None, "random_state": None}


class Settings(NamedTuple):
    """What a training is made of, besides its rows."""

    model: Any  # as `train` takes it
    recipe: Recipe
    memory_bytes: int | None


def signature() -> Signature:
    """Of the constructor: the model and its options, the fields of `Recipe` but for the seed, and the `OWN` ones."""
    recipe = {field.name: field.default for field in fields(Recipe) if field.name != "seed"}
    keywords = dict.fromkeys(ARCHITECTURE) | recipe | OWN
    either, only = Parameter.POSITIONAL_OR_KEYWORD, Parameter.KEYWORD_ONLY
    first = [Parameter("self", either), Parameter("model", either, default="mlp")]
    return Signature([*first, *(Parameter(name, only, default=value) for name, value in keywords.items())])


def checked(given: Mapping[str, Any], seed: int) -> Settings:
    """The settings of an estimator with the parameters `given`. Raises RecipeError, naming the parameter."""
    names = {field.name for field in fields(Recipe)} - {"seed", "class_weight"}
    recipe = Recipe(**{name: given[name] for name in names}, seed=seed)
    model = named(given["model"], {name: given[name] for name in ARCHITECTURE})
    return Settings(model, recipe, _amount(given["memory"]))


def _amount(memory: Any) -> int | None:
    try:
        return None if memory is None else parse_bytes(memory)
    except ValueError as error:
        raise RecipeError(f"memory: {error}") from None
