"""The heart: a stretch of minibatch steps as one compiled program, and the compiled count of errors.

The data set is an argument (closed over, it would become a constant of the program: jax-ml/jax#14080), the row numbers
of the minibatches are an argument, and so is the number of steps: the loop runs to a bound that is data. One program
thus serves every stretch of a run, whatever its length, and no step is ever computed only to be masked away.
"""

from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax
from jax import Array

from epochal import losses
from epochal.models import Model
from epochal.optimizers import Knobs, transformation

SCORING_BLOCK = 1000
"""Rows scored at a time: enough to fill the cores, few enough that their activations stay in cache."""


class Spec(NamedTuple):
    """What distinguishes one compiled program from another, apart from shapes; hashable."""

    model: Model
    optimizer: str | optax.GradientTransformation
    schedule: str
    penalty: bool


class State(NamedTuple):
    """All that a step reads and writes. The whole of it is donated to the next stretch."""

    params: Any
    slots: Any  # the optimiser's own state
    step: Array  # shape=(), dtype=int32: updates done
    knobs: Knobs


class Rows(NamedTuple):
    """Rows on the device, in their storage dtype. `divisor` (a scalar of the compute dtype) turns x into features."""

    x: Array  # [rows, *example_shape]
    y: Array  # [rows] int32
    divisor: Array


def start(spec: Spec, key: Array, example_shape: tuple[int, ...], classes: int, knobs: Knobs) -> State:
    """The state before the first step. The compute dtype is that of `knobs`."""
    dtype = knobs.learning_rate.dtype
    params = jax.tree.map(lambda p: jnp.asarray(p, dtype), spec.model.init(key, example_shape, classes))
    step = jnp.zeros((), jnp.int32)
    slots = transformation(spec.optimizer, spec.schedule, knobs, step).init(params)
    return State(params, slots, step, knobs)


def minibatch(rows: Rows, index: Array) -> tuple[Array, Array]:
    """Features and labels of the rows `index`: gathered, cast and scaled on the device."""
    return _features(rows.x[index], rows.divisor), rows.y[index]


def update(spec: Spec, state: State, x: Array, y: Array, count: Array) -> tuple[State, Array]:
    """One minibatch step on features x and labels y, of which the first `count` rows count; and its mean loss."""

    def objective(params: Any) -> Array:
        per_row = losses.nll_of_logits(spec.model.logits(params, x), y)
        loss = jnp.sum(jnp.where(jnp.arange(len(y)) < count, per_row, 0)) / count
        if spec.penalty:
            loss += state.knobs.l1 * losses.l1(params) + state.knobs.l2 * losses.l2(params)
        return loss

    loss, gradient = jax.value_and_grad(objective)(state.params)
    optimizer = transformation(spec.optimizer, spec.schedule, state.knobs, state.step)
    updates, slots = optimizer.update(gradient, state.slots, state.params)
    return State(optax.apply_updates(state.params, updates), slots, state.step + 1, state.knobs), loss


@partial(jax.jit, static_argnums=0, donate_argnums=1)
def stretch(
    spec: Spec, state: State, rows: Rows, index: Array, counts: Array, first: Array, last: Array
) -> tuple[State, Array]:
    """Steps `first` to `last` (exclusive) of a plan; returns the new state and the losses, [steps of the plan].

    `index` is int32 [steps, batch_size], `counts` int32 [steps]; losses outside of `first` to `last` are zero.
    """

    def body(i: Array, carry: tuple[State, Array]) -> tuple[State, Array]:
        state, record = carry
        x, y = minibatch(rows, index[i])
        state, loss = update(spec, state, x, y, counts[i])
        return state, record.at[i].set(loss)

    record = jnp.zeros(len(index), rows.divisor.dtype)
    return jax.lax.fori_loop(first, last, body, (state, record))


@partial(jax.jit, static_argnums=0)
def count_errors(spec: Spec, params: Any, rows: Rows, count: Array) -> Array:
    """How many of the first `count` rows the model gets wrong: an int32 scalar. Every row counts exactly once."""

    def wrong(x: Array, y: Array) -> Array:
        return jnp.argmax(spec.model.logits(params, x), axis=-1) != y

    def body(i: Array, total: Array) -> Array:
        begin, x, y = _block(rows, i)
        number = begin + jnp.arange(len(y))
        counted = (number >= i * len(y)) & (number < count)
        return total + jnp.sum(wrong(x, y) & counted, dtype=jnp.int32)

    return jax.lax.fori_loop(0, _blocks(rows, count), body, jnp.zeros((), jnp.int32))


@partial(jax.jit, static_argnums=0)
def probabilities(spec: Spec, params: Any, rows: Rows, count: Array) -> Array:
    """p(class | x) of the first `count` rows: [rows, classes]; the rest is zero."""
    classes = jax.eval_shape(spec.model.logits, params, _block(rows, jnp.zeros((), jnp.int32))[1]).shape[-1]

    def body(i: Array, out: Array) -> Array:
        begin, x, _ = _block(rows, i)
        p = jax.nn.softmax(spec.model.logits(params, x), axis=-1)
        return jax.lax.dynamic_update_slice(out, p.astype(out.dtype), (begin, 0))

    out = jnp.zeros((len(rows.y), classes), rows.divisor.dtype)
    return jax.lax.fori_loop(0, _blocks(rows, count), body, out)


def _features(stored: Array, divisor: Array) -> Array:
    return stored.astype(divisor.dtype) / divisor


def _blocks(rows: Rows, count: Array) -> Array:
    size = min(SCORING_BLOCK, len(rows.y))
    return (count + size - 1) // size


def _block(rows: Rows, i: Array) -> tuple[Array, Array, Array]:
    """First row, features and labels of block i; the last block is moved back so that all have one shape."""
    size = min(SCORING_BLOCK, len(rows.y))
    begin = jnp.minimum(i * size, len(rows.y) - size)
    x = jax.lax.dynamic_slice_in_dim(rows.x, begin, size)
    return begin, _features(x, rows.divisor), jax.lax.dynamic_slice_in_dim(rows.y, begin, size)
