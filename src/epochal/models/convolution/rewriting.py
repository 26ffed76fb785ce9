"""Rewrites a user's model: `lax` convolutions and poolings become those with fast gradients.

The gradients of `lax.conv_general_dilated` and of `lax.reduce_window` in a compiled loop are slow on a CPU
(jax-ml/jax#12868). A function is traced to its operations, and those two are replaced where there is an equal one;
everything else stays as it was. This comes before differentiation, so that the gradients are those of the new ones.
"""

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
from jax import Array, lax
from jax.extend.core import ClosedJaxpr, Jaxpr, Literal, jaxpr_as_fun

from epochal.models.convolution.geometry import geometry
from epochal.models.convolution.pooling import pooled
from epochal.models.convolution.products import convolve

_SLOW = ("conv_general_dilated", "reduce_window_max")


def rewritten(function: Callable[..., Any]) -> Callable[..., Any]:
    """`function` of arrays and trees of them, itself where it holds no such operation.

    Inside of functions with custom derivatives, and of `jax.checkpoint`, operations stay as they are.
    """

    def called(*arguments: Any) -> Any:
        traced, shapes = jax.make_jaxpr(function, return_shape=True)(*arguments)
        if not _holds(traced.jaxpr):
            return function(*arguments)
        out = _evaluated(traced, jax.tree.leaves(arguments))
        return jax.tree.unflatten(jax.tree.structure(shapes), out)

    return called


def _holds(jaxpr: Jaxpr) -> bool:
    return any(eqn.primitive.name in _SLOW or any(_holds(of.jaxpr) for of in _inner(eqn)) for eqn in jaxpr.eqns)


def _inner(eqn: Any) -> list[ClosedJaxpr]:
    """The functions that an operation calls and that may be rewritten: of jit, loops and branches."""
    if eqn.primitive.name.startswith("custom_") or eqn.params.get("branches_platforms"):
        return []  # a choice by platform has been made by whoever wrote it
    values = [of for value in eqn.params.values() for of in (value if isinstance(value, tuple) else (value,))]
    return [of for of in values if isinstance(of, ClosedJaxpr)]


def _rewritten(closed: ClosedJaxpr) -> ClosedJaxpr:
    if not _holds(closed.jaxpr):
        return closed
    return jax.make_jaxpr(lambda *values: _evaluated(closed, values))(*closed.in_avals)


def _evaluated(closed: ClosedJaxpr, arguments: Sequence[Any]) -> list[Any]:
    jaxpr = closed.jaxpr
    known: dict[Any, Any] = dict(zip((*jaxpr.constvars, *jaxpr.invars), (*closed.consts, *arguments), strict=True))
    for eqn in jaxpr.eqns:
        values = [of.val if isinstance(of, Literal) else known[of] for of in eqn.invars]
        faster = _faster(eqn)
        if faster is None:
            out = _alone(jaxpr, eqn, known)
        else:
            out = [lax.platform_dependent(*values, cpu=faster, default=partial(eqn.primitive.bind, **eqn.params))]
        known.update(zip(eqn.outvars, out, strict=True))
    return [of.val if isinstance(of, Literal) else known[of] for of in jaxpr.outvars]


def _faster(eqn: Any) -> Callable[..., Array] | None:
    faster = {"conv_general_dilated": _convolution, "reduce_window_max": _pooling}.get(eqn.primitive.name)
    return faster(eqn.params, [of.aval for of in eqn.invars]) if faster else None


def _alone(jaxpr: Jaxpr, eqn: Any, known: dict[Any, Any]) -> list[Any]:
    """One operation as it was, but for what it calls."""
    params = dict(eqn.params)
    for name, value in params.items() if _inner(eqn) else ():
        if isinstance(value, ClosedJaxpr):
            params[name] = _rewritten(value)
        elif isinstance(value, tuple) and any(isinstance(of, ClosedJaxpr) for of in value):
            params[name] = tuple(_rewritten(of) if isinstance(of, ClosedJaxpr) else of for of in value)
    variables = list(dict.fromkeys(of for of in eqn.invars if not isinstance(of, Literal)))
    outvars, one = list(eqn.outvars), eqn.replace(params=params)
    alone = jaxpr.replace(constvars=[], invars=variables, outvars=outvars, eqns=[one], effects=eqn.effects)
    return jaxpr_as_fun(ClosedJaxpr(alone, ()))(*[known[of] for of in variables])


def _convolution(params: dict[str, Any], shapes: Sequence[Any]) -> Callable[..., Array] | None:
    """The same convolution by products, where it is one of images, or of sequences, without groups."""
    (x, kernel), numbers = shapes, params["dimension_numbers"]
    plain = params["feature_group_count"] == params["batch_group_count"] == 1 and set(params["lhs_dilation"]) == {1}
    axes = x.ndim - 2
    if not plain or axes not in (1, 2) or not jnp.issubdtype(x.dtype, jnp.floating) or x.dtype != kernel.dtype:
        return None
    more = (1,) * (2 - axes)  # a sequence is an image of one row

    def sizes(of: Sequence[int]) -> tuple[int, ...]:
        return (*more, *of)

    (n, c, *space), (out, into, *taps) = numbers.lhs_spec, numbers.rhs_spec
    padding = (*(((0, 0),) * len(more)), *params["padding"])
    image, window = sizes([x.shape[i] for i in space]), sizes([kernel.shape[i] for i in taps])
    stride, dilation = sizes(params["window_strides"]), sizes(params["rhs_dilation"])
    windows = geometry(image, window, (stride[0], stride[1]), padding, (dilation[0], dilation[1]), 1)

    def convolution(x: Array, kernel: Array) -> Array:
        x, kernel = x.transpose(n, *space, c), kernel.transpose(*taps, into, out)
        y = convolve(x.reshape(x.shape[0], *image, x.shape[-1]), kernel.reshape(*window, *kernel.shape[-2:]), windows)
        y = y.reshape(y.shape[0], *y.shape[1 + len(more) :])
        first, last, *between = numbers.out_spec
        return jnp.moveaxis(y, range(y.ndim), (first, *between, last))

    return convolution


def _pooling(params: dict[str, Any], shapes: Sequence[Any]) -> Callable[..., Array] | None:
    """The same maximum over disjoint windows, where they lie in two dimensions next to one another."""
    (x,) = shapes
    window, dilations = params["window_dimensions"], (*params["base_dilation"], *params["window_dilation"])
    spaces = [i for i, size in enumerate(window) if size > 1]
    plain = window == params["window_strides"] and set(dilations) == {1} and not any(map(any, params["padding"]))
    if not plain or x.ndim != 4 or len(spaces) != 2 or not jnp.issubdtype(x.dtype, jnp.floating):
        return None
    order = (*[i for i in range(4) if i not in spaces][:1], *spaces, *[i for i in range(4) if i not in spaces][1:])
    size = (window[spaces[0]], window[spaces[1]])
    return lambda x: jnp.moveaxis(pooled(x.transpose(order), size), range(4), order)
