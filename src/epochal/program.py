"""The host's side of the compiled programs: a model, a recipe and the shape of the data, in the recipe's precision."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from epochal import epoch, parameters
from epochal.dataset import Dataset, Split
from epochal.epoch import Rows, Spec, State
from epochal.models import Model
from epochal.optimizers import Knobs
from epochal.placement import Pieces, Placed, granted_bytes, precision, put
from epochal.plan import Plan
from epochal.recipe import Recipe
from epochal.residency import Needs, Residency, decide, place, scoring
from epochal.score import Score


class Program:
    """Places data, starts states, runs stretches and counts errors. Holds no data and no state of a run."""

    def __init__(
        self,
        model: Model,
        recipe: Recipe,
        example_shape: tuple[int, ...],
        classes: int,
        memory_bytes: int | None = None,
    ):
        """`memory_bytes` is what rows may take on the device; left out: what it has free at the time."""
        self.spec = Spec(model, recipe.optimizer, recipe.schedule, bool(recipe.l1 or recipe.l2))
        self.recipe, self.example_shape, self.classes = recipe, example_shape, classes
        self.memory_bytes = memory_bytes

    def place(self, split: Split) -> Placed:
        """`split` where it can be scored: on the device as a whole, or in blocks if it needs more than is granted."""
        residency = scoring(len(split), split.row_bytes, self.granted())
        with precision(self.recipe.dtype):
            return place(split, self.recipe.dtype, residency.block_rows)

    def granted(self) -> int:
        """Bytes that rows and program may take on the device."""
        return granted_bytes() if self.memory_bytes is None else self.memory_bytes

    def settle(self, data: Dataset, plan: Plan) -> tuple[Placed, Placed, Residency]:
        """Decide where the train and valid rows are to be, compile for that, and put them there.

        The decision rests on the compiled program's own account of the memory that it takes.
        """
        train, valid = data.train, data.valid
        program = self._compile(plan, train, len(train), plan.steps)
        needs = Needs(len(train), len(valid), train.row_bytes, plan.batch_size, plan.steps, program)
        residency = decide(needs, self.granted())
        if residency.kind == "chunked":
            self._compile(plan, train, residency.chunk_steps * plan.batch_size, residency.chunk_steps)
        self._compile_count(valid, residency.block_rows)
        with precision(self.recipe.dtype):
            placed = place(train, self.recipe.dtype, 0, plan, residency.chunk_steps)
            return placed, place(valid, self.recipe.dtype, residency.block_rows), residency

    def start(self, plan: Plan) -> State:
        """The state before the first step of a run."""
        recipe = self.recipe
        numbers = Knobs(
            recipe.learning_rate or 0, recipe.decay, recipe.momentum, recipe.weight_decay, recipe.l1, recipe.l2,
            plan.steps, max(1, plan.steps * recipe.epochs),
        )  # fmt: skip
        with precision(self.recipe.dtype):
            knobs = Knobs(*(jnp.asarray(number, recipe.dtype) for number in numbers))
            return epoch.start(self.spec, jax.random.key(recipe.seed), self.example_shape, self.classes, knobs)

    def to_state(self, named: dict[str, np.ndarray], like: State) -> State:
        """The state shaped `like` on the device, from host arrays by name. Raises ValueError where they differ."""
        with precision(self.recipe.dtype):
            return jax.tree.map(lambda array: put(np.array(array)), parameters.unflatten(named, like))

    def parameter_shapes(self) -> Any:
        """The parameters' structure, with shapes and dtypes in place of arrays."""
        with precision(self.recipe.dtype):
            shapes = jax.eval_shape(
                lambda key: self.spec.model.init(key, self.example_shape, self.classes), jax.random.key(0)
            )
            return jax.tree.map(lambda leaf: jax.ShapeDtypeStruct(leaf.shape, self.recipe.dtype), shapes)

    def _compile(self, plan: Plan, split: Split, rows: int, steps: int) -> int:
        """Compile the stretch for so many rows on the device and steps in a plan; bytes it takes besides the rows."""
        with precision(self.recipe.dtype):
            state = jax.eval_shape(lambda: self.start(plan))
            on_device = self._row_shapes(split, rows)
            index = jax.ShapeDtypeStruct((steps, plan.batch_size), np.int32)
            counts, bound = jax.ShapeDtypeStruct((steps,), np.int32), np.int32(0)
            compiled = epoch.stretch.lower(self.spec, state, on_device, index, counts, bound, bound).compile()
        memory = compiled.memory_analysis()
        if memory is None:  # the backend does not tell; then the state is what is known
            return sum(leaf.size * leaf.dtype.itemsize for leaf in jax.tree.leaves(state))
        taken = memory.argument_size_in_bytes + memory.output_size_in_bytes + memory.temp_size_in_bytes
        return taken - memory.alias_size_in_bytes - rows * split.row_bytes - 4 * steps * (plan.batch_size + 1)

    def _compile_count(self, split: Split, rows: int) -> None:
        with precision(self.recipe.dtype):
            params = self.parameter_shapes()
            epoch.count_errors.lower(self.spec, params, self._row_shapes(split, rows), np.int32(0)).compile()

    def _row_shapes(self, split: Split, rows: int) -> Any:
        stored = jax.dtypes.canonicalize_dtype(split.x.dtype)
        x = jax.ShapeDtypeStruct((rows, *split.example_shape), stored)
        y, scale = jax.ShapeDtypeStruct((rows,), np.int32), jax.ShapeDtypeStruct((2,), self.recipe.dtype)
        shapes: Any = (x, y, scale)
        return Rows(*shapes)

    def stretch(self, state: State, pieces: Pieces, first: int, last: int) -> tuple[State, np.ndarray]:
        """Do the steps `first` to `last` of an epoch. `state` is used up.

        Returns the new state, and the mean loss of each minibatch before its update: float64 [last - first].
        """
        losses = []
        with precision(self.recipe.dtype):
            for work in pieces.work(first, last):
                state, record = epoch.stretch(self.spec, state, *work)
                losses.append(np.asarray(record)[work.first : work.last].astype(np.float64))
                del work  # let go of the chunk before the next one is asked for
        return state, np.concatenate(losses)

    def count_errors(self, params: Any, placed: Placed) -> Score:
        """Zero-one loss over every row of `placed`."""
        with precision(self.recipe.dtype):
            wrong = 0
            for rows, count in placed.blocks():
                wrong += int(epoch.count_errors(self.spec, params, rows, count))
                del rows  # let go of the block before the next one is asked for
            return Score(wrong, placed.size)

    def probabilities(self, params: Any, placed: Placed) -> np.ndarray:
        """p(class | x) of every row of `placed`: [rows, classes] in the compute dtype."""
        with precision(self.recipe.dtype):
            blocks = []
            for rows, count in placed.blocks():
                blocks.append(np.array(epoch.probabilities(self.spec, params, rows, count))[:count])
                del rows
        return np.concatenate(blocks)
