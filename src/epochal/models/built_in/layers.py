"""Dense layers, initial weights and activations of the built-in models, and the limits of their sizes."""

import operator
from collections.abc import Callable
from math import prod
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array

from epochal.errors import RecipeError, speaks_of_options

_MAX_WEIGHTS, _MAX_SIZE, _MAX_LAYERS = 2**48, 10_000_000, 1000

ACTIVATIONS: dict[str, Callable[[Array], Array]] = {"tanh": jnp.tanh, "relu": jax.nn.relu, "sigmoid": jax.nn.sigmoid}


def flatten(x: Array) -> Array:
    """[rows, *example_shape] as [rows, features]."""
    return x.reshape(x.shape[0], -1)


def uniform(key: Array, shape: tuple[int, ...], fan_in: float, fan_out: float, activation: str) -> Array:
    """Initial weights of a layer in front of `activation`, uniform in ± a bound.

    The bound is sqrt(6 / (fan_in + fan_out)), four times that for sigmoid (Glorot and Bengio, AISTATS 2010, as in the
    tutorials); for relu sqrt(6 / fan_in) (He et al., ICCV 2015).
    """
    if prod(shape) > _MAX_WEIGHTS:
        raise RecipeError(
            f"model: a layer of {' × '.join(f'{size:,}' for size in shape)} has {prod(shape):,} weights, more than any "
            f"machine holds; take smaller widths"
        )
    bound = np.sqrt(6 / fan_in) if activation == "relu" else np.sqrt(6 / (fan_in + fan_out))
    bound *= 4 if activation == "sigmoid" else 1
    return jax.random.uniform(key, shape, minval=-bound, maxval=bound)


def dense_init(key: Array, fan_in: int, fan_out: int, activation: str) -> dict[str, Array]:
    """Weights [fan_out, fan_in] and zero biases [fan_out] of a hidden layer."""
    return {"W": uniform(key, (fan_out, fan_in), fan_in, fan_out, activation), "b": jnp.zeros(fan_out)}


def dense(layer: dict[str, Array], x: Array) -> Array:
    """X [rows, fan_in] through a layer. Weights lie as [fan_out, fan_in]: their gradient is then the faster product."""
    return x @ layer["W"].T + layer["b"]


def check_sizes(names: str, *sizes: int) -> None:
    """Raise RecipeError for sizes that no compiler takes (XLA ends the process where a shape overflows)."""
    if len(sizes) > _MAX_LAYERS or max(sizes) > _MAX_SIZE:
        raise RecipeError(
            f"{names}: must be at most {_MAX_LAYERS:,} numbers up to {_MAX_SIZE:,}, got {len(sizes):,} up to "
            f"{max(sizes):,}"
        )


def check_activation(activation: str) -> None:
    """Raise RecipeError unless `activation` is one of ours."""
    if activation not in ACTIVATIONS:
        raise RecipeError(f"activation: must be one of {', '.join(ACTIVATIONS)}, got {activation!r}")


def widths(name: str, value: Any) -> tuple[int, ...]:
    """Whole numbers: from one, several, or text like 500x300. Raises RecipeError."""
    try:
        if isinstance(value, str):
            return tuple(int(part) for part in value.split("x"))
        return tuple(operator.index(width) for width in np.atleast_1d(np.array(value, dtype=object)))
    except (TypeError, ValueError):
        several = "500x300" if speaks_of_options() else "(500, 300)"
        raise RecipeError(f"{name}: must be a whole number, or several, like 500 or {several}, got {value!r}") from None
