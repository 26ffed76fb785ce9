"""Convolution and pooling with gradients that are fast inside a compiled loop on a CPU.

XLA's CPU compiler takes a slow path for the gradients of `lax.conv_general_dilated` in a loop (jax-ml/jax#12868). So on
a CPU a convolution is done by products of patches (`products`); elsewhere it is the library's.
"""

from collections.abc import Sequence
from functools import partial

from jax import Array, lax

from epochal.errors import RecipeError
from epochal.models.convolution.geometry import Geometry, Pair, geometry, pair
from epochal.models.convolution.pooling import pooled
from epochal.models.convolution.products import convolve

__all__ = ["conv2d", "conv_pool", "max_pool"]


def conv2d(
    x: Array,
    kernel: Array,
    stride: int | Pair = 1,
    padding: str | Sequence[Pair] = "VALID",
    dilation: int | Pair = 1,
    groups: int = 1,
) -> Array:
    """Cross-correlation of x [n, height, width, in] with kernel [kh, kw, in / groups, out] → [n, h, w, out].

    `padding` is "VALID", "SAME" or ((top, bottom), (left, right)); `stride` and `dilation` are a number or (vertical,
    horizontal). On a CPU it has no forward-mode derivative, and with `groups` it is the library's convolution there
    too, slow to differentiate in a loop. Raises RecipeError for sizes that do not fit.
    """
    return conv_pool(x, kernel, 1, stride, padding, dilation, groups)


def conv_pool(
    x: Array,
    kernel: Array,
    pool: int | Pair = 2,
    stride: int | Pair = 1,
    padding: str | Sequence[Pair] = "VALID",
    dilation: int | Pair = 1,
    groups: int = 1,
) -> Array:
    """`conv2d`, then the maximum over disjoint windows of pool × pool outputs; those that fill no window are ignored.

    The gradient of a window goes to its first maximum in reading order. Add biases and apply activations that keep the
    order behind it: the result is the same, and there is less to do.
    """
    if x.ndim != 4 or kernel.ndim != 4 or x.shape[3] != kernel.shape[2] * groups or kernel.shape[3] % groups:
        raise RecipeError(
            f"convolution: needs x [n, height, width, in] and a kernel [kh, kw, in / groups, out], got shapes "
            f"{list(x.shape)} and {list(kernel.shape)} with groups={groups}"
        )
    sizes = geometry(x.shape[1:3], kernel.shape[:2], stride, padding, dilation, pool)
    by_library = partial(_by_library, geometry=sizes, groups=groups)
    if groups > 1 or not isinstance(x.shape[0], int):  # for any number of rows, as `jax.export` asks
        return by_library(x, kernel)
    return lax.platform_dependent(x, kernel, cpu=partial(convolve, geometry=sizes), default=by_library)


def max_pool(x: Array, size: int | Pair) -> Array:
    """Maximum over disjoint windows of x [n, height, width, channels]; rows and columns left over are ignored.

    The gradient of a window goes to its first maximum in reading order.
    """
    return pooled(x, pair("size", size))


def _by_library(x: Array, kernel: Array, geometry: Geometry, groups: int) -> Array:
    y = lax.conv_general_dilated(
        x, kernel, geometry.stride, geometry.padding, rhs_dilation=geometry.dilation,
        dimension_numbers=("NHWC", "HWIO", "NHWC"), feature_group_count=groups,
    )  # fmt: skip
    window = (1, *geometry.pool, 1)
    return y if geometry.pool == (1, 1) else lax.reduce_window(y, -float("inf"), lax.max, window, window, "VALID")
