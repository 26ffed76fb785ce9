"""Optimizers: optax's directions, times a learning rate that is data.

A direction is an optax transformation without a learning rate. It is made inside every trace from the recipe's numbers,
which are arrays of the training state: another rate or momentum is another argument, never another program.
"""

from collections import namedtuple
from collections.abc import Callable
from dataclasses import fields
from typing import TYPE_CHECKING, Any

import jax.numpy as jnp
import numpy as np
import optax
from jax import Array

from epochal.training.recipe import OPTIMIZERS, Recipe

TRACED = tuple(field.name for field in fields(Recipe) if field.metadata.get("traced"))
"""Fields of a recipe that the compiled step reads."""


class Hyperparameters(namedtuple("Numbers", (*TRACED, "steps_per_epoch", "total_steps"))):
    """The numbers that the compiled step reads: scalars of the compute dtype, one set a recipe."""

    if TYPE_CHECKING:

        def __getattr__(self, name: str) -> Any: ...

    @classmethod
    def of(cls, recipe: Recipe, steps_per_epoch: int) -> "Hyperparameters":
        """The numbers of `recipe`, not yet arrays; 0 for those that nothing reads."""
        numbers = [getattr(recipe, name) or 0 for name in TRACED]
        return cls(*numbers, steps_per_epoch, max(1, steps_per_epoch * recipe.epochs))


def _inverse_time(numbers: Hyperparameters, step: Array) -> Array:
    return 1 / (1 + numbers.decay * jnp.floor(step / numbers.steps_per_epoch))


def _cosine(numbers: Hyperparameters, step: Array) -> Array:
    return 0.5 * (1 + jnp.cos(np.pi * jnp.minimum(step / numbers.total_steps, 1)))


SCHEDULES: dict[str, Callable[[Hyperparameters, Array], Any]] = {
    "constant": lambda numbers, step: 1,
    "inverse_time": _inverse_time,  # 1 / (1 + d t) with t the epoch from 0: the tutorials' "Learning rate" tip
    "cosine": _cosine,  # to zero at the last epoch's end (Loshchilov and Hutter, ICLR 2017)
}


def transformation(
    optimizer: str | optax.GradientTransformation, schedule: str, numbers: Hyperparameters, step: Array
) -> optax.GradientTransformation:
    """The optax transformation of update `step` (from 0): a named direction times -rate, or the user's own as it is."""
    if not isinstance(optimizer, str):
        return optimizer
    rate = numbers.learning_rate * SCHEDULES[schedule](numbers, step.astype(numbers.learning_rate.dtype))
    return optax.chain(OPTIMIZERS[optimizer].direction(optax, numbers), optax.scale(-rate))
