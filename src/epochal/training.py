"""The loop, written once: minibatch steps in compiled stretches, early stopping on the validation zero-one loss."""

import time
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple, NoReturn

import jax
import numpy as np

from epochal import parameters
from epochal.checkpoint import Snapshot
from epochal.dataset import Dataset
from epochal.epoch import State
from epochal.errors import DivergedError, RecipeError
from epochal.fitted import Best, Epoch, Fit
from epochal.models import Model
from epochal.patience import Patience, validation_frequency
from epochal.plan import Plan
from epochal.program import Program
from epochal.recipe import Recipe
from epochal.score import Score

STRETCH_SECONDS = 1.0
"""About how long one compiled stretch runs, so that progress shows and a signal is answered soon."""


class Moment(NamedTuple):
    """A run between two compiled stretches: updates done, and the record of an epoch that has just ended."""

    step: int
    epoch: Epoch | None


class Training(Iterator[Epoch]):
    """A run in progress. Iterate over it for one `Epoch` after another; stop iterating whenever you like.

    `fit()` gives what has been reached so far. `step` counts the updates done, `epochs` holds the records so far.
    """

    def __init__(self, model: Model, data: Dataset, recipe: Recipe, memory_bytes: int | None = None):
        self.model, self.data, self.recipe = model, data, recipe
        self.plan = Plan(
            len(data.train), recipe.batch_size, recipe.shuffle, recipe.drop_last, recipe.seed, recipe.block_rows
        )
        if self.plan.steps == 0:
            raise RecipeError(
                f"batch_size: {recipe.batch_size:,} is more than the {len(data.train):,} train rows, and drop_last "
                f"leaves the smaller minibatch out; take a smaller batch_size, or keep the last minibatch"
            )
        self.program = Program(model, recipe, data.example_shape, len(data.classes), memory_bytes)
        begun = time.perf_counter()
        self.placed, self._valid, self.residency = self.program.settle(data, self.plan)
        self.seconds = {"compile": time.perf_counter() - begun, "train": 0.0}
        self.rule = Patience(recipe.patience_steps, recipe.patience_increase, recipe.improvement_threshold)
        self.step = 0
        self.epochs: list[Epoch] = []
        self.best: Best | None = None
        self.stopped: str | None = None
        self.params: Any = None
        self.state = self.program.start(self.plan)
        self._epoch = _Running()
        self._moments = self._run()

    def __next__(self) -> Epoch:
        return next(moment.epoch for moment in self._moments if moment.epoch)

    def moments(self) -> Iterator[Moment]:
        """The same run, seen after every compiled stretch."""
        return self._moments

    def stop(self, why: str = "interrupted") -> None:
        """Ask the loop to end after the stretch that is running."""
        self.stopped = self.stopped or why

    def snapshot(self) -> Snapshot:
        """The run as it is between two stretches, copied to the host. Raises DivergedError where it is not finite."""
        state = {f"state.{name}": array.copy() for name, array in parameters.flatten(self.state).items()}
        self._check_finite(state, f"step {self.step:,}: ")
        best = {f"best.{name}": array for name, array in parameters.flatten(self.params).items()} if self.best else {}
        told = {
            "step": self.step,
            "patience": [self.rule.steps, self.rule.best_wrong, self.rule.best_step],
            "best": [self.best.epoch, self.best.step, self.best.valid.wrong] if self.best else None,
            "epochs": len(self.epochs),
            "running": vars(self._epoch) | {"validations": list(self._epoch.validations)},
            "seconds": dict(self.seconds),
            "stopped": self.stopped,
        }
        return Snapshot(state | best, told)

    def restore(self, snapshot: Snapshot, epochs: Iterable[Epoch]) -> None:
        """Go on from `snapshot`; `epochs` are the records so far. Raises ValueError where it is of another run."""
        told = snapshot.told
        self.state = self.program.to_state(_under("state.", snapshot.arrays), self.state)
        self.step, self.epochs = told["step"], list(epochs)[: told["epochs"]]
        steps, wrong, step = told["patience"]
        self.rule = replace(self.rule, steps=steps, best_wrong=wrong, best_step=step)
        if told["best"]:
            self.params = parameters.unflatten(_under("best.", snapshot.arrays), self.program.parameter_shapes())
            self.best = Best(told["best"][0], told["best"][1], self.valid_score(told["best"][2]))
        vars(self._epoch).update(told["running"] | {"validations": [tuple(v) for v in told["running"]["validations"]]})
        self.seconds |= {"train": told["seconds"]["train"]}
        self.stopped = told["stopped"] if told["stopped"] in ("patience", "epochs") else None

    def valid_score(self, wrong: int) -> Score:
        """`wrong` of all validation rows."""
        return Score(wrong, len(self.data.valid))

    def fit(self, folder: Path | None = None) -> Fit:
        """The best so far; `folder` is where the run is kept, if it is.

        Raises DivergedError where no validation has succeeded yet.
        """
        if self.best is None:
            raise DivergedError(f"step {self.step:,}: there are no parameters to keep, nothing has been validated yet")
        return Fit(
            self.model, self.recipe, self.program, self.params, self.best, tuple(self.epochs), self.step,
            self.stopped or "caller", self.data.classes, self.data.divisor, dict(self.seconds), self.data, folder,
            self.data.preprocessing,
        )  # fmt: skip

    def _run(self) -> Iterator[Moment]:
        try:
            yield from self._loop()
        finally:
            self.placed.close()
            self._valid.close()

    def _loop(self) -> Iterator[Moment]:
        """The tutorials' early stopping, to the step; the order of the rows depends on the seed and the epoch alone."""
        plan, rule_frequency = self.plan, validation_frequency(self.plan.steps, self.recipe.patience_steps)
        limit, opened = 1, self.step // plan.steps
        pieces = self.placed.epoch(opened)
        while not self._finished():
            number, done = divmod(self.step, plan.steps)
            if number != opened:
                pieces, opened = self.placed.epoch(number), number
            begun = time.perf_counter()
            goal = min(self.rule.next_look(self.step, rule_frequency), (number + 1) * plan.steps, self.step + limit)
            steps = goal - self.step
            self.state, losses = self.program.stretch(self.state, pieces, done, done + steps)
            self._advance(losses, pieces.counts[done : done + steps])
            seconds = time.perf_counter() - begun
            limit = max(1, min(4 * limit, int(STRETCH_SECONDS * steps / seconds)))
            if self.step % rule_frequency == 0:
                self._validate(self.state)
            self._epoch.seconds += time.perf_counter() - begun
            ended = self.step % plan.steps == 0 or self.rule.exhausted(self.step)
            yield Moment(self.step, self._close_epoch() if ended else None)

    def _finished(self) -> bool:
        if self.rule.exhausted(self.step):
            self.stopped = "patience"
        elif self.step >= self.recipe.epochs * self.plan.steps:
            self.stopped = "epochs"
        return self.stopped is not None

    def _advance(self, losses: np.ndarray, counts: np.ndarray) -> None:
        bad = ~np.isfinite(losses)
        if bad.any():
            where = f"step {self.step + int(np.argmax(bad)) + 1:,}: the loss is {losses[np.argmax(bad)]}; "
            self._check_finite(parameters.flatten(self.state), where)
            self._diverged(where)
        self.step += len(losses)
        # One addition after another, so that the sum does not depend on where stretches are cut.
        self._epoch.loss = np.add.accumulate([self._epoch.loss, *(losses * counts)])[-1]
        self._epoch.rows += int(counts.sum())

    def _validate(self, state: State) -> None:
        valid = self.program.count_errors(state.params, self._valid)
        self._epoch.validations.append((self.step, valid.wrong))
        self.rule, better = self.rule.observe(self.step, valid.wrong)
        if better:
            # Copies on the host: the next stretch is given the memory of the state.
            params = jax.tree.map(np.array, state.params)
            self._check_finite(parameters.flatten(params), f"step {self.step:,}: ")
            self.best, self.params = Best((self.step - 1) // self.plan.steps + 1, self.step, valid), params
            self._epoch.best = True

    def _check_finite(self, named: Mapping[str, np.ndarray], where: str) -> None:
        for name, array in named.items():
            if array.dtype.kind == "f" and not np.isfinite(array).all():
                self._diverged(f"{where}{name.removeprefix('state.')} is not finite; ")

    def _diverged(self, where: str) -> NoReturn:
        self.stopped = "diverged"
        raise DivergedError(f"{where}take a smaller learning rate, or scale the features")

    def _close_epoch(self) -> Epoch:
        running, self._epoch = self._epoch, _Running()
        self.seconds["train"] += running.seconds
        valid = self.valid_score(running.validations[-1][1]) if running.validations else None
        number = (self.step - 1) // self.plan.steps + 1
        loss = float(running.loss / running.rows)
        record = Epoch(number, self.step, loss, valid, running.best, tuple(running.validations), running.seconds)
        self.epochs.append(record)
        return record


class _Running:
    """The sums of the epoch that is going on."""

    def __init__(self) -> None:
        self.loss, self.rows, self.seconds, self.best = 0.0, 0, 0.0, False
        self.validations: list[tuple[int, int]] = []


def _under(prefix: str, arrays: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    return {name.removeprefix(prefix): array for name, array in arrays.items() if name.startswith(prefix)}


def train(model: Model, data: Dataset, recipe: Recipe | None = None, *, memory_bytes: int | None = None) -> Training:
    """Train `model` on the train split of `data`; iterate over the result for one `Epoch` record after another.

    Early stopping watches the zero-one loss of the valid split; the test split is not touched. `memory_bytes` is what
    the rows may take on the device (default: what it has free).

    Raises RecipeError or CapacityError before the first step, DivergedError where the loss becomes NaN or infinite.
    """
    return Training(model, data, recipe or Recipe(), memory_bytes)
