"""The geometry of a convolution: where its windows lie in the image; sizes alone, no arrays."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TypeVar

import numpy as np

from epochal.errors import RecipeError

Pair = tuple[int, int]
T = TypeVar("T")


@dataclass(frozen=True)
class Geometry:
    """Sizes of a convolution and of the pooling behind it; every pair is (along the height, along the width)."""

    image: Pair
    kernel: Pair
    stride: Pair
    padding: tuple[Pair, Pair]  # (before, behind) of each dimension; negative values crop
    dilation: Pair
    pool: Pair

    @cached_property
    def convolved(self) -> Pair:
        """Positions of the kernel."""
        return _both(
            (size + sum(pad) - (taps - 1) * dilation - 1) // stride + 1
            for size, taps, stride, pad, dilation in zip(
                self.image, self.kernel, self.stride, self.padding, self.dilation, strict=True
            )
        )

    @cached_property
    def out(self) -> Pair:
        """Pooling windows; rows and columns of positions that fill no window are left out."""
        return _both(size // pool for size, pool in zip(self.convolved, self.pool, strict=True))

    @cached_property
    def phase(self) -> Pair:
        """Height and width of one phase: every stride-th row and column of those that the windows read."""
        return _both(
            out * pool + (taps - 1) * dilation // stride
            for out, pool, taps, dilation, stride in zip(
                self.out, self.pool, self.kernel, self.dilation, self.stride, strict=True
            )
        )

    @cached_property
    def merged(self) -> "Geometry":
        """The convolution whose kernels each cover a pooling window, one for every position in it. Without dilation."""
        kernel = _both(k + (p - 1) * s for k, p, s in zip(self.kernel, self.pool, self.stride, strict=True))
        stride = _both(p * s for p, s in zip(self.pool, self.stride, strict=True))
        return Geometry(self.image, kernel, stride, self.padding, (1, 1), (1, 1))


def geometry(
    image: Sequence[int],
    kernel: Sequence[int],
    stride: int | Pair,
    padding: str | Sequence[Pair],
    dilation: int | Pair,
    pool: int | Pair,
) -> Geometry:
    """The geometry of these sizes. Raises RecipeError for sizes below 1, another padding, or if nothing comes out."""
    stride, dilation, pool = pair("stride", stride), pair("dilation", dilation), pair("pool", pool)
    pads = _both(_pads(padding, image[i], kernel[i], stride[i], dilation[i], i) for i in range(2))
    sizes = Geometry(_both(image), _both(kernel), stride, pads, dilation, pool)
    if min(sizes.out) < 1:
        raise RecipeError(
            f"convolution: nothing comes out of an image of {image[0]}×{image[1]} with kernel {kernel[0]}×{kernel[1]}, "
            f"stride {stride}, padding {padding!r}, dilation {dilation} and pool {pool}; "
            "use a smaller kernel or pool, or padding 'SAME'"
        )
    return sizes


def pair(name: str, size: int | Pair) -> Pair:
    """One size for both dimensions, or a size for each; RecipeError below 1."""
    both = (size, size) if isinstance(size, int) else tuple(size)
    if len(both) != 2 or min(both) < 1:
        raise RecipeError(f"{name}: needs one number or two, each at least 1, got {size!r}")
    return both


def _both(values: Iterable[T]) -> tuple[T, T]:
    first, second = values
    return first, second


def _pads(padding: str | Sequence[Pair], image: int, kernel: int, stride: int, dilation: int, dimension: int) -> Pair:
    if padding == "VALID":
        return 0, 0
    if padding == "SAME":  # as many outputs as strides begin in the image; the odd one of the padding goes behind
        total = max(0, (-(-image // stride) - 1) * stride + (kernel - 1) * dilation + 1 - image)
        return total // 2, total - total // 2
    if isinstance(padding, str) or np.shape(padding) != (2, 2):
        raise RecipeError(f"padding: must be 'VALID', 'SAME' or ((top, bottom), (left, right)), got {padding!r}")
    return padding[dimension][0], padding[dimension][1]
