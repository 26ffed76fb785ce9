"""Compiled loops over rows on the device: `run_steps`, `sum_rows` and `map_rows`. They know no classes and no labels.

The data set is an argument (closed over, it would become a constant of the program: jax-ml/jax#14080), the row numbers
of the minibatches are an argument, and so is the number of steps: the loop runs to a bound that is data. One program
thus serves every stretch of a run, whatever its length, and no step is ever computed only to be masked away.

What is done with the rows comes in as a hashable function. Several recipes of one shape run in one program where it is
`Vectorized`: every leaf of their states then has a leading axis of members, and the rows are there once.
"""

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, NamedTuple, TypeVar

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array

from epochal.device.scaling import features

SCORING_BLOCK = 1000
"""Rows scored at a time: enough to fill the cores, few enough that their activations stay in cache."""

S = TypeVar("S")


class DeviceRows(NamedTuple):
    """Rows on the device, in their storage dtype. `scale` turns x into features of the compute dtype."""

    x: Array  # [rows, *example_shape]
    y: Array | None  # [rows] int32; None of rows without labels
    scale: Array  # [2] of the compute dtype, see `scaling`
    weight: Array | None = None  # [rows] of the compute dtype: what each row counts in the loss, where not 1
    number: Array | None = None  # [rows] int32: the rows' numbers in their split, where augmentation needs them


class Minibatch(NamedTuple):
    """Rows of one step or of one block, of which the first `count` count."""

    x: Array  # [batch_size, *example_shape] of the compute dtype
    y: Array | None
    weight: Array | None
    number: Array | None
    count: Array

    @property
    def counted(self) -> Array:
        """Which rows count: bool [batch_size]."""
        return jnp.arange(self.x.shape[0], dtype=self.count.dtype) < self.count


class StepArguments(NamedTuple):
    """What `run_steps` is called with besides the step and the state. The one place that tells their shapes."""

    rows: DeviceRows
    index: Array  # int32 [steps, batch_size], or [steps, members, batch_size]
    counts: Array  # int32 [steps]
    first: Any  # int32
    last: Any  # int32


def row_shapes(rows: int, example: jax.ShapeDtypeStruct, dtype: str, *, weighted: bool, numbered: bool) -> DeviceRows:
    """The shapes of so many rows on the device, for compiling; `example` is one of them in its storage dtype."""
    shape: Any = jax.ShapeDtypeStruct
    stored = jax.dtypes.canonicalize_dtype(example.dtype)
    weight, number = shape((rows,), dtype) if weighted else None, shape((rows,), np.int32) if numbered else None
    return DeviceRows(
        shape((rows, *example.shape), stored), shape((rows,), np.int32), shape((2,), dtype), weight, number
    )


def step_shapes(rows: DeviceRows, steps: int, minibatch_shape: tuple[int, ...]) -> StepArguments:
    """The shapes of what `run_steps` is called with, for compiling."""
    shape: Any = jax.ShapeDtypeStruct
    index, counts = shape((steps, *minibatch_shape), np.int32), shape((steps,), np.int32)
    return StepArguments(rows, index, counts, np.int32(0), np.int32(0))


class Vectorized(NamedTuple):
    """`function` mapped over the leading axis of its first argument, one entry a member.

    All members see the same rows, or where they have an `own_order`, minibatches with an axis of members.
    """

    function: Callable[..., Any]
    own_order: bool = False

    def __call__(self, state: Any, batch: Minibatch) -> Any:
        axes: Any = Minibatch(0, 0, 0, 0, None) if self.own_order else None  # pyrefly: ignore
        return jax.vmap(self.function, in_axes=(0, axes))(state, batch)


@partial(jax.jit, static_argnums=0)
def call(function: Callable[..., S], *arguments: Any) -> S:
    """A hashable function as one compiled program: operation by operation, a first state costs a dozen programs."""
    return function(*arguments)


def stack(states: Sequence[S]) -> S:
    """The states of several members as one: every leaf gets a leading axis."""
    return jax.tree.map(lambda *leaves: jnp.stack(leaves), *states)


