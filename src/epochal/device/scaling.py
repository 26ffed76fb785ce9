"""Stored numbers to features, on the device, with the bits of NumPy's division.

XLA turns a division by a scalar into a product with its reciprocal, which is off by a unit in the last place for about
a third of the pixel values. Two products repair that: 1 / divisor is split into `high`, so short that a stored 8-bit
number times it is exact, and the small remainder `low`; only the last addition rounds.
"""

from fractions import Fraction

import jax.numpy as jnp
import numpy as np
from jax import Array


def terms(divisor: float, stored: np.dtype, dtype: str) -> np.ndarray:
    """`high` and `low` of 1 / divisor for numbers of dtype `stored`: [2] of the compute dtype.

    For stored integers of 8 bits, `features` then equals NumPy's `x.astype(dtype) / divisor` to the bit.
    """
    exact = 1 / Fraction(float(np.dtype(dtype).type(divisor)))
    digits = np.finfo(dtype).nmant + 1
    if stored.kind in "biu":
        digits = max(1, digits - 8 * stored.itemsize)
    exponent = digits - (exact.numerator.bit_length() - exact.denominator.bit_length())
    high = Fraction(round(exact * Fraction(2) ** exponent), 1) / Fraction(2) ** exponent
    return np.array([float(high), float(exact - high)], dtype)


def features(stored: Array, scale: Array) -> Array:
    """`stored` in the dtype of `scale`, divided by the divisor of which `scale` holds the terms."""
    x = stored.astype(scale.dtype)
    return x * scale[0] + x * scale[1]


def as_features(stored: Array, divisor: float) -> Array:
    """`stored` as floats divided by `divisor`: floats keep their dtype, all else becomes float32."""
    dtype = stored.dtype if jnp.issubdtype(stored.dtype, jnp.floating) else jnp.dtype(jnp.float32)
    return features(stored, jnp.asarray(terms(divisor, np.dtype(stored.dtype), dtype.name)))
