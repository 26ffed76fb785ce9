"""The host's side of the compiled programs: a model, a recipe and the shape of the data, in the recipe's precision."""

from collections.abc import Sequence
from functools import cached_property
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from epochal import contracts, epoch, parameters
from epochal.chunked import planned
from epochal.dataset import Dataset, Split
from epochal.epoch import Rows, Spec, State
from epochal.errors import CapacityError, option, speaks_of_options
from epochal.models import Model, computed, parted
from epochal.optimizers import Knobs
from epochal.own import NONE, Functions, functions
from epochal.placement import Pieces, Placed, granted_bytes, precision, put
from epochal.plan import Order, Plans
from epochal.recipe import Recipe
from epochal.residency import Needs, Residency, decide, place, scoring
from epochal.score import Score
from epochal.weighting import weighed


class Program:
    """Places data, starts states, runs stretches and counts errors. Holds no data and no state of a run."""

    def __init__(
        self,
        model: Model,
        recipe: Recipe,
        example_shape: tuple[int, ...],
        classes: int,
        memory_bytes: int | None = None,
        members: Sequence[Recipe] = (),
        own: Functions | None = None,
    ):
        """`memory_bytes` is what rows may take on the device; left out: what it has free at the time.

        `members` are the recipes of several members, which differ from `recipe` in numbers and seeds alone.
        `own` are the functions of `recipe`; left out, they are fetched. Raises RecipeError where one of them, or the
        model, is not what it must be.
        """
        self.own = own or functions(recipe)
        self.spec = Spec(
            model, self.own.optimizer, recipe.schedule or "constant", bool(recipe.l1 or recipe.l2),
            bool(recipe.label_smoothing), self.own.loss, self.own.augment, len(members),
        )  # fmt: skip
        self.recipe, self.example_shape, self.classes = recipe, example_shape, classes
        self.memory_bytes, self.members = memory_bytes, tuple(members)
        with precision(recipe.dtype):
            contracts.check(self.spec, example_shape, classes, recipe.dtype, recipe.batch_size)

    def __reduce__(self) -> Any:
        # Pickled as what it is made of: functions that a recipe names are fetched again.
        made_of = self.spec.model, self.recipe, self.example_shape, self.classes, self.memory_bytes, self.members
        return Program, made_of + ((NONE,) if self.own == NONE else ())

    def place(self, split: Split) -> Placed:
        """`split` where it can be scored: on the device as a whole, or in blocks if it needs more than is granted."""
        residency = scoring(len(split), split.row_bytes, self.granted())
        with precision(self.recipe.dtype):
            return place(split, self.recipe.dtype, residency.block_rows)

    def granted(self) -> int:
        """Bytes that rows and program may take on the device."""
        return granted_bytes() if self.memory_bytes is None else self.memory_bytes

    def settle(self, data: Dataset, plan: Order) -> tuple[Placed, Placed, Residency]:
        """Decide where the train and valid rows are to be, compile for that, and put them there.

        The decision rests on the compiled program's own account of the memory that it takes.
        """
        train, valid = weighed(data.train, self.recipe.class_weight, data.classes), data.valid
        program = self._compile(plan, train, len(train), plan.steps)
        needs = Needs(len(train), len(valid), self._row_bytes(train), plan.numbers, plan.steps, program)
        residency = decide(needs, self.granted())
        if residency.kind == "chunked" and isinstance(plan, Plans):
            raise CapacityError(
                f"{residency.why}; members with seeds of their own want every row at hand: grant more with "
                f"{option('memory') if speaks_of_options() else option('memory_bytes')}, or train one after another"
            )
        if residency.kind == "chunked":
            self._compile(plan, train, residency.chunk_steps * plan.numbers, planned(residency.chunk_steps))
        self._compile_count(valid, residency.block_rows)
        with precision(self.recipe.dtype):
            numbered = self.spec.augment is not None
            placed = place(train, self.recipe.dtype, 0, plan, residency.chunk_steps, numbered=numbered)
            return placed, place(valid, self.recipe.dtype, residency.block_rows), residency

    def start(self, plan: Order, variables: Any = None) -> State:
        """The state before the first step of a run; with several members, their states stacked.

        `variables`, host arrays, take the place of a single recipe's initial parameters and statistics.
        """
        with precision(self.recipe.dtype):
            if not self.members:
                return self._start(self.recipe, plan, variables)
            # One by one, so that each has the bits that it has alone.
            states = [self._start(recipe, plan) for recipe in self.members]
            return jax.tree.map(lambda *leaves: jnp.stack(leaves), *states)

    def _start(self, recipe: Recipe, plan: Order, variables: Any = None) -> State:
        knobs = Knobs(*(jnp.asarray(number, recipe.dtype) for number in Knobs.of(recipe, plan.steps)))
        return epoch.start(self.spec, jax.random.key(recipe.seed), self.example_shape, self.classes, knobs, variables)

    def to_state(self, named: dict[str, np.ndarray], like: State) -> State:
        """The state shaped `like` on the device, from host arrays by name. Raises ValueError where they differ."""
        with precision(self.recipe.dtype):
            return jax.tree.map(lambda array: put(np.array(array)), parameters.unflatten(named, like))

    @cached_property
    def variable_shapes(self) -> Any:
        """The structure of one recipe's parameters and statistics, with shapes and dtypes in place of arrays."""
        with precision(self.recipe.dtype):
            shapes = jax.eval_shape(
                lambda key: self.spec.model.init(key, self.example_shape, self.classes), jax.random.key(0)
            )
            dtype = np.dtype(self.recipe.dtype)
            return jax.tree.map(lambda leaf: jax.ShapeDtypeStruct(leaf.shape, computed(leaf, dtype)), shapes)

    @property
    def keeps_statistics(self) -> bool:
        """Whether the model's forward pass changes what it keeps, as batch normalisation does."""
        return bool(jax.tree.leaves(parted(self.variable_shapes).statistics))

    def _compile(self, plan: Order, split: Split, rows: int, steps: int) -> int:
        """Compile the stretch for so many rows on the device and steps in a plan; bytes it takes besides the rows."""
        with precision(self.recipe.dtype):
            state = jax.eval_shape(lambda: self.start(plan))
            on_device = self._row_shapes(split, rows, training=True)
            index = jax.ShapeDtypeStruct((steps, *plan.minibatch_shape), np.int32)
            counts, bound = jax.ShapeDtypeStruct((steps,), np.int32), np.int32(0)
            compiled = epoch.stretch.lower(self.spec, state, on_device, index, counts, bound, bound).compile()
        memory = compiled.memory_analysis()
        if memory is None:  # the backend does not tell; then the state is what is known
            return sum(leaf.size * leaf.dtype.itemsize for leaf in jax.tree.leaves(state))
        taken = memory.argument_size_in_bytes + memory.output_size_in_bytes + memory.temp_size_in_bytes
        return taken - memory.alias_size_in_bytes - rows * self._row_bytes(split) - 4 * steps * (plan.numbers + 1)

    def _compile_count(self, split: Split, rows: int) -> None:
        with precision(self.recipe.dtype):
            shapes = self.variable_shapes
            if self.members:
                shapes = jax.tree.map(lambda of: jax.ShapeDtypeStruct((len(self.members), *of.shape), of.dtype), shapes)
            epoch.count_errors.lower(self.spec, shapes, self._row_shapes(split, rows), np.int32(0)).compile()

    def _row_shapes(self, split: Split, rows: int, training: bool = False) -> Any:
        stored, dtype = jax.dtypes.canonicalize_dtype(split.x.dtype), self.recipe.dtype
        shapes: Any = [
            jax.ShapeDtypeStruct((rows, *split.example_shape), stored),
            jax.ShapeDtypeStruct((rows,), np.int32),
            jax.ShapeDtypeStruct((2,), dtype),
            jax.ShapeDtypeStruct((rows,), dtype) if training and split.weight is not None else None,
            jax.ShapeDtypeStruct((rows,), np.int32) if training and self.spec.augment else None,
        ]
        return Rows(*shapes)

    def _row_bytes(self, split: Split) -> int:
        """Bytes of one train row on the device."""
        weight = np.dtype(self.recipe.dtype).itemsize if split.weight is not None else 0
        return split.row_bytes + weight + (4 if self.spec.augment else 0)

    def stretch(self, state: State, pieces: Pieces, first: int, last: int) -> tuple[State, np.ndarray]:
        """Do the steps `first` to `last` of an epoch. `state` is used up.

        Returns the new state, and the mean loss of each minibatch before its update: float64 [members, last - first],
        where one recipe is one member.
        """
        losses = []
        with precision(self.recipe.dtype):
            for work in pieces.work(first, last):
                state, record = epoch.stretch(self.spec, state, *work)
                losses.append(np.asarray(record)[work.first : work.last].astype(np.float64))
                del work  # let go of the chunk before the next one is asked for
        return state, np.concatenate(losses).reshape(last - first, max(1, len(self.members))).T

    def count_errors(self, variables: Any, placed: Placed) -> list[Score]:
        """Zero-one loss of each member over every row of `placed`."""
        with precision(self.recipe.dtype):
            wrong = np.zeros(max(1, len(self.members)), np.int64)
            for rows, count in placed.blocks():
                wrong += np.asarray(epoch.count_errors(self.spec, variables, rows, count))
                del rows  # let go of the block before the next one is asked for
            return [Score(int(count), placed.size) for count in wrong]

    def probabilities(self, variables: Any, placed: Placed) -> np.ndarray:
        """p(class | x) of every row of `placed`: [rows, classes] in the compute dtype."""
        with precision(self.recipe.dtype):
            blocks = []
            for rows, count in placed.blocks():
                blocks.append(np.array(epoch.probabilities(self.spec, variables, rows, count))[:count])
                del rows
        return np.concatenate(blocks)
