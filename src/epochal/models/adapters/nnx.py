"""Flax NNX modules as models: `nnx.Param` are the parameters, all other variables but streams of keys the statistics.

In training every stream of random numbers in the module starts from the step's key, folded with the stream's number
in the order of their names; in evaluation dropout is off and batch normalisation uses its running statistics.
"""

from collections.abc import Callable
from typing import Any

import jax
from flax import nnx
from jax import Array

from epochal.models.adapters.calls import switches, wants
from epochal.models.base import Model, joined, parted

Named = dict[str, Array]


def model(make: Callable[[Array], Any], made: Any) -> Model:
    """The model of modules that `make` makes from a key; `made` is one of them, whose structure all have."""
    made.train()
    training, *_ = nnx.split(made)
    made.eval()
    evaluating, parameters, streams, rest = _split(made)

    def init(key: Array, example_shape: tuple[int, ...], classes: int) -> Any:
        _, params, _, statistics = _split(make(key))
        return _variables(params, statistics)

    def module(variables: Any, key: Array | None = None) -> Any:
        params, statistics = parted(variables)
        of = (_filled(parameters, params), _keyed(streams, key), _filled(rest, statistics or {}))
        return nnx.merge(evaluating if key is None else training, *of)

    def logits(variables: Any, x: Array) -> Array:
        of = module(variables)
        return of(x, **_asked(of, None))

    def forward(variables: Any, x: Array, key: Array) -> tuple[Array, Any]:
        of = module(variables, key)
        out = of(x, **_asked(of, jax.random.fold_in(key, len(streams))))
        _, _, _, statistics = _split(of)
        return out, _named(statistics) or ()

    return Model(init, logits, forward=forward, module=module)


def _split(module: Any) -> tuple[Any, list, list, list]:
    """The graph; and parameters, streams of keys, and other variables, each as (path, variable) in their order."""
    graph, *states = nnx.split(module, nnx.Param, nnx.RngState, ...)
    params, streams, rest = (list(nnx.to_flat_state(state)) for state in states)
    return graph, params, streams, rest


def _variables(params: list, statistics: list) -> Any:
    return joined(_named(params), _named(statistics) or ())


def _named(flat: list) -> Named:
    return {".".join(map(str, path)): variable.get_value() for path, variable in flat}


def _filled(flat: list, named: Named) -> Any:
    """A state with the variables of `flat` and the arrays of `named`."""
    return nnx.from_flat_state((path, variable.replace(named[".".join(map(str, path))])) for path, variable in flat)


def _keyed(streams: list, key: Array | None) -> Any:
    """The streams begun anew from `key`; without one as they are."""
    if key is None:
        return nnx.from_flat_state((path, variable.replace(variable.get_value())) for path, variable in streams)
    filled, number = [], 0
    for path, variable in streams:
        value = variable.get_value()
        if isinstance(variable, nnx.RngKey):
            own = jax.random.fold_in(key, number)
            number += 1
            value = jax.random.split(own, value.shape) if value.shape else own
        else:
            value = jax.numpy.zeros_like(value)
        filled.append((path, variable.replace(value)))
    return nnx.from_flat_state(filled)


def _asked(module: Any, key: Array | None) -> dict[str, Any]:
    call, training = type(module).__call__, key is not None
    asked: dict[str, Any] = dict(switches(call, training=training))
    if wants(call, "rngs", training=training):
        asked["rngs"] = nnx.Rngs(jax.random.key(0) if key is None else key)
    return asked
