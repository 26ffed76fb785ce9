"""Augmentations of images by name: pure functions of a key and one example, [h, w] or [h, w, channels].

Sources: Krizhevsky et al., "ImageNet Classification with Deep Convolutional Neural Networks", NIPS 2012, section 4.1
(translations and horizontal reflections); He et al., "Deep Residual Learning", CVPR 2016, section 4.2 (shifts by a crop
from an image padded with zeros).
"""

from functools import cache

import jax
import jax.numpy as jnp
from jax import Array

from epochal.errors import RecipeError
from epochal.training.losses import Augment

SHIFT_PIXELS = 2


def shift(key: Array, x: Array) -> Array:
    """Moved by up to 2 pixels in each direction, every one of the 25 moves as likely; zeros come in at the edges."""
    _check_image("shift", x)
    by = jax.random.randint(key, (2,), 0, 2 * SHIFT_PIXELS + 1, jnp.int32)
    padded = jnp.pad(x, [(SHIFT_PIXELS, SHIFT_PIXELS)] * 2 + [(0, 0)] * (x.ndim - 2))
    return jax.lax.dynamic_slice(padded, (by[0], by[1], *[jnp.int32(0)] * (x.ndim - 2)), x.shape)


def flip(key: Array, x: Array) -> Array:
    """Left and right exchanged, in one of two cases."""
    _check_image("flip", x)
    return jnp.where(jax.random.bernoulli(key), x[:, ::-1], x)


BUILT_IN: dict[str, Augment] = {"shift": shift, "flip": flip}


@cache
def named(names: str) -> Augment:
    """The augmentations whose names are joined by +, one after another, each with a key of its own."""
    parts = [BUILT_IN[name] for name in names.split("+")]
    if len(parts) == 1:
        return parts[0]

    def augment(key: Array, x: Array) -> Array:
        for part, part_key in zip(parts, jax.random.split(key, len(parts)), strict=True):
            x = part(part_key, x)
        return x

    return augment


def _check_image(name: str, x: Array) -> None:
    if x.ndim not in (2, 3):
        raise RecipeError(
            f"augment: {name} moves the pixels of images [h, w] or [h, w, channels], got examples of shape "
            f"{list(x.shape)}; leave it out, or give a function of your own (FILE.py:NAME)"
        )
