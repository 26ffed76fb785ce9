"""LeNet of the Deep Learning Tutorials ("Convolutional Neural Networks (LeNet)"), a simplified LeNet-5.

Two layers of convolution, 2 × 2 max-pooling and tanh; a tanh hidden layer; logistic regression.
"""

from collections.abc import Sequence
from functools import cache
from math import isqrt, prod
from typing import Any

import jax
import jax.numpy as jnp
from jax import Array

from epochal.errors import RecipeError, option
from epochal.models.base import Model, mark_built_in
from epochal.models.built_in.layers import (
    ACTIVATIONS,
    check_activation,
    check_sizes,
    dense,
    dense_init,
    flatten,
    uniform,
    widths,
)
from epochal.models.built_in.logistic import logistic
from epochal.models.convolution import conv_pool

_POOL = 2


def lenet(
    kernels: str | Sequence[int] = (20, 50),
    hidden: int | str | Sequence[int] = 500,
    kernel_size: int = 5,
    activation: str = "relu",
) -> Model:
    """LeNet for images [h, w], [h, w, channels], or flat square ones [h * h].

    `kernels` are the feature maps of the two convolutions with `kernel_size` × `kernel_size` kernels, `hidden` the
    width of the layer behind them, `activation` relu, tanh (the tutorials') or sigmoid.
    Raises RecipeError for widths below 1, and on `init` where the images are too small.
    """
    counts, sizes = widths("kernels", kernels), widths("hidden", hidden)
    if len(sizes) != 1:
        raise RecipeError(f"hidden: lenet has one hidden layer, got {hidden!r}; give one width")
    if len(counts) != 2 or min(*counts, *sizes, kernel_size) < 1:
        raise RecipeError(
            f"lenet: needs two kernel counts, a hidden width and a kernel size of at least 1, "
            f"got kernels={list(counts)}, hidden={sizes[0]}, kernel_size={kernel_size}"
        )
    check_sizes("kernels, hidden, kernel_size", *counts, *sizes, kernel_size)
    check_activation(activation)
    return _lenet(counts, sizes[0], kernel_size, activation)


@cache
def _lenet(kernels: tuple[int, ...], hidden: int, size: int, activation: str) -> Model:
    act = ACTIVATIONS[activation]

    def init(key: Array, example_shape: tuple[int, ...], classes: int) -> dict[str, Any]:
        height, width, channels = image_shape(example_shape)
        keys = jax.random.split(key, 4)
        params: dict[str, Any] = {}
        for i, count in enumerate(kernels):
            params[f"conv{i}"] = _conv_init(keys[i], size, channels, count, activation)
            height, width, channels = (height - size + 1) // _POOL, (width - size + 1) // _POOL, count
            if min(height, width) < 1:
                least = _POOL * (_POOL + size - 1) + size - 1
                raise RecipeError(
                    f"lenet: images of shape {list(example_shape)} are too small for two {size}×{size} convolutions, "
                    f"which need {least}×{least}; use a smaller {option('kernel_size')}, or the model mlp"
                )
        params["hidden"] = dense_init(keys[2], height * width * channels, hidden, activation)
        return params | {"output": logistic().init(keys[3], (hidden,), classes)}

    def logits(params: dict[str, Any], x: Array) -> Array:
        h = x.reshape(x.shape[0], *image_shape(x.shape[1:]))
        for i in range(len(kernels)):
            layer = params[f"conv{i}"]
            # The bias and the activation come behind the maximum: both keep the order, and a quarter remains.
            h = act(conv_pool(h, layer["W"], _POOL) + layer["b"])
        h = act(dense(params["hidden"], flatten(h)))
        return dense(params["output"], h)

    settings = {"kernels": list(kernels), "hidden": hidden, "kernel_size": size, "activation": activation}
    return mark_built_in(Model(init, logits, "lenet", settings))


def image_shape(example_shape: tuple[int, ...]) -> tuple[int, int, int]:
    """Height, width, channels of one example, or RecipeError where it is no image."""
    match example_shape:
        case (height, width, channels):
            return height, width, channels
        case (height, width):
            return height, width, 1
        case (features,) if isqrt(features) ** 2 == features:
            return isqrt(features), isqrt(features), 1
    raise RecipeError(
        f"lenet: needs images of shape [h, w], [h, w, channels] or flat square ones, got examples of shape "
        f"{list(example_shape)} ({prod(example_shape)} features); use the model mlp"
    )


def _conv_init(key: Array, size: int, channels: int, count: int, activation: str) -> dict[str, Array]:
    # Fan-out is counted behind the pooling, as in the tutorials.
    weights = uniform(key, (size, size, channels, count), channels * size**2, count * size**2 / _POOL**2, activation)
    return {"W": weights, "b": jnp.zeros(count)}
