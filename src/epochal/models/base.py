"""What a model is: a pair of pure functions, and a name by which a run folder finds it again."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array

from epochal.errors import RecipeError


@dataclass(frozen=True, eq=False)
class Model:
    """A classifier as two pure functions.

    `init(key, example_shape, classes)` returns the parameters: any pytree of floating-point arrays.
    `logits(params, x)` returns [rows, classes] from x of shape [rows, *example_shape] in the compute dtype.
    `name` and `settings` go into the run folder, so that a built-in model can be made again from it.

    Equality is identity: compiled programs are kept per model object, so make a model once and use it often.
    """

    init: Callable[[Array, tuple[int, ...], int], Any]
    logits: Callable[[Any, Array], Array]
    name: str = "custom"
    settings: Mapping[str, Any] = field(default_factory=dict)

    def __repr__(self) -> str:
        return f"{self.name}({', '.join(f'{key}={value!r}' for key, value in self.settings.items())})"


ACTIVATIONS: dict[str, Callable[[Array], Array]] = {"tanh": jnp.tanh, "relu": jax.nn.relu, "sigmoid": jax.nn.sigmoid}


def flatten(x: Array) -> Array:
    """[rows, *example_shape] as [rows, features]."""
    return x.reshape(x.shape[0], -1)


def uniform(key: Array, shape: tuple[int, ...], fan_in: float, fan_out: float, activation: str) -> Array:
    """Initial weights of a layer in front of `activation`, uniform in ± a bound.

    The bound is sqrt(6 / (fan_in + fan_out)), four times that for sigmoid (Glorot and Bengio, AISTATS 2010, as in the
    tutorials); for relu sqrt(6 / fan_in) (He et al., ICCV 2015).
    """
    bound = np.sqrt(6 / fan_in) if activation == "relu" else np.sqrt(6 / (fan_in + fan_out))
    bound *= 4 if activation == "sigmoid" else 1
    return jax.random.uniform(key, shape, minval=-bound, maxval=bound)


def dense_init(key: Array, fan_in: int, fan_out: int, activation: str) -> dict[str, Array]:
    """Weights [fan_out, fan_in] and zero biases [fan_out] of a hidden layer."""
    return {"W": uniform(key, (fan_out, fan_in), fan_in, fan_out, activation), "b": jnp.zeros(fan_out)}


def dense(layer: dict[str, Array], x: Array) -> Array:
    """X [rows, fan_in] through a layer. Weights lie as [fan_out, fan_in]: their gradient is then the faster product."""
    return x @ layer["W"].T + layer["b"]


def check_activation(activation: str) -> None:
    """Raise RecipeError unless `activation` is one of ours."""
    if activation not in ACTIVATIONS:
        raise RecipeError(f"activation: must be one of {', '.join(ACTIVATIONS)}, got {activation!r}")
