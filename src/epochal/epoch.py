"""The heart: a stretch of minibatch steps as one compiled program, and the compiled count of errors.

The data set is an argument (closed over, it would become a constant of the program: jax-ml/jax#14080), the row numbers
of the minibatches are an argument, and so is the number of steps: the loop runs to a bound that is data. One program
thus serves every stretch of a run, whatever its length, and no step is ever computed only to be masked away.

Several recipes of one shape may run in one program: every leaf of their states then has a leading axis of members, the
rows are there once, and the step is mapped over that axis.
"""

from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax
from jax import Array

from epochal import losses
from epochal.models import Model, computed, joined, parted
from epochal.models.convolution.rewriting import rewritten
from epochal.optimizers import Knobs, transformation
from epochal.scaling import features

SCORING_BLOCK = 1000
"""Rows scored at a time: enough to fill the cores, few enough that their activations stay in cache."""

_DROPOUT, _AUGMENT = 0, 1  # the streams of random numbers of a run


class Spec(NamedTuple):
    """What distinguishes one compiled program from another, apart from shapes; hashable."""

    model: Model
    optimizer: str | optax.GradientTransformation
    schedule: str
    penalty: bool
    smoothed: bool = False
    loss: losses.PerRow | None = None
    augment: losses.Augment | None = None
    members: int = 0  # recipes in one program; 0: one, whose state has no axis of members


class State(NamedTuple):
    """All that a step reads and writes. The whole of it is donated to the next stretch."""

    params: Any
    statistics: Any  # what a model keeps beside its parameters, such as running means; () where it keeps none
    slots: Any  # the optimiser's own state
    step: Array  # shape=(), dtype=int32: updates done
    key: Array  # shape=(2,), dtype=uint32: the seed of dropout and augmentation
    knobs: Knobs

    @property
    def variables(self) -> Any:
        """Parameters and statistics, as the model's functions take them."""
        return joined(self.params, self.statistics)


class Rows(NamedTuple):
    """Rows on the device, in their storage dtype. `scale` turns x into features of the compute dtype."""

    x: Array  # [rows, *example_shape]
    y: Array  # [rows] int32
    scale: Array  # [2] of the compute dtype, see `scaling`
    weight: Array | None = None  # [rows] of the compute dtype: what each row counts in the loss, where not 1
    number: Array | None = None  # [rows] int32: the rows' numbers in their split, where augmentation needs them


class Minibatch(NamedTuple):
    """Rows of one step, of which the first `count` count."""

    x: Array  # [batch_size, *example_shape] of the compute dtype
    y: Array
    weight: Array | None
    number: Array | None
    count: Array


@partial(jax.jit, static_argnums=(0, 2, 3))
def start(
    spec: Spec, key: Array, example_shape: tuple[int, ...], classes: int, knobs: Knobs, variables: Any = None
) -> State:
    """The state of one recipe before the first step, with `variables` where given in place of the model's initial ones.

    The compute dtype is that of `knobs`.
    """
    dtype = knobs.learning_rate.dtype
    variables = parted(spec.model.init(key, example_shape, classes) if variables is None else variables)
    params, statistics = jax.tree.map(lambda leaf: jnp.asarray(leaf, computed(leaf, dtype)), variables)
    step = jnp.zeros((), jnp.int32)
    slots = transformation(spec.optimizer, spec.schedule, knobs, step).init(params)
    return State(params, statistics, slots, step, jax.random.key_data(key), knobs)


def minibatch(rows: Rows, index: Array, count: Array) -> Minibatch:
    """The rows `index`: gathered, cast and scaled on the device."""
    weight, number = (None if of is None else of[index] for of in (rows.weight, rows.number))
    return Minibatch(features(rows.x[index], rows.scale), rows.y[index], weight, number, count)


def update(spec: Spec, state: State, batch: Minibatch) -> tuple[State, Array]:
    """One minibatch step of one recipe, and the mean loss of its rows before it."""
    x, knobs = _augmented(spec, state, batch), state.knobs

    def objective(params: Any) -> tuple[Array, Any]:
        logits, statistics = _forward(spec, state, params, x)
        per_row = (spec.loss or losses.nll_of_logits)(logits, batch.y)
        if spec.smoothed:
            per_row += knobs.label_smoothing * (losses.nll_of_uniform(logits) - per_row)
        if batch.weight is not None:
            per_row *= batch.weight
        counted = jnp.arange(len(batch.y), dtype=batch.count.dtype) < batch.count
        loss = jnp.sum(jnp.where(counted, per_row, 0)) / batch.count.astype(per_row.dtype)
        if spec.penalty:
            loss += knobs.l1 * losses.l1(params) + knobs.l2 * losses.l2(params)
        return loss, statistics

    (loss, statistics), gradient = jax.value_and_grad(objective, has_aux=True)(state.params)
    optimizer = transformation(spec.optimizer, spec.schedule, knobs, state.step)
    updates, slots = optimizer.update(gradient, state.slots, state.params)
    params = optax.apply_updates(state.params, updates)
    return State(params, statistics, slots, state.step + 1, state.key, knobs), loss


