"""Multinomial logistic regression, zero at the start: Deep Learning Tutorials, "Classifying MNIST digits"."""

from functools import cache
from math import prod

import jax.numpy as jnp
from jax import Array

from epochal.models.base import Model, mark_built_in
from epochal.models.built_in.layers import dense, flatten


@cache
def logistic() -> Model:
    """Logistic regression on all features: softmax(x W' + b), W and b zero at the start."""
    return mark_built_in(Model(_init, _logits, "logistic"))


def _init(key: Array, example_shape: tuple[int, ...], classes: int) -> dict[str, Array]:
    return {"W": jnp.zeros((classes, prod(example_shape))), "b": jnp.zeros(classes)}


def _logits(params: dict[str, Array], x: Array) -> Array:
    return dense(params, flatten(x))
