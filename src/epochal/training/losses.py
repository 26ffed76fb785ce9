"""What is minimised, and what is counted: zero-one loss, negative log-likelihood, L1, L2.

Definitions: Deep Learning Tutorials, "Getting Started", sections "Zero-One Loss", "Negative Log-Likelihood Loss" and
"L1/L2 regularization". Functions of probabilities are the tutorials'; functions of logits serve the compiled step.
"""

from collections.abc import Callable

import jax
import jax.numpy as jnp
from jax import Array
from jax.typing import ArrayLike

PerRow = Callable[[Array, Array], Array]
"""A loss: from logits [rows, classes] and labels int32 [rows] to the loss of every row, [rows]."""

Augment = Callable[[Array, Array], Array]
"""An augmentation: from a key and one example's features to features of the same shape."""


def zero_one_loss(p_y_given_x: ArrayLike, y: ArrayLike) -> Array:
    """Number of rows whose most probable class is not `y`: an integer scalar. Of equal classes the first counts.

    A row with a NaN has no most probable class, and counts. `p_y_given_x` has shape [rows, classes] (probabilities or
    logits), `y` integers of shape [rows].

    >>> int(zero_one_loss([[0.9, 0.1], [0.4, 0.6], [0.2, 0.8]], [0, 0, 1]))
    1
    """
    return jnp.sum(missed(jnp.asarray(p_y_given_x), jnp.asarray(y)), dtype=jnp.int32)


def missed(p_y_given_x: Array, y: Array) -> Array:
    """Which rows `zero_one_loss` counts: bool [rows]."""
    predicted = jax.lax.argmax(p_y_given_x, p_y_given_x.ndim - 1, jnp.int32)
    # A maximum takes the first NaN for the greatest: a model that has overflowed would be right on all of one class.
    return (predicted.astype(y.dtype) != y) | (p_y_given_x != p_y_given_x).any(-1)


def negative_log_likelihood(p_y_given_x: ArrayLike, y: ArrayLike) -> Array:
    """Mean over rows of -log p(y | x): a scalar of the probabilities' dtype, in nats.

    `p_y_given_x` has shape [rows, classes], `y` integers of shape [rows]. The mean, not the sum, so that the learning
    rate does not depend on the batch size. A probability of 0 for the label gives infinity.

    >>> round(float(negative_log_likelihood([[0.5, 0.5], [0.25, 0.75]], [0, 1])), 4)
    0.4904
    """
    p = jnp.asarray(p_y_given_x)
    return -jnp.mean(jnp.log(jnp.take_along_axis(p, jnp.asarray(y)[:, None], axis=-1)))


def nll_of_logits(logits: Array, y: Array) -> Array:
    """-log p(y | x) of every row, [rows], from logits [rows, classes]; finite for any finite logits."""
    picked = jnp.take_along_axis(logits, y[:, None], axis=-1)[:, 0]
    return jax.nn.logsumexp(logits, axis=-1) - picked


def nll_of_uniform(logits: Array) -> Array:
    """The mean of -log p(class | x) over the classes, [rows]: what label smoothing mixes in.

    Source: Szegedy et al., "Rethinking the Inception Architecture", CVPR 2016, section 7.
    """
    return jax.nn.logsumexp(logits, axis=-1) - jnp.mean(logits, axis=-1)


def l1(params: object) -> Array:
    """Sum of the absolute weights. Weights are the arrays of two or more dimensions; biases are not penalised."""
    return sum((jnp.sum(jnp.abs(w)) for w in _weights(params)), jnp.zeros(()))


def l2(params: object) -> Array:
    """Sum of the squared weights (no factor 1/2, as in the tutorials)."""
    return sum((jnp.sum(w * w) for w in _weights(params)), jnp.zeros(()))


def _weights(params: object) -> list[Array]:
    return [leaf for leaf in jax.tree.leaves(params) if leaf.ndim >= 2]
