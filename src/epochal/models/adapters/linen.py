"""Flax linen modules as models: the collection `params` are the parameters, all others the statistics.

In training `apply` is given the step's key as the stream `dropout`. The switch between training and evaluation is the
module's own: `train`, `training`, `deterministic` or `use_running_average` among the parameters of its `__call__`.
"""

from collections.abc import Callable, Mapping
from typing import Any

import jax
from jax import Array

from epochal.models.adapters.calls import switches
from epochal.models.base import Model, joined, parted


def model(make: Callable[[Array], Any], made: Any, *, given: bool) -> Model:
    """The model of the module `made`, which holds no arrays."""
    call = type(made).__call__

    def init(key: Array, example_shape: tuple[int, ...], classes: int) -> Any:
        params_key, dropout_key = jax.random.split(key)
        x = jax.numpy.zeros((1, *example_shape))
        streams = {"params": params_key, "dropout": dropout_key}
        collections = dict(made.init(streams, x, **switches(call, training=False)))
        return joined(collections.pop("params", {}), collections or ())

    def collections(variables: Any) -> dict[str, Any]:
        params, model_state = parted(variables)
        return {"params": params, **(model_state if isinstance(model_state, Mapping) else {})}

    def logits(variables: Any, x: Array) -> Array:
        return made.apply(collections(variables), x, **switches(call, training=False))

    def forward(variables: Any, x: Array, key: Array) -> tuple[Array, Any]:
        kept = list(parted(variables).model_state)
        asked: dict[str, Any] = switches(call, training=True) | {"rngs": {"dropout": key}}
        if not kept:
            return made.apply(collections(variables), x, **asked), ()
        return made.apply(collections(variables), x, mutable=kept, **asked)

    def module(variables: Any) -> Any:
        return made.bind(collections(variables))

    return Model(init, logits, forward=forward, module=module)
