"""From a recipe's words to an update: optax's directions, times a learning rate that is data.

A direction is an optax transformation without a learning rate. It is made anew inside every trace from the recipe's
numbers, which are arrays of the training state: a new rate or momentum is a new argument, never a new program.
"""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax.numpy as jnp
import numpy as np
import optax
from jax import Array

from epochal.recipe import Recipe


class Knobs(NamedTuple):
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
    def of(cls, recipe: Recipe, steps_per_epoch: int) -> "Knobs":
        """The numbers of `recipe`, not yet arrays; 0 for those that nothing reads."""
        return cls(
            recipe.learning_rate or 0, recipe.decay or 0, recipe.momentum or 0, recipe.weight_decay or 0, recipe.l1,
            recipe.l2, recipe.label_smoothing, steps_per_epoch, max(1, steps_per_epoch * recipe.epochs),
        )  # fmt: skip


DIRECTIONS: dict[str, Callable[[Knobs], optax.GradientTransformation]] = {
    "sgd": lambda knobs: optax.identity(),
    "momentum": lambda knobs: optax.trace(knobs.momentum),
    "nesterov": lambda knobs: optax.trace(knobs.momentum, nesterov=True),
    "adam": lambda knobs: optax.scale_by_adam(),
    "adamw": lambda knobs: optax.chain(optax.scale_by_adam(), optax.add_decayed_weights(knobs.weight_decay)),
}


def _decay(knobs: Knobs, step: Array) -> Array:
    return 1 / (1 + knobs.decay * jnp.floor(step / knobs.steps_per_epoch))


def _cosine(knobs: Knobs, step: Array) -> Array:
    return 0.5 * (1 + jnp.cos(np.pi * jnp.minimum(step / knobs.total_steps, 1)))


SCHEDULES: dict[str, Callable[[Knobs, Array], Any]] = {
    "constant": lambda knobs, step: 1,
    "decay": _decay,  # 1 / (1 + d t) with t the epoch from 0: the tutorials' "Learning rate" tip
    "cosine": _cosine,  # to zero at the last epoch's end (Loshchilov and Hutter, ICLR 2017)
}


def transformation(
    optimizer: str | optax.GradientTransformation, schedule: str, knobs: Knobs, step: Array
) -> optax.GradientTransformation:
    """The optax transformation of update `step` (from 0): a named direction times -rate, or the user's own as it is."""
    if not isinstance(optimizer, str):
        return optimizer
    rate = knobs.learning_rate * SCHEDULES[schedule](knobs, step.astype(knobs.learning_rate.dtype))
    return optax.chain(DIRECTIONS[optimizer](knobs), optax.scale(-rate))
