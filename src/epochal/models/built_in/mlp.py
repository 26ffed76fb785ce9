"""The multilayer perceptron of the Deep Learning Tutorials: hidden layers, then logistic regression."""

from collections.abc import Sequence
from functools import cache
from math import prod
from typing import Any

import jax
from jax import Array

from epochal.errors import RecipeError
from epochal.models.base import Model, mark_built_in
from epochal.models.built_in.layers import (
    ACTIVATIONS,
    check_activation,
    check_sizes,
    dense,
    dense_init,
    flatten,
    widths,
)
from epochal.models.built_in.logistic import logistic


def mlp(hidden: int | str | Sequence[int] = 500, activation: str = "relu") -> Model:
    """A perceptron with hidden layers of the given widths, also as text like 500x300.

    `activation` is relu, tanh (the tutorials') or sigmoid.

    Hidden layers start uniform (see `dense_init`), the output layer at zero, as in the tutorials.
    Raises RecipeError for a width below 1 or another activation.
    """
    sizes = widths("hidden", hidden)
    if not sizes or min(sizes) < 1:
        raise RecipeError(f"hidden: every width must be at least 1, got {list(sizes)}; for none use model 'logistic'")
    check_sizes("hidden", *sizes)
    check_activation(activation)
    return _mlp(sizes, activation)


# One object for equal arguments, so that a second `mlp(500)` finds the first one's compiled program.
@cache
def _mlp(hidden: tuple[int, ...], activation: str) -> Model:
    act = ACTIVATIONS[activation]

    def init(key: Array, example_shape: tuple[int, ...], classes: int) -> dict[str, Any]:
        sizes = (prod(example_shape), *hidden)
        keys = jax.random.split(key, len(hidden) + 1)
        params = {f"hidden{i}": dense_init(keys[i], sizes[i], sizes[i + 1], activation) for i in range(len(hidden))}
        return params | {"output": logistic().init(keys[-1], (sizes[-1],), classes)}

    def logits(params: dict[str, Any], x: Array) -> Array:
        h = flatten(x)
        for i in range(len(hidden)):
            h = act(dense(params[f"hidden{i}"], h))
        return dense(params["output"], h)

    return mark_built_in(Model(init, logits, "mlp", {"hidden": list(hidden), "activation": activation}))
