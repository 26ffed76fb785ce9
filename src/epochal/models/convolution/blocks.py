"""Rows of images as blocks whose innermost dimension runs over rows, and the patches of such a block.

With the rows innermost, every patch is a few long runs of memory whatever the channels, pooling is a maximum of long
vectors, and the products have the positions, of which there are many, as their long side.

A stride splits an image into phases (row number and column number modulo the stride): in a phase, neighbouring windows
read neighbouring elements, so that patches are slices without gaps.
"""

import jax.numpy as jnp
from jax import Array, lax

from epochal.models.convolution.geometry import Geometry


def to_blocks(x: Array, geometry: Geometry, rows: int) -> Array:
    """X [n, height, width, channels] as [blocks, phase_h, phase_w, channels, h, w * rows]; zeros behind row n."""
    n, height, width, channels = x.shape
    blocks, (sh, sw), (h, w) = -(-n // rows), geometry.stride, geometry.phase
    (top, _), (left, _) = geometry.padding
    edges = ((0, blocks * rows - n, 0), (top, h * sh - height - top, 0), (left, w * sw - width - left, 0), (0, 0, 0))
    x = lax.pad(x, jnp.zeros((), x.dtype), edges).reshape(blocks, rows, h, sh, w, sw, channels)
    return x.transpose(0, 3, 5, 6, 2, 4, 1).reshape(blocks, sh, sw, channels, h, w * rows)


def outputs_to_blocks(y: Array, rows: int) -> Array:
    """Y [n, h, w, out] as [blocks, out, h, w * rows]; zeros behind row n."""
    n, h, w, out = y.shape
    blocks = -(-n // rows)
    y = jnp.pad(y, ((0, blocks * rows - n), (0, 0), (0, 0), (0, 0))).reshape(blocks, rows, h, w, out)
    return y.transpose(0, 4, 2, 3, 1).reshape(blocks, out, h, w * rows)


def outputs_from_blocks(y: Array, rows: int, n: int) -> Array:
    """The inverse of `outputs_to_blocks`."""
    blocks, out, h, _ = y.shape
    return y.reshape(blocks, out, h, -1, rows).transpose(0, 4, 2, 3, 1).reshape(blocks * rows, h, -1, out)[:n]


def patches(block: Array, geometry: Geometry, rows: int) -> Array:
    """All that a kernel sees at each position: [taps * channels, positions * rows] of one block.

    Written with updates in place, and in two stages, of which the second moves whole rows: XLA's CPU compiler would
    make one loop with a branch per tap of a concatenation of slices, three times as slow.
    """
    channels = block.shape[2]
    (kh, kw), (height, _) = geometry.kernel, geometry.phase
    h, width = _positions(geometry, rows)
    columns = jnp.zeros((kw, block.shape[0], channels, height, width), block.dtype)
    for j in range(kw):
        phase, begin = _tap(geometry, 1, j)
        columns = columns.at[j].set(block[:, phase, :, :, begin * rows : begin * rows + width])
    # The barrier keeps the stages apart, the concatenation one of whole runs.
    columns = lax.optimization_barrier(columns)
    taps = [_tap(geometry, 0, i) for i in range(kh)]
    return jnp.concatenate([columns[:, phase, :, begin : begin + h] for phase, begin in taps]).reshape(
        kh * kw * channels, h * width
    )


def sum_patches(gradient: Array, geometry: Geometry, rows: int) -> Array:
    """The transpose of `patches`: each element of the block receives the sum over the patches that contain it."""
    (kh, kw), (sh, sw), (height, phase_width) = geometry.kernel, geometry.stride, geometry.phase
    h, width = _positions(geometry, rows)
    gradient = gradient.reshape(kh, kw, -1, h, width)
    channels = gradient.shape[2]
    columns = jnp.zeros((kw, sh, channels, height, width), gradient.dtype)
    for i in range(kh):
        phase, begin = _tap(geometry, 0, i)
        columns = columns.at[:, phase, :, begin : begin + h].add(gradient[i])
    block = jnp.zeros((sh, sw, channels, height, phase_width * rows), gradient.dtype)
    for j in range(kw):
        phase, begin = _tap(geometry, 1, j)
        block = block.at[:, phase, :, :, begin * rows : begin * rows + width].add(columns[j])
    return block


def _positions(geometry: Geometry, rows: int) -> tuple[int, int]:
    (h, w), (ph, pw) = geometry.out, geometry.pool
    return h * ph, w * pw * rows


def _tap(geometry: Geometry, dimension: int, number: int) -> tuple[int, int]:
    """The phase that a tap of the kernel reads, and where in it."""
    begin, phase = divmod(number * geometry.dilation[dimension], geometry.stride[dimension])
    return phase, begin
