"""Flax NNX modules as models: `nnx.Param` are the parameters, all other variables but streams of keys the statistics.

In training every stream of random numbers in the module starts from the step's key, folded with the stream's number
in the order of their names; in evaluation dropout is off and batch normalisation uses its running statistics. A layer
of Flax that is in evaluation mode when the module comes stays there in training (`modes`).
"""

from collections.abc import Callable
from typing import Any

import jax
from flax import nnx
from jax import Array

from epochal.models.adapters import modes
from epochal.models.adapters.modes import switches, wants
from epochal.models.base import Model, merge_variables, split_variables

_SWITCHES = ("deterministic", "use_running_average")


def model(make: Callable[[Array], Any], sample: Any, *, given: bool) -> Model:
    """The model of modules that `make` makes from a key; `sample` is one of them, whose structure all have.

    It stays as it is. `given` says that `make` always gives this one, which its user has.
    """
    frozen = modes.frozen(sample, [getattr(*switch) for switch in _switches(sample)], is_new=not given)
    of = nnx.clone(sample)
    if given:
        first = nnx.clone(sample)  # as it is now, whatever its user does to it later
        make = lambda key: first  # noqa: E731
    of.train()
    for (layer, name), stays in zip(_switches(of), frozen, strict=True):
        if stays:
            setattr(layer, name, True)
    training, *_ = nnx.split(of)
    of.eval()
    evaluating, parameters, streams, rest = _split(of)

    def init(key: Array, example_shape: tuple[int, ...], classes: int) -> Any:
        _, params, _, model_state = _split(make(key))
        return _variables(params, model_state)

    def module(variables: Any, key: Array | None = None) -> Any:
        params, model_state = split_variables(variables)
        of = (_filled(parameters, params), _keyed(streams, key), _filled(rest, model_state or {}))
        return nnx.merge(evaluating if key is None else training, *of)

    def logits(variables: Any, x: Array) -> Array:
        of = module(variables)
        return of(x, **_arguments(of, None))

    def forward(variables: Any, x: Array, key: Array) -> tuple[Array, Any]:
        of = module(variables, key)
        out = of(x, **_arguments(of, jax.random.fold_in(key, len(streams))))
        _, _, _, model_state = _split(of)
        return out, _named(model_state) or ()

    def handed_out(variables: Any) -> Any:
        of = module(variables)
        modes.remember(of, frozen)
        return of

    return Model(init, logits, forward=forward, module=handed_out)


def version(module: Any) -> Any:
    """The present content of a module: its structure with all switches, and its arrays, which are immutable."""
    graph, state = nnx.split(module)
    return graph, tuple(map(_Is, jax.tree.leaves(state)))


class _Is:
    """An array as a key, by identity; the reference keeps its id from being reused."""

    def __init__(self, value: Any):
        self.value = value

    def __eq__(self, other: object) -> bool:
        return isinstance(other, _Is) and self.value is other.value

    def __hash__(self) -> int:
        return id(self.value)


def _switches(module: Any) -> list[tuple[Any, str]]:
    """The layers of Flax that have a switch between training and evaluation, and its name, in the module's order."""
    return [
        (layer, name)
        for _, layer in nnx.iter_modules(module)
        for name in _SWITCHES
        if isinstance(getattr(layer, name, None), bool) and _is_flax(type(layer))
    ]


def _is_flax(kind: type) -> bool:
    return any(base.__module__.startswith("flax.nnx.nn.") for base in kind.__mro__)


def _split(module: Any) -> tuple[Any, list, list, list]:
    """The graph; and parameters, streams of keys, and other variables, each as (path, variable) in their order."""
    graph, *states = nnx.split(module, nnx.Param, nnx.RngState, ...)
    params, streams, rest = (list(nnx.to_flat_state(state)) for state in states)
    return graph, params, streams, rest


def _variables(params: list, model_state: list) -> Any:
    return merge_variables(_named(params), _named(model_state) or ())


def _named(flat: list) -> dict[str, Array]:
    return {".".join(map(str, path)): variable.get_value() for path, variable in flat}


def _filled(flat: list, named: dict[str, Array]) -> Any:
    """A state with the variables of `flat` and the arrays of `named`."""
    return nnx.from_flat_state((path, variable.replace(named[".".join(map(str, path))])) for path, variable in flat)


def _keyed(streams: list, key: Array | None) -> Any:
    """The streams started from `key`; without one as they are."""
    if key is None:
        return nnx.from_flat_state((path, variable.replace(variable.get_value())) for path, variable in streams)
    filled, number = [], 0
    for path, variable in streams:
        value = variable.get_value()
        if isinstance(variable, nnx.RngKey):
            folded = jax.random.fold_in(key, number)
            number += 1
            value = jax.random.split(folded, value.shape) if value.shape else folded
        else:
            value = jax.numpy.zeros_like(value)
        filled.append((path, variable.replace(value)))
    return nnx.from_flat_state(filled)


def _arguments(module: Any, key: Array | None) -> dict[str, Any]:
    call, training = type(module).__call__, key is not None
    arguments: dict[str, Any] = dict(switches(call, training=training))
    if wants(call, "rngs", training=training):
        arguments["rngs"] = nnx.Rngs(jax.random.key(0) if key is None else key)
    return arguments
