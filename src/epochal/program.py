"""The host's side of the compiled programs: a model, a recipe and the shape of the data, in the recipe's precision."""

import time
from contextlib import AbstractContextManager
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from epochal import epoch
from epochal.dataset import Split
from epochal.epoch import Spec, State
from epochal.models import Model
from epochal.optimizers import Knobs
from epochal.plan import Plan
from epochal.recipe import Recipe
from epochal.residency import Pieces, Placed, place
from epochal.score import Score


class Program:
    """Places data, starts states, runs stretches and counts errors. Holds no data and no state of a run."""

    def __init__(self, model: Model, recipe: Recipe, example_shape: tuple[int, ...], classes: int):
        self.spec = Spec(model, recipe.optimizer, recipe.schedule, bool(recipe.l1 or recipe.l2))
        self.recipe, self.example_shape, self.classes = recipe, example_shape, classes

    def place(self, split: Split, memory_bytes: int | None = None) -> Placed:
        """`split` where the device can use it."""
        with self._precision():
            return place(split, self.recipe.dtype, memory_bytes)

    def start(self, plan: Plan) -> State:
        """The state before the first step of a run."""
        recipe = self.recipe
        numbers = Knobs(
            recipe.learning_rate or 0, recipe.decay, recipe.momentum, recipe.weight_decay, recipe.l1, recipe.l2,
            plan.steps, max(1, plan.steps * recipe.epochs),
        )  # fmt: skip
        with self._precision():
            knobs = Knobs(*(jnp.asarray(number, recipe.dtype) for number in numbers))
            return epoch.start(self.spec, jax.random.key(recipe.seed), self.example_shape, self.classes, knobs)

    def parameter_shapes(self) -> Any:
        """The parameters' structure, with shapes and dtypes in place of arrays."""
        with self._precision():
            shapes = jax.eval_shape(
                lambda key: self.spec.model.init(key, self.example_shape, self.classes), jax.random.key(0)
            )
            return jax.tree.map(lambda leaf: jax.ShapeDtypeStruct(leaf.shape, self.recipe.dtype), shapes)

    def compile(self, state: State, pieces: Pieces, valid: Placed) -> float:
        """Compile the stretch and the count, once for the whole run; returns the seconds that took."""
        begun = time.perf_counter()
        with self._precision():
            epoch.stretch.lower(self.spec, state, *next(pieces.work(0, 0))).compile()
            rows, count = next(valid.blocks())
            epoch.count_errors.lower(self.spec, state.params, rows, count).compile()
        return time.perf_counter() - begun

    def stretch(self, state: State, pieces: Pieces, first: int, last: int) -> tuple[State, np.ndarray]:
        """Do the steps `first` to `last` of an epoch. `state` is used up.

        Returns the new state, and the mean loss of each minibatch before its update: float64 [last - first].
        """
        losses = []
        with self._precision():
            for work in pieces.work(first, last):
                state, record = epoch.stretch(self.spec, state, *work)
                losses.append(np.asarray(record)[work.first : work.last].astype(np.float64))
        return state, np.concatenate(losses)

    def count_errors(self, params: Any, placed: Placed) -> Score:
        """Zero-one loss over every row of `placed`."""
        with self._precision():
            counts = [epoch.count_errors(self.spec, params, rows, count) for rows, count in placed.blocks()]
            return Score(sum(int(count) for count in counts), placed.size)

    def probabilities(self, params: Any, placed: Placed) -> np.ndarray:
        """p(class | x) of every row of `placed`: [rows, classes] in the compute dtype."""
        with self._precision():
            blocks = [
                np.array(epoch.probabilities(self.spec, params, rows, count))[:count] for rows, count in placed.blocks()
            ]
        return np.concatenate(blocks)

    def _precision(self) -> AbstractContextManager[Any]:
        # A context, never the process-wide switch: a library does not change its user's other computations.
        return jax.enable_x64(self.recipe.dtype == "float64")
