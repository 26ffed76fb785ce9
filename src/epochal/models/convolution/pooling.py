"""Max-pooling over disjoint windows, with the number of the first maximum stored for the gradient.

The gradient of a window goes to its first maximum in reading order, as with `lax.reduce_window`.
"""

from collections.abc import Sequence
from functools import partial

import jax
import jax.numpy as jnp
from jax import Array

from epochal.models.convolution.geometry import Pair


def first_maximum(candidates: Sequence[Array]) -> tuple[Array, Array]:
    """The elementwise maximum of arrays of one shape, and the number of the first array that has it."""
    largest = candidates[0]
    number = jnp.zeros(largest.shape, jnp.int8 if len(candidates) <= 128 else jnp.int32)
    for i, candidate in enumerate(candidates[1:], 1):
        number = jnp.where(candidate > largest, jnp.asarray(i, number.dtype), number)
        largest = jnp.maximum(largest, candidate)
    return largest, number


def members(x: Array, pool: Pair) -> list[Array]:
    """X [a, h * pool_h, w * pool_w, b] as one array [a, h, w, b] for each position in a window, in reading order."""
    a, height, width, b = x.shape
    windows = x.reshape(a, height // pool[0], pool[0], width // pool[1], pool[1], b)
    return [windows[:, :, i, :, j] for i in range(pool[0]) for j in range(pool[1])]


def spread(gradient: Array, number: Array, pool: Pair) -> Array:
    """The gradient [a, h, w, b] of the maxima, at the place of each maximum: [a, h * pool_h, w * pool_w, b]."""
    a, h, w, b = gradient.shape
    windows = jnp.zeros((a, h, pool[0], w, pool[1], b), gradient.dtype)
    for i in range(pool[0]):
        for j in range(pool[1]):
            chosen = jnp.where(number == i * pool[1] + j, gradient, 0)
            windows = windows.at[:, :, i, :, j].set(chosen)
    return windows.reshape(a, h * pool[0], w * pool[1], b)


@partial(jax.custom_vjp, nondiff_argnums=(1,))
def pooled(x: Array, pool: Pair) -> Array:
    """The maximum of every window of x [n, height, width, channels]; what fills no window is ignored."""
    return _pooled_forward(x, pool)[0]


def _whole(x: Array, pool: Pair) -> Array:
    return x[:, : x.shape[1] // pool[0] * pool[0], : x.shape[2] // pool[1] * pool[1]]


def _pooled_forward(x: Array, pool: Pair) -> tuple[Array, tuple[Array, Array]]:
    largest, number = first_maximum(members(_whole(x, pool), pool))
    return largest, (number, jnp.zeros((0, *x.shape[1:]), x.dtype))


def _pooled_backward(pool: Pair, residuals: tuple[Array, Array], gradient: Array) -> tuple[Array]:
    number, like = residuals
    whole = spread(gradient, number, pool)
    return (jnp.pad(whole, ((0, 0), (0, like.shape[1] - whole.shape[1]), (0, like.shape[2] - whole.shape[2]), (0, 0))),)


pooled.defvjp(_pooled_forward, _pooled_backward)
