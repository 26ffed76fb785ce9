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
from epochal.scaling import features

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
    """Rows on the device, in their storage dtype. `scale` turns x into features of the compute dtype."""

    x: Array  # [rows, *example_shape]
    y: Array  # [rows] int32
    scale: Array  # [2] of the compute dtype, see `scaling`


def start(spec: Spec, key: Array, example_shape: tuple[int, ...], classes: int, knobs: Knobs) -> State:
    """The state before the first step. The compute dtype is that of `knobs`."""
    dtype = knobs.learning_rate.dtype
    params = jax.tree.map(lambda p: jnp.asarray(p, dtype), spec.model.init(key, example_shape, classes))
    step = jnp.zeros((), jnp.int32)
    slots = transformation(spec.optimizer, spec.schedule, knobs, step).init(params)
    return State(params, slots, step, knobs)


def minibatch(rows: Rows, index: Array) -> tuple[Array, Array]:
    """Features and labels of the rows `index`: gathered, cast and scaled on the device."""
    return features(rows.x[index], rows.scale), rows.y[index]


def update(spec: Spec, state: State, x: Array, y: Array, count: Array) -> tuple[State, Array]:
    """One minibatch step on features x and labels y, of which the first `count` rows count; and its mean loss."""

    def objective(params: Any) -> Array:
        per_row = losses.nll_of_logits(spec.model.logits(params, x), y)
        counted = jnp.arange(len(y), dtype=count.dtype) < count
        loss = jnp.sum(jnp.where(counted, per_row, 0)) / count.astype(per_row.dtype)
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

    record = jnp.zeros(len(index), rows.scale.dtype)
    return jax.lax.fori_loop(first, last, body, (state, record))


@partial(jax.jit, static_argnums=0)
def count_errors(spec: Spec, params: Any, rows: Rows, count: Array) -> Array:
    """How many of the first `count` rows the model gets wrong: an int32 scalar. Every row counts exactly once."""

    def body(i: Array, total: Array) -> Array:
        number, x, y = _block(rows, i, count)
        wrong = losses.predicted(spec.model.logits(params, x)) != y
        return total + jnp.sum(wrong & (number < count), dtype=jnp.int32)

    return jax.lax.fori_loop(0, _blocks(rows, count), body, jnp.zeros((), jnp.int32))


@partial(jax.jit, static_argnums=0)
def probabilities(spec: Spec, params: Any, rows: Rows, count: Array) -> Array:
    """p(class | x) of the first `count` rows: [rows, classes]; the rest is zero."""
    first = jax.ShapeDtypeStruct((_block_size(rows), *rows.x.shape[1:]), rows.scale.dtype)
    classes = jax.eval_shape(spec.model.logits, params, first).shape[-1]

    def body(i: Array, out: Array) -> Array:
        number, x, _ = _block(rows, i, count)
        p = jax.nn.softmax(spec.model.logits(params, x), axis=-1).astype(out.dtype)
        return out.at[jnp.where(number < count, number, len(out))].set(p, mode="drop")

    out = jnp.zeros((len(rows.y), classes), rows.scale.dtype)
    return jax.lax.fori_loop(0, _blocks(rows, count), body, out)


def _block_size(rows: Rows) -> int:
    return min(SCORING_BLOCK, len(rows.y))


def _blocks(rows: Rows, count: Array) -> Array:
    return (count + _block_size(rows) - 1) // _block_size(rows)


def _block(rows: Rows, i: Array, count: Array) -> tuple[Array, Array, Array]:
    """Row numbers, features and labels of block i. Behind row `count` it repeats the last one that counts.

    So a block holds the same rows whether all rows are on the device or only those of a chunk.
    """
    number = i * _block_size(rows) + jnp.arange(_block_size(rows), dtype=count.dtype)
    x, y = minibatch(rows, jnp.minimum(number, count - 1))
    return number, x, y
