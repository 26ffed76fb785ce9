"""Convolution and pooling that stay fast inside a compiled loop on a CPU.

XLA's CPU compiler takes a slow path for the gradients of `lax.conv_general_dilated` in a loop (jax-ml/jax#12868): an
epoch of LeNet took 240 s where a product of patches takes 12. So on a CPU a convolution is one matrix product of the
patches of its input (im2col); elsewhere it is the library's convolution.
"""

import jax
import jax.numpy as jnp
from jax import Array


def conv2d(x: Array, kernel: Array) -> Array:
    """Valid cross-correlation, stride 1: x [rows, h, w, in], kernel [kh, kw, in, out] → [rows, h-kh+1, w-kw+1, out]."""
    return jax.lax.platform_dependent(x, kernel, cpu=_by_patches, default=_by_library)


def max_pool(x: Array, size: int) -> Array:
    """Maximum over disjoint size × size windows of x [rows, h, w, channels]; rows and columns left over are ignored."""
    rows, height, width, channels = x.shape
    h, w = height // size, width // size
    windows = x[:, : h * size, : w * size].reshape(rows, h, size, w, size, channels)
    return windows.max(axis=(2, 4))


def _by_library(x: Array, kernel: Array) -> Array:
    return jax.lax.conv_general_dilated(x, kernel, (1, 1), "VALID", dimension_numbers=("NHWC", "HWIO", "NHWC"))


def _by_patches(x: Array, kernel: Array) -> Array:
    kh, kw, channels, out = kernel.shape
    h, w = x.shape[1] - kh + 1, x.shape[2] - kw + 1
    patches = jnp.concatenate([x[:, i : i + h, j : j + w] for i in range(kh) for j in range(kw)], axis=-1)
    return (patches.reshape(-1, kh * kw * channels) @ kernel.reshape(-1, out)).reshape(-1, h, w, out)