def pick(state: S, at: Any) -> S:
    """One member of a stacked state, or some: `at` is a number, or an array of numbers."""
    return jax.tree.map(lambda leaf: leaf[at], state)


def minibatch(rows: DeviceRows, index: Array, count: Array) -> Minibatch:
    """The rows `index`: gathered, cast and scaled on the device."""
    y, weight, number = (None if of is None else of[index] for of in (rows.y, rows.weight, rows.number))
    return Minibatch(features(rows.x[index], rows.scale), y, weight, number, count)


@partial(jax.jit, static_argnums=0, donate_argnums=1)
def run_steps(
    step: Callable[[S, Minibatch], tuple[S, Any]],
    state: S,
    rows: DeviceRows,
    index: Array,
    counts: Array,
    first: Array,
    last: Array,
) -> tuple[S, Any]:
    """Steps `first` to `last` (exclusive) of a plan: the new state, and what every step reports, [steps, ...].

    `index` is int32 [steps, batch_size], or [steps, members, batch_size]; `counts` int32 [steps]. Reports of steps
    outside of `first` to `last` are zero. `state` is donated.
    """
    report = jax.eval_shape(lambda: step(state, minibatch(rows, index[0], counts[0]))[1])
    record = jax.tree.map(lambda leaf: jnp.zeros((len(index), *leaf.shape), leaf.dtype), report)

    def body(i: Array, carry: tuple[S, Any]) -> tuple[S, Any]:
        state, record = carry
        state, report = step(state, minibatch(rows, index[i], counts[i]))
        return state, jax.tree.map(lambda all, one: all.at[i].set(one), record, report)

    return jax.lax.fori_loop(first, last, body, (state, record))


@partial(jax.jit, static_argnums=0)
def sum_rows(measure: Callable[[Any, Minibatch], Any], variables: Any, rows: DeviceRows, count: Array) -> Any:
    """The sum over the first `count` rows of what `measure` gives for a block of rows: a pytree of arrays.

    `measure` sums over the rows of its minibatch that are `counted`; each row is counted once.
    """
    total = jax.eval_shape(lambda: measure(variables, _block(rows, jnp.zeros((), count.dtype), count)[1]))
    total = jax.tree.map(lambda leaf: jnp.zeros(leaf.shape, leaf.dtype), total)

    def body(i: Array, total: Any) -> Any:
        return jax.tree.map(jnp.add, total, measure(variables, _block(rows, i, count)[1]))

    return jax.lax.fori_loop(0, _blocks(rows, count), body, total)


@partial(jax.jit, static_argnums=0)
def map_rows(function: Callable[[Any, Minibatch], Any], variables: Any, rows: DeviceRows, count: Array) -> Any:
    """What `function` gives for each of the first `count` rows: a pytree of arrays [rows, ...]; the rest is zero.

    It stays on the device, and can be the x of the next `DeviceRows`.
    """
    one = jax.eval_shape(lambda: function(variables, _block(rows, jnp.zeros((), count.dtype), count)[1]))
    out = jax.tree.map(lambda leaf: jnp.zeros((len(rows.x), *leaf.shape[1:]), leaf.dtype), one)

    def body(i: Array, out: Any) -> Any:
        number, batch = _block(rows, i, count)
        place = jnp.where(number < count, number, len(rows.x))
        return jax.tree.map(lambda all, of: all.at[place].set(of, mode="drop"), out, function(variables, batch))

    return jax.lax.fori_loop(0, _blocks(rows, count), body, out)


def _block_size(rows: DeviceRows) -> int:
    return min(SCORING_BLOCK, len(rows.x))


def _blocks(rows: DeviceRows, count: Array) -> Array:
    return (count + _block_size(rows) - 1) // _block_size(rows)


def _block(rows: DeviceRows, i: Array, count: Array) -> tuple[Array, Minibatch]:
    """Row numbers and rows of block i. Behind row `count` it repeats the last one that counts.

    So a block holds the same rows whether all rows are on the device or only those of a chunk.
    """
    size = _block_size(rows)
    number = i * size + jnp.arange(size, dtype=count.dtype)
    return number, minibatch(rows, jnp.minimum(number, count - 1), count - i * size)
