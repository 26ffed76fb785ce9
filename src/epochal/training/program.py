"""The host's side of the compiled programs: a model, a recipe and the shape of the data, in the recipe's precision."""

from collections.abc import Sequence
from functools import cached_property
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from epochal.data.dataset import Dataset, Split
from epochal.device import compiled
from epochal.device.chunked import planned
from epochal.device.compiled import DeviceRows, Vectorized, row_shapes, step_shapes
from epochal.device.placement import DeviceSplit, agree, fetch, granted_bytes, precision, put
from epochal.device.plan import Order, Plans
from epochal.device.residency import Needs, Residency, decide, place, scoring
from epochal.errors import CapacityError, option, speaks_of_options
from epochal.models import parameters
from epochal.models.base import Model, compute_dtype, split_variables
from epochal.training import contracts, user_functions
from epochal.training.objective import classification
from epochal.training.optimizers import Hyperparameters
from epochal.training.recipe import Recipe
from epochal.training.row_weights import weighed
from epochal.training.score import Score
from epochal.training.step import Measure, Probabilities, Start, State, Step
from epochal.training.user_functions import NONE, Functions


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
        functions: Functions | None = None,
    ):
        """`memory_bytes` is what rows may take on the device; left out: what it has free at the time.

        `members` are the recipes of several members, which differ from `recipe` in numbers and seeds alone.
        `functions` are those of `recipe`; left out, they are fetched. Raises RecipeError where one of them, or the
        model, is not what it must be.
        """
        self.functions = functions or user_functions.functions(recipe)
        self.step = Step(
            model, self.functions.optimizer, recipe.schedule or "constant", bool(recipe.l1 or recipe.l2),
            bool(recipe.label_smoothing), self.functions.augment, classification(self.functions.loss),
        )  # fmt: skip
        self.recipe, self.example_shape, self.classes = recipe, example_shape, classes
        self.memory_bytes, self.members = memory_bytes, tuple(members)
        with precision(recipe.dtype):
            contracts.check(self.step, example_shape, classes, recipe.dtype, recipe.batch_size)

    def __reduce__(self) -> Any:
        # Pickled as what it is made of: functions that a recipe names are fetched again.
        made_of = self.step.model, self.recipe, self.example_shape, self.classes, self.memory_bytes, self.members
        return Program, made_of + ((NONE,) if self.functions == NONE else ())

    def place(self, split: Split) -> DeviceSplit:
        """`split` where it can be scored: on the device as a whole, or in blocks if it needs more than is granted."""
        residency = scoring(len(split), split.row_bytes, self.memory_budget())
        with precision(self.recipe.dtype):
            return place(split, self.recipe.dtype, residency.block_rows)

    def memory_budget(self) -> int:
        """Bytes that rows and program may take on the device."""
        return agree(granted_bytes()) if self.memory_bytes is None else self.memory_bytes

    def compile_and_place(self, data: Dataset, plan: Order) -> tuple[DeviceSplit, DeviceSplit, Residency]:
        """Decide where the train and valid rows are to be, compile for that, and place them.

        The decision rests on the compiled program's own account of the memory that it takes.
        """
        train, valid = weighed(data.train, self.recipe.class_weight, data.classes), data.valid
        program = self._compile(plan, train, len(train), plan.steps)
        needs = Needs(len(train), len(valid), self._row_bytes(train), plan.numbers, plan.steps, program)
        residency = decide(needs, self.memory_budget())
        if residency.kind == "chunked" and isinstance(plan, Plans):
            raise CapacityError(
                f"{residency.why}; members with seeds of their own want every row at hand: grant more with "
                f"{option('memory') if speaks_of_options() else option('memory_bytes')}, or train one after another"
            )
        if residency.kind == "chunked":
            self._compile(plan, train, residency.chunk_steps * plan.numbers, planned(residency.chunk_steps))
        self._compile_count(valid, residency.block_rows)
        with precision(self.recipe.dtype):
            numbered = self.step.augment is not None
            placed = place(train, self.recipe.dtype, 0, plan, residency.chunk_steps, numbered=numbered)
            return placed, place(valid, self.recipe.dtype, residency.block_rows), residency

    def start(self, plan: Order, variables: Any = None) -> State:
        """The state before the first step of a run; with several members, their states stacked.

        `variables`, host arrays, take the place of a single recipe's initial parameters and state.
        """
        with precision(self.recipe.dtype):
            if not self.members:
                return self._start(self.recipe, plan, variables)
            # One by one, so that each has the bits that it has alone.
            states = [self._start(recipe, plan) for recipe in self.members]
            return compiled.stack(states)

    def _start(self, recipe: Recipe, plan: Order, variables: Any = None) -> State:
        values = Hyperparameters.of(recipe, plan.steps)
        numbers = Hyperparameters(*(jnp.asarray(value, recipe.dtype) for value in values))
        start = Start(self.step, self.example_shape, self.classes)
        return compiled.call(start, jax.random.key(recipe.seed), numbers, variables)

    def to_state(self, named: dict[str, np.ndarray], like: State) -> State:
        """The state shaped `like` on the device, from host arrays by name. Raises ValueError where they differ."""
        with precision(self.recipe.dtype):
            return jax.tree.map(lambda array: put(np.array(array)), parameters.unflatten(named, like))

    @cached_property
    def variable_shapes(self) -> Any:
        """The structure of one recipe's parameters and state, with shapes and dtypes in place of arrays."""
        with precision(self.recipe.dtype):
            shapes = jax.eval_shape(
                lambda key: self.step.model.init(key, self.example_shape, self.classes), jax.random.key(0)
            )
            dtype = np.dtype(self.recipe.dtype)
            return jax.tree.map(lambda leaf: jax.ShapeDtypeStruct(leaf.shape, compute_dtype(leaf, dtype)), shapes)

    @property
    def has_model_state(self) -> bool:
        """Whether the model's forward pass changes what it keeps, as batch normalisation does."""
        return bool(jax.tree.leaves(split_variables(self.variable_shapes).model_state))

    def _compile(self, plan: Order, split: Split, rows: int, steps: int) -> int:
        """Compile the stretch for so many rows on the device and steps in a plan; bytes it takes besides the rows."""
        with precision(self.recipe.dtype):
            state = jax.eval_shape(lambda: self.start(plan))
            arguments = step_shapes(self._row_shapes(split, rows, training=True), steps, plan.minibatch_shape)
            memory = compiled.run_steps.lower(self._step(plan), state, *arguments).compile().memory_analysis()
        if memory is None:  # the backend does not say; then the state is what is known
            return sum(leaf.size * leaf.dtype.itemsize for leaf in jax.tree.leaves(state))
        bytes_used = memory.argument_size_in_bytes + memory.output_size_in_bytes + memory.temp_size_in_bytes
        return bytes_used - memory.alias_size_in_bytes - rows * self._row_bytes(split) - 4 * steps * (plan.numbers + 1)

    def _compile_count(self, split: Split, rows: int) -> None:
        with precision(self.recipe.dtype):
            shapes = self.variable_shapes
            if self.members:
                shapes = jax.tree.map(lambda of: jax.ShapeDtypeStruct((len(self.members), *of.shape), of.dtype), shapes)
            compiled.sum_rows.lower(self._measure, shapes, self._row_shapes(split, rows), np.int32(0)).compile()

    def _row_shapes(self, split: Split, rows: int, training: bool = False) -> DeviceRows:
        weighted, numbered = training and split.weight is not None, training and self.step.augment is not None
        example = jax.ShapeDtypeStruct(split.example_shape, split.x.dtype)
        return row_shapes(rows, example, self.recipe.dtype, weighted=weighted, numbered=numbered)

    def _row_bytes(self, split: Split) -> int:
        """Bytes of one train row on the device."""
        weight = np.dtype(self.recipe.dtype).itemsize if split.weight is not None else 0
        return split.row_bytes + weight + (4 if self.step.augment else 0)

    def _step(self, plan: Order) -> Any:
        return Vectorized(self.step, own_order=isinstance(plan, Plans)) if self.members else self.step

    @property
    def _measure(self) -> Any:
        measure = Measure(self.step.model, self.step.objective)
        return Vectorized(measure) if self.members else measure

    def run_steps(
        self, state: State, split: DeviceSplit, plan: Order, epoch: int, first: int, last: int
    ) -> tuple[State, np.ndarray]:
        """Do the steps `first` to `last` of an epoch. `state` is used up.

        Returns the new state, and the mean loss of each minibatch before its update: float64 [members, last - first],
        where one recipe is one member.
        """
        losses, step = [], self._step(plan)
        with precision(self.recipe.dtype):
            for work in split.work(epoch, first, last):
                state, record = compiled.run_steps(step, state, *work)
                losses.append(fetch(record)[work.first : work.last].astype(np.float64))
                del work  # let go of the chunk before the next one is fetched
        return state, np.concatenate(losses).reshape(last - first, max(1, len(self.members))).T

    def measures(self, variables: Any, split: DeviceSplit) -> dict[str, np.ndarray]:
        """The objective's sums over every row of `split`, by name: [members, ...]; integers are int64."""
        totals: dict[str, np.ndarray] = {}
        with precision(self.recipe.dtype):
            for rows, count in split.blocks():
                for name, value in fetch(compiled.sum_rows(self._measure, variables, rows, count)).items():
                    wide = value.astype(np.int64 if value.dtype.kind in "iu" else np.float64)
                    totals[name] = totals[name] + wide if name in totals else wide
                del rows  # let go of the block before the next one is fetched
        return totals if self.members else {name: total[None] for name, total in totals.items()}

    def count_errors(self, variables: Any, split: DeviceSplit) -> list[Score]:
        """Zero-one loss of each member over every row of `split`."""
        wrong = self.measures(variables, split)[self.step.objective.monitor]
        return [Score(int(count), split.size) for count in wrong]

    def probabilities(self, variables: Any, split: DeviceSplit) -> np.ndarray:
        """p(class | x) of every row of `split`: [rows, classes] in the compute dtype."""
        function, blocks = Probabilities(self.step.model), []
        with precision(self.recipe.dtype):
            for rows, count in split.blocks():
                blocks.append(fetch(compiled.map_rows(function, variables, rows, count))[:count])
                del rows
        return np.concatenate(blocks)
