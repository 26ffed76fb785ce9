"""Flax linen modules as models: the collection `params` are the parameters, all others the statistics.

In training `apply` is given the step's key as the stream `dropout`. The switch between training and evaluation is the
module's own: `train`, `training`, `deterministic` or `use_running_average` among the parameters of its `__call__`.
"""

from collections.abc import Callable, Mapping
from typing import Any

import jax
from jax import Array

from epochal.models.adapters.modes import switches
from epochal.models.base import Model, merge_variables, split_variables


def model(make: Callable[[Array], Any], sample: Any, *, given: bool) -> Model:
    """The model of the module `sample`, which holds no arrays."""
    call = type(sample).__call__

    def init(key: Array, example_shape: tuple[int, ...], classes: int) -> Any:
        params_key, dropout_key = jax.random.split(key)
        x = jax.numpy.zeros((1, *example_shape))
        streams = {"params": params_key, "dropout": dropout_key}
        collections = dict(sample.init(streams, x, **switches(call, training=False)))
        return merge_variables(collections.pop("params", {}), collections or ())

    def collections(variables: Any) -> dict[str, Any]:
        params, model_state = split_variables(variables)
        return {"params": params, **(model_state if isinstance(model_state, Mapping) else {})}

    def logits(variables: Any, x: Array) -> Array:
        return sample.apply(collections(variables), x, **switches(call, training=False))

    def forward(variables: Any, x: Array, key: Array) -> tuple[Array, Any]:
        mutable = list(split_variables(variables).model_state)
        arguments: dict[str, Any] = switches(call, training=True) | {"rngs": {"dropout": key}}
        if not mutable:
            return sample.apply(collections(variables), x, **arguments), ()
        return sample.apply(collections(variables), x, mutable=mutable, **arguments)

    def module(variables: Any) -> Any:
        return sample.bind(collections(variables))

    return Model(init, logits, forward=forward, module=module)
