"""What is learnt: a loss to minimise, measures that are sums over rows, and which of two values is better."""

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import jax.numpy as jnp
from jax import Array

from epochal.training import losses


class Objective(NamedTuple):
    """A loss and measures, pure functions; hashable.

    `loss(outputs, y)` is the loss of each row, [rows]. `measures(outputs, y, counted)` are sums over those rows that
    are counted (bool [rows]), by name; integers stay exact. `monitor` is the one of these names that a training counts
    on the validation split: the smaller value is better, or where `higher_is_better` the greater, as in `Patience`.

    `Program` makes one of `classification` today, whose value is a count of wrong rows; it takes no other.

    >>> squares = Objective(
    ...     loss=lambda outputs, y: (outputs[:, 0] - y) ** 2,
    ...     measures=lambda outputs, y, counted: {"squares": jnp.sum(counted * (outputs[:, 0] - y) ** 2)},
    ...     monitor="squares",
    ... )
    """

    loss: Callable[[Array, Any], Array]
    measures: Callable[[Array, Any, Array], Mapping[str, Array]]
    monitor: str
    higher_is_better: bool = False


def _wrong(outputs: Array, y: Array, counted: Array) -> dict[str, Array]:
    return {"wrong": jnp.sum(losses.missed(outputs, y) & counted, dtype=jnp.int32)}


def classification(loss: losses.PerRow | None = None) -> Objective:
    """Classification by `loss`, left out the negative log-likelihood, and the zero-one loss, a count of wrong rows."""
    return CLASSIFICATION if loss is None else CLASSIFICATION._replace(loss=loss)


CLASSIFICATION = Objective(losses.nll_of_logits, _wrong, "wrong")
