"""From a recipe's words to an update: optax's directions, times a learning rate that is data.

A direction is an optax transformation without a learning rate. It is built inside every trace from the recipe's
numbers, which are arrays of the training state: a new rate or momentum is a new argument, never a new program.
"""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax.numpy as jnp
import numpy as np
import optax
from jax import Array

from epochal.training.recipe import Recipe


class Hyperparameters(NamedTuple):
    """The numbers of a recipe that the compiled step reads: scalars of the compute dtype, one set a recipe."""

    learning_rate: Any
    decay: Any
    momentum: Any
    weight_decay: Any
    l1: Any
    l2: Any
    label_smoothing: Any
    steps_per_epoch: Any
    total_steps: Any

    @classmethod
    def of(cls, recipe: Recipe, steps_per_epoch: int) -> "Hyperparameters":
        """The numbers of `recipe`, not yet arrays; 0 for those that nothing reads."""
        return cls(
            recipe.learning_rate or 0, recipe.decay or 0, recipe.momentum or 0, recipe.weight_decay or 0, recipe.l1,
            recipe.l2, recipe.label_smoothing, steps_per_epoch, max(1, steps_per_epoch * recipe.epochs),
        )  # fmt: skip


DIRECTIONS: dict[str, Callable[[Hyperparameters], optax.GradientTransformation]] = {
    "sgd": lambda numbers: optax.identity(),
    "momentum": lambda numbers: optax.trace(numbers.momentum),
    "nesterov": lambda numbers: optax.trace(numbers.momentum, nesterov=True),
    "adam": lambda numbers: optax.scale_by_adam(),
    "adamw": lambda numbers: optax.chain(optax.scale_by_adam(), optax.add_decayed_weights(numbers.weight_decay)),
}


def _decay(numbers: Hyperparameters, step: Array) -> Array:
    return 1 / (1 + numbers.decay * jnp.floor(step / numbers.steps_per_epoch))


def _cosine(numbers: Hyperparameters, step: Array) -> Array:
    return 0.5 * (1 + jnp.cos(np.pi * jnp.minimum(step / numbers.total_steps, 1)))


SCHEDULES: dict[str, Callable[[Hyperparameters, Array], Any]] = {
    "constant": lambda numbers, step: 1,
    "decay": _decay,  # 1 / (1 + d t) with t the epoch from 0: the tutorials' "Learning rate" tip
    "cosine": _cosine,  # to zero at the last epoch's end (Loshchilov and Hutter, ICLR 2017)
}


def transformation(
    optimizer: str | optax.GradientTransformation, schedule: str, numbers: Hyperparameters, step: Array
) -> optax.GradientTransformation:
    """The optax transformation of update `step` (from 0): a named direction times -rate, or the user's own as it is."""
    if not isinstance(optimizer, str):
        return optimizer
    rate = numbers.learning_rate * SCHEDULES[schedule](numbers, step.astype(numbers.learning_rate.dtype))
    return optax.chain(DIRECTIONS[optimizer](numbers), optax.scale(-rate))