def _forward(spec: Spec, state: State, params: Any, x: Array) -> tuple[Array, Any]:
    own = not spec.model.built_in  # ours have no slow operation
    if spec.model.forward is None:
        logits = rewritten(spec.model.logits) if own else spec.model.logits
        return logits(joined(params, state.statistics), x), state.statistics
    key = jax.random.fold_in(_stream(state, _DROPOUT), state.step)
    forward = rewritten(spec.model.forward) if own else spec.model.forward
    logits, statistics = forward(joined(params, state.statistics), x, key)
    return logits, jax.tree.map(lambda new, old: new.astype(old.dtype), statistics, state.statistics)


def _augmented(spec: Spec, state: State, batch: Minibatch) -> Array:
    """The features changed by `spec.augment`, each row by a key of seed, epoch and row: residency changes nothing."""
    if spec.augment is None:
        return batch.x
    assert batch.number is not None
    epoch = state.step // state.knobs.steps_per_epoch.astype(jnp.int32)
    key = jax.random.fold_in(_stream(state, _AUGMENT), epoch)
    keys = jax.vmap(lambda number: jax.random.fold_in(key, number))(batch.number)
    return jax.vmap(spec.augment)(keys, batch.x).astype(batch.x.dtype)


def _stream(state: State, stream: int) -> Array:
    return jax.random.fold_in(jax.random.wrap_key_data(state.key), stream)


@partial(jax.jit, static_argnums=0, donate_argnums=1)
def stretch(
    spec: Spec, state: State, rows: Rows, index: Array, counts: Array, first: Array, last: Array
) -> tuple[State, Array]:
    """Steps `first` to `last` (exclusive) of a plan; returns the new state and the losses, [steps of the plan].

    `index` is int32 [steps, batch_size], `counts` int32 [steps]; losses outside of `first` to `last` are zero. Of
    several members the losses are [steps, members]; `index` may then be [steps, members, batch_size], an order of its
    own for each.
    """
    step = partial(update, spec)
    if spec.members:
        own: Any = (0, 0, 0, 0, None)  # of a Minibatch; all have the same count
        step = jax.vmap(step, in_axes=(0, Minibatch(*own) if index.ndim == 3 else None))

    def body(i: Array, carry: tuple[State, Array]) -> tuple[State, Array]:
        state, record = carry
        state, loss = step(state, minibatch(rows, index[i], counts[i]))
        return state, record.at[i].set(loss)

    record = jnp.zeros((len(index), *([spec.members] if spec.members else [])), rows.scale.dtype)
    return jax.lax.fori_loop(first, last, body, (state, record))


@partial(jax.jit, static_argnums=0)
def count_errors(spec: Spec, variables: Any, rows: Rows, count: Array) -> Array:
    """How many of the first `count` rows the model gets wrong, int32; [members] of several. Each row counts once."""

    def wrong(variables: Any, number: Array, x: Array, y: Array) -> Array:
        missed = losses.missed(spec.model.logits(variables, x), y)
        return jnp.sum(missed & (number < count), dtype=jnp.int32)

    counted = jax.vmap(wrong, in_axes=(0, None, None, None)) if spec.members else wrong

    def body(i: Array, total: Array) -> Array:
        return total + counted(variables, *_block(rows, i, count))

    total = jnp.zeros([spec.members] if spec.members else [], jnp.int32)
    return jax.lax.fori_loop(0, _blocks(rows, count), body, total)


@partial(jax.jit, static_argnums=0)
def probabilities(spec: Spec, variables: Any, rows: Rows, count: Array) -> Array:
    """p(class | x) of the first `count` rows: [rows, classes]; the rest is zero."""
    first = jax.ShapeDtypeStruct((_block_size(rows), *rows.x.shape[1:]), rows.scale.dtype)
    classes = jax.eval_shape(spec.model.logits, variables, first).shape[-1]

    def body(i: Array, out: Array) -> Array:
        number, x, _ = _block(rows, i, count)
        p = jax.nn.softmax(spec.model.logits(variables, x), axis=-1).astype(out.dtype)
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
    x, y, *_ = minibatch(rows, jnp.minimum(number, count - 1), count)
    return number, x, y
