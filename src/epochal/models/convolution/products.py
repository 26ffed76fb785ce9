"""Convolution and max-pooling as matrix products of patches, a few rows at a time, with gradients of the same kind.

Sources: K. Chellapilla, S. Puri, P. Simard, "High performance convolutional neural networks for document processing",
2006 (patches); A. Krizhevsky, cuda-convnet, 2012 (rows innermost). The rows of a minibatch go through in blocks, so
that their patches stay in the processor's cache; they are computed again in the backward pass, which is cheaper than to
fetch them from memory. The product has the positions as its long side; a kernel narrower than `NARROW` is joined with
its neighbours in the pooling window to one product of all of them, which costs more arithmetic and saves more patches.
"""

from functools import partial

import jax
import jax.numpy as jnp
from jax import Array, lax

from epochal.models.convolution.blocks import outputs_from_blocks, outputs_to_blocks, patches, sum_patches, to_blocks
from epochal.models.convolution.geometry import Geometry
from epochal.models.convolution.pooling import first_maximum, members, spread

BLOCK = 720_000
"""Elements of patches and outputs in a block of rows: 2.9 MB in float32, by measurement."""

MOST_ROWS = 24
"""Rows of a block at most: longer runs gain nothing, and layers with equal blocks need no other order in between."""

NARROW = 32
"""Kernels below which one product yields all positions of a pooling window."""


@partial(jax.custom_vjp, nondiff_argnums=(2,))
def convolve(x: Array, kernel: Array, geometry: Geometry) -> Array:
    """The convolution of x [n, h, w, in] with kernel [kh, kw, in, out], and the maximum over the pooling windows."""
    return _forward(x, kernel, geometry)[0]


def _forward(x: Array, kernel: Array, geometry: Geometry) -> tuple[Array, tuple[Array, Array, Array]]:
    plan, rows = _plan(x, kernel, geometry)
    weights = _weights(kernel, geometry)

    def forward(block: Array) -> tuple[Array, Array]:
        product = weights @ patches(block, plan, rows)
        return _pool(product, kernel.shape[3], geometry, plan, rows)

    y, number = lax.map(forward, to_blocks(x, plan, rows))
    return outputs_from_blocks(y, rows, len(x)), (x, kernel, number)


def _backward(geometry: Geometry, residuals: tuple[Array, Array, Array], gradient: Array) -> tuple[Array, Array]:
    x, kernel, number = residuals
    plan, rows = _plan(x, kernel, geometry)
    weights, to_kernel = jax.vjp(lambda kernel: _weights(kernel, geometry), kernel)
    blocks, to_x = jax.vjp(lambda x: to_blocks(x, plan, rows), x)

    def backward(total: Array, given: tuple[Array, Array, Array]) -> tuple[Array, Array]:
        block, number, gradient = given
        gradient = _unpool(gradient, number, geometry, plan, rows)
        seen = patches(block, plan, rows)
        total += lax.dot_general(gradient, seen, (((1,), (1,)), ((), ())), preferred_element_type=total.dtype)
        # Where x is data and nobody asks for its gradient, XLA leaves this product out of the loop.
        return total, sum_patches(weights.T @ gradient, plan, rows)

    # Sums over blocks of half precision are accumulated in single.
    zero = jnp.zeros(weights.shape, jnp.float32 if weights.dtype.itemsize < 4 else weights.dtype)
    total, parts = lax.scan(backward, zero, (blocks, number, outputs_to_blocks(gradient, rows)))
    return to_x(parts)[0], to_kernel(total.astype(weights.dtype))[0]


convolve.defvjp(_forward, _backward)


def _joins(out: int, geometry: Geometry) -> bool:
    return geometry.pool != (1, 1) and geometry.dilation == (1, 1) and out < NARROW


def _plan(x: Array, kernel: Array, geometry: Geometry) -> tuple[Geometry, int]:
    """The convolution that is done as a product, and the rows of a block."""
    n, out = len(x), kernel.shape[3]
    plan = geometry.merged if _joins(out, geometry) else geometry
    (h, w), (ph, pw), (kh, kw) = geometry.out, geometry.pool, plan.kernel
    positions = h * w * plan.pool[0] * plan.pool[1]
    row = positions * kh * kw * x.shape[3] + h * w * ph * pw * out
    most = max(1, BLOCK // row, 8 * kernel.size // row)  # sums of gradients must not cost more than the products
    return plan, _rows(n, most)


def _rows(n: int, most: int) -> int:
    """Rows of a block: the largest divisor of n up to `most`; about `most` where n has none of half that size."""
    most = max(1, min(n, most, MOST_ROWS))
    divisor = max(rows for rows in range(1, most + 1) if n % rows == 0)
    return divisor if 2 * divisor >= most else -(-n // -(-n // most))


def _weights(kernel: Array, geometry: Geometry) -> Array:
    """The kernel as [out, taps * in]; joined, as [positions in a pooling window * out, taps * in]."""
    kernel = kernel.transpose(3, 0, 1, 2)
    if _joins(len(kernel), geometry):
        (ph, pw), (sh, sw) = geometry.pool, geometry.stride
        edges = [((0, 0), (i * sh, (ph - 1 - i) * sh), (j * sw, (pw - 1 - j) * sw), (0, 0))
                 for i in range(ph) for j in range(pw)]  # fmt: skip
        kernel = jnp.concatenate([jnp.pad(kernel, edge) for edge in edges])
    return kernel.reshape(len(kernel), -1)


def _pool(product: Array, out: int, geometry: Geometry, plan: Geometry, rows: int) -> tuple[Array, Array]:
    h, w = geometry.out
    if plan.pool == geometry.pool:
        positions = product.reshape(out, h * plan.pool[0], w * plan.pool[1], rows)
        y, number = first_maximum(members(positions, plan.pool))
    else:
        y, number = first_maximum(list(product.reshape(-1, out, h, w * rows)))
    return y.reshape(out, h, w * rows), number.reshape(out, h, w * rows)


def _unpool(gradient: Array, number: Array, geometry: Geometry, plan: Geometry, rows: int) -> Array:
    """The gradient of the product from that of its maxima [out, h, w * rows]."""
    out, h, _ = gradient.shape
    if plan.pool == geometry.pool:
        shape = (out, h, -1, rows)
        return spread(gradient.reshape(shape), number.reshape(shape), plan.pool).reshape(out, -1)
    each = jnp.arange(geometry.pool[0] * geometry.pool[1], dtype=number.dtype)[:, None, None, None]
    return jnp.where(number == each, gradient, 0).reshape(len(each) * out, -1)
