"""What a model is: a pair of pure functions, and a name by which a run folder finds it again."""

import operator
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from math import prod
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array

from epochal.errors import RecipeError, speaks_of_options
from epochal.system.user_file import GIVEN, Fetched


class Variables(NamedTuple):
    """What a model keeps: parameters, which gradients change, and statistics, which its forward pass does.

    Statistics are a pytree of arrays, such as the running means of batch normalisation and the count of minibatches.
    """

    params: Any
    model_state: Any


@dataclass(frozen=True, eq=False)
class Model:
    """A classifier as two pure functions; a third where it behaves otherwise while it is trained.

    `init(key, example_shape, classes)` returns the parameters: any pytree of floating-point arrays; or `Variables`.
    `logits(params, x)` returns [rows, classes] from x of shape [rows, *example_shape] in the compute dtype; it is given
    what `init` returns in form.
    `forward(params, x, key)`, where there is one, takes its place in a training step: it returns the logits and the new
    statistics, `()` where there are none. The key is another one in every step: for dropout.
    `module(params)`, of a model that comes from another library, is that library's module with these parameters.
    `name` and `settings` go into the run folder, so that a built-in model can be made again from it; `source` is
    the user's file that a model came from, which serves the same end. `built_in` says that it is one of epochal's: a
    copy with other functions is the user's, whatever its name.

    Equality is identity: compiled programs are kept per model object, so make a model once and use it often.
    """

    init: Callable[[Array, tuple[int, ...], int], Any]
    logits: Callable[[Any, Array], Array]
    name: str = "custom"
    settings: Mapping[str, Any] = field(default_factory=dict)
    forward: Callable[[Any, Array, Array], tuple[Array, Any]] | None = None
    module: Callable[[Any], Any] | None = None
    source: Fetched = GIVEN
    built_in: bool = field(default=False, init=False)  # so `replace` does not copy it

    def __deepcopy__(self, memo: Any) -> "Model":
        return self  # nothing in it changes, and a copy would be another model: scikit-learn's clone copies parameters

    def __repr__(self) -> str:
        return f"{self.name}({', '.join(f'{key}={value!r}' for key, value in self.settings.items())})"


def built_in(model: Model) -> Model:
    """`model`, which is new, as one of epochal's own."""
    object.__setattr__(model, "built_in", True)
    return model


def parted(variables: Any) -> Variables:
    """What `init` returned as parameters and statistics, `()` where there are none."""
    return variables if isinstance(variables, Variables) else Variables(variables, ())


def joined(params: Any, model_state: Any) -> Any:
    """Parameters and statistics in the form that the model's functions take."""
    return params if isinstance(model_state, tuple) and model_state == () else Variables(params, model_state)


def computed(leaf: Any, dtype: Any) -> Any:
    """The dtype in which `leaf` is kept: the compute dtype for real numbers; counters and truth values keep theirs."""
    own = jnp.result_type(leaf)
    return dtype if jnp.issubdtype(own, jnp.floating) else own


MOST_WEIGHTS, _MOST_SIZE, _MOST_LAYERS = 2**48, 10_000_000, 1000

ACTIVATIONS: dict[str, Callable[[Array], Array]] = {"tanh": jnp.tanh, "relu": jax.nn.relu, "sigmoid": jax.nn.sigmoid}


def flatten(x: Array) -> Array:
    """[rows, *example_shape] as [rows, features]."""
    return x.reshape(x.shape[0], -1)


def uniform(key: Array, shape: tuple[int, ...], fan_in: float, fan_out: float, activation: str) -> Array:
    """Initial weights of a layer in front of `activation`, uniform in ± a bound.

    The bound is sqrt(6 / (fan_in + fan_out)), four times that for sigmoid (Glorot and Bengio, AISTATS 2010, as in the
    tutorials); for relu sqrt(6 / fan_in) (He et al., ICCV 2015).
    """
    if prod(shape) > MOST_WEIGHTS:
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


def widths(name: str, value: Any) -> tuple[int, ...]:
    """Whole numbers: from one, several, or text like 500x300. Raises RecipeError."""
    try:
        if isinstance(value, str):
            return tuple(int(part) for part in value.split("x"))
        return tuple(operator.index(width) for width in np.atleast_1d(np.array(value, dtype=object)))
    except (TypeError, ValueError):
        several = "500x300" if speaks_of_options() else "(500, 300)"
        raise RecipeError(f"{name}: must be a whole number, or several, like 500 or {several}, got {value!r}") from None


def check_sizes(names: str, *sizes: int) -> None:
    """Raise RecipeError for sizes that no compiler takes (XLA ends the process where a shape overflows)."""
    if len(sizes) > _MOST_LAYERS or max(sizes) > _MOST_SIZE:
        raise RecipeError(
            f"{names}: must be at most {_MOST_LAYERS:,} numbers up to {_MOST_SIZE:,}, got {len(sizes):,} up to "
            f"{max(sizes):,}"
        )


def check_activation(activation: str) -> None:
    """Raise RecipeError unless `activation` is one of ours."""
    if activation not in ACTIVATIONS:
        raise RecipeError(f"activation: must be one of {', '.join(ACTIVATIONS)}, got {activation!r}")
