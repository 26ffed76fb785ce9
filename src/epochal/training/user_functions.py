"""The functions that a recipe names or holds, fetched once for a run: a file edited meanwhile changes nothing."""

from collections.abc import Mapping
from functools import cache
from typing import Any, NamedTuple

import optax

from epochal.errors import RecipeError
from epochal.system import user_file
from epochal.system.user_file import Fetch, Fetched
from epochal.training import augmentations, losses
from epochal.training.recipe import FUNCTIONS, Recipe


class Functions(NamedTuple):
    """The optimizer, loss and augmentation of a recipe; `sources` holds, by field, where those of files came from."""

    optimizer: str | optax.GradientTransformation
    loss: losses.PerRow | None
    augment: losses.Augment | None
    sources: Mapping[str, Fetched]


NONE = Functions("sgd", None, None, {})
"""Those that scoring and predicting need."""


def functions(recipe: Recipe, fetch: Fetch = user_file.fetch) -> Functions:
    """Those of `recipe`. Raises RecipeError where a file or a name is missing, or is not what is wanted."""
    optimizer, loss, augment = (fetch(of) for of in (recipe.optimizer, recipe.loss, recipe.augment))
    for name, of in (("loss", loss), ("augment", augment)):
        if of.reference and not callable(of.value):
            raise RecipeError(f"{name}: {of.reference} must be a function, got {of.value!r}; name another")
    return Functions(
        _transformation(optimizer.value, optimizer.reference) if optimizer.reference else optimizer.value,
        loss.value,
        augmentations.named(augment.value) if isinstance(augment.value, str) else augment.value,
        {name: of for name, of in zip(FUNCTIONS, (optimizer, loss, augment), strict=True) if of.reference},
    )


@cache
def _transformation(value: Any, reference: str) -> optax.GradientTransformation:
    """An optax transformation, or what a function without arguments returns: one object for one function."""
    transformation = value
    if not _is_transformation(value) and callable(value):
        try:
            transformation = value()
        except Exception as error:
            raise RecipeError(f"optimizer: {reference} fails: {user_file.told(error)}; mend the file") from error
    if not _is_transformation(transformation):
        raise RecipeError(
            f"optimizer: {reference} must be an optax transformation, or a function without arguments that returns "
            f"one, got {type(transformation).__name__}; write for instance: def {user_file.parted(reference)[1]}(): "
            f"return optax.adam(1e-3)"
        )
    return transformation


def _is_transformation(value: Any) -> bool:
    return isinstance(value, optax.GradientTransformation | optax.GradientTransformationExtraArgs)
