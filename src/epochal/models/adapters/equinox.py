"""Equinox modules as models: they take one example, and are mapped over the rows of a minibatch.

Parameters are the floating-point arrays of the module; what `eqx.nn.State` holds are the statistics. In training every
row is given a key of its own, split from the step's; in evaluation `eqx.nn.inference_mode` is on. A layer of Equinox
whose `inference` is set when the module comes keeps it in training (`modes`).
"""

from collections.abc import Callable
from typing import Any

import equinox as eqx
import jax
from jax import Array

from epochal.models.adapters import modes
from epochal.models.adapters.modes import wants
from epochal.models.base import Model, merge_variables, split_variables
from epochal.models.parameters import path_name


def model(make: Callable[[Array], Any], sample: Any, *, given: bool) -> Model:
    """The model of modules that `make` makes from a key; `sample` is one of them, whose structure all have.

    `given` says that `make` always gives this one, which its user has.
    """
    of, state = _stateful(sample)
    frozen = modes.frozen(sample[0] if isinstance(sample, tuple) else sample, _standing(of), is_new=not given)
    arrays, _ = eqx.partition(of, eqx.is_inexact_array)
    form, names = jax.tree.structure(arrays), _names(arrays)
    fixed = {True: _fixed(of, frozen), False: _fixed(of, None)}
    state_form, state_names = jax.tree.structure(state), _state_names(of, state)
    axis_name = _axis_name(of)

    def init(key: Array, example_shape: tuple[int, ...], classes: int) -> Any:
        module, state = _stateful(make(key))
        leaves = jax.tree.leaves(eqx.filter(module, eqx.is_inexact_array))
        model_state = dict(zip(state_names, jax.tree.leaves(state), strict=True))
        return merge_variables(dict(zip(names, leaves, strict=True)), model_state or ())

    def module(variables: Any, training: bool = False) -> Any:
        params, model_state = split_variables(variables)
        of = eqx.combine(form.unflatten([params[name] for name in names]), fixed[training])
        return (of, state_form.unflatten([model_state[name] for name in state_names])) if state_names else of

    def call(variables: Any, x: Array, key: Array | None) -> tuple[Array, Any]:
        whole = module(variables, key is not None)
        of, *state = whole if state_names else (whole,)
        asks = wants(of.__call__, "key", training=key is not None)
        # To infer, one key for all rows does, and leaves their number open for an export.
        keys, axis = (jax.random.key(0), None) if key is None else (jax.random.split(key, len(x)), 0)

        def one(x: Array, key: Array) -> Any:
            return of(x, *state, **({"key": key} if asks else {}))

        out = jax.vmap(one, (0, axis), (0, None) if state else 0, axis_name=axis_name)(x, keys)
        if not state:
            return out, ()
        return out[0], dict(zip(state_names, jax.tree.leaves(out[1]), strict=True))

    def logits(variables: Any, x: Array) -> Array:
        return call(variables, x, None)[0]

    def handed_out(variables: Any) -> Any:
        whole = module(variables)
        modes.remember(whole[0] if state_names else whole, frozen)
        return whole

    return Model(init, logits, forward=call, module=handed_out)


def _stateful(sample: Any) -> tuple[Any, Any]:
    """The module, and its state, None where it has none; states are numbered by their place in the module."""
    module, state = sample if isinstance(sample, tuple) else (sample, None)
    if state is None and _indices(module):
        module, state = eqx.nn.make_with_state(lambda: module)()
    return module, state


def _fixed(module: Any, frozen: tuple[bool, ...] | None) -> Any:
    """All of the module that is no parameter: in inference mode, or in training but for what is `frozen`."""
    switches = list(frozen) if frozen is not None else [True] * len(_layers(module))
    if switches:
        module = eqx.tree_at(lambda of: [layer.inference for layer in _layers(of)], module, switches)
    return eqx.partition(module, eqx.is_inexact_array)[1]


def _layers(tree: Any) -> list[Any]:
    """All that `eqx.nn.inference_mode` switches, in its order: layers with a switch may hold others."""

    def switches(of: Any) -> bool:
        return hasattr(of, "inference") and of is not tree

    inner = [leaf for leaf in jax.tree.leaves(tree, is_leaf=switches) if switches(leaf)]
    return [*([tree] if hasattr(tree, "inference") else []), *(layer for leaf in inner for layer in _layers(leaf))]


def _standing(module: Any) -> list[bool]:
    """Which layers of Equinox have their switch in inference; those of a user's own mean what they like by theirs."""
    return [bool(layer.inference) and _is_equinox(type(layer)) for layer in _layers(module)]


def _is_equinox(kind: type) -> bool:
    return any(base.__module__.startswith("equinox.nn.") for base in kind.__mro__)


def _indices(module: Any) -> dict[Any, tuple[str, Any]]:
    """The module's places of states, each once: its name and its index, by marker."""
    leaves = jax.tree_util.tree_leaves_with_path(module, is_leaf=lambda leaf: isinstance(leaf, eqx.nn.StateIndex))
    indices: dict[Any, tuple[str, Any]] = {}
    for path, leaf in leaves:
        if isinstance(leaf, eqx.nn.StateIndex):
            indices.setdefault(leaf.marker, (path_name(path), leaf))
    return indices


def _names(tree: Any) -> list[str]:
    return [path_name(path) for path, _ in jax.tree_util.tree_leaves_with_path(tree)]


def _state_names(module: Any, state: Any) -> list[str]:
    """A name for each array of the state, in its order: where its index lies in the module, and its own path."""
    leaves, form = jax.tree.flatten(state)
    if not leaves:
        return []
    numbered, names = form.unflatten(range(len(leaves))), [""] * len(leaves)
    for name, index in _indices(module).values():
        for path, number in jax.tree_util.tree_leaves_with_path(numbered.get(index)):
            names[number] = f"{name}.{path_name(path)}".rstrip(".")
    return names


def _axis_name(module: Any) -> Any:
    """The name under which the module's normalisations know the minibatch; `batch` where none does."""
    normalising = jax.tree.leaves(module, is_leaf=lambda leaf: isinstance(leaf, eqx.nn.BatchNorm))
    named = [leaf.axis_name for leaf in normalising if isinstance(leaf, eqx.nn.BatchNorm)]
    return named[0] if named else "batch"
