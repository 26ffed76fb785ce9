"""`Model`: a pair of pure functions, with the name by which a run folder restores it."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import jax.numpy as jnp
from jax import Array

from epochal.system.user_file import GIVEN, Fetched


class Variables(NamedTuple):
    """The variables of a model: parameters, which gradients change, and statistics, which its forward pass changes.

    Statistics are a pytree of arrays, such as the running means of batch normalisation and the count of minibatches.
    """

    params: Any
    model_state: Any


@dataclass(frozen=True, eq=False)
class Model:
    """A classifier as two pure functions; a third where it behaves otherwise while it is trained.

    `init(key, example_shape, classes)` returns the parameters: any pytree of floating-point arrays; or `Variables`.
    `logits(params, x)` returns [rows, classes] from x of shape [rows, *example_shape] in the compute dtype, with
    `params` in the form that `init` returns.
    `forward(params, x, key)`, where there is one, takes its place in a training step: it returns the logits and the new
    statistics, `()` where there are none. The key is another one in every step: for dropout.
    `module(params)`, of a model that comes from another library, is that library's module with these parameters.
    `name` and `settings` go into the run folder, so that a built-in model can be restored from it; `source` is
    the user's file that a model came from, for the same purpose. `built_in` marks one of epochal's: a copy with other
    functions is the user's, whatever its name.

    Equality is identity: compiled programs are cached per model object, so make a model once and reuse it.
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


def mark_built_in(model: Model) -> Model:
    """`model`, which is new, marked as one of epochal's."""
    object.__setattr__(model, "built_in", True)
    return model


def split_variables(variables: Any) -> Variables:
    """What `init` returned as parameters and statistics, `()` where there are none."""
    return variables if isinstance(variables, Variables) else Variables(variables, ())


def merge_variables(params: Any, model_state: Any) -> Any:
    """Parameters and statistics in the form that the model's functions take."""
    return params if isinstance(model_state, tuple) and model_state == () else Variables(params, model_state)


def compute_dtype(leaf: Any, dtype: Any) -> Any:
    """The dtype in which `leaf` is stored: the compute dtype for real numbers; counters and booleans keep theirs."""
    given = jnp.result_type(leaf)
    return dtype if jnp.issubdtype(given, jnp.floating) else given
