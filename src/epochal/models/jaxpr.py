"""Jaxprs: the operations that JAX sees in a function, with calls opened."""

from collections.abc import Iterator
from typing import Any

from jax.extend.core import ClosedJaxpr, Jaxpr

_BODIES = ("jaxpr", "call_jaxpr", "fun_jaxpr")
_CALLS = {
    "jit", "pjit", "closed_call", "core_call", "custom_jvp_call", "custom_vjp_call", "remat", "remat2", "checkpoint",
    "custom_vjp_call_jaxpr", "custom_lin",
}  # fmt: skip


def called(equation: Any) -> ClosedJaxpr | None:
    """The function that an operation calls; None where the operation is no call."""
    if equation.primitive.name not in _CALLS:
        return None
    body = next(equation.params[key] for key in _BODIES if key in equation.params)
    return body if isinstance(body, ClosedJaxpr) else ClosedJaxpr(body, ())


def operations(jaxpr: Jaxpr) -> Iterator[Any]:
    """Every operation of a function in order, those of calls inside it in their place."""
    for equation in jaxpr.eqns:
        body = called(equation)
        if body is None:
            yield equation
        else:
            yield from operations(body.jaxpr)
