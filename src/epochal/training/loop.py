"""The training loop: minibatch steps in compiled stretches, early stopping for each member.

A training has one member. A selection trains several recipes side by side in one program: the loop is the same.
"""

import time
from collections.abc import Callable, Generator, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import numpy as np

from epochal.data.dataset import Dataset, check_data
from epochal.device.compiled import pick
from epochal.device.placement import agree, fetch, precision
from epochal.device.plan import Plan, Plans
from epochal.device.residency import Resident
from epochal.errors import DivergedError, RecipeError, option
from epochal.models import parameters
from epochal.models.adapters import adapted
from epochal.training import user_functions
from epochal.training.patience import validation_frequency
from epochal.training.program import Program
from epochal.training.progress import Epoch, Stopped
from epochal.training.recipe import Recipe
from epochal.training.snapshot import Snapshot
from epochal.training.tracker import FixedLength, Tracker
from epochal.training.user_functions import Functions

STRETCH_SECONDS = 1.0
"""About how long one compiled stretch runs, so that progress shows and a signal is answered soon."""


class Loop:
    """Trains one recipe, or several that differ in numbers and seeds alone, over the same rows."""

    def __init__(
        self,
        model: Any,
        data: Dataset,
        recipes: Sequence[Recipe],
        memory_bytes: int | None = None,
        functions: Functions | None = None,
        fixed_length: FixedLength | None = None,
    ):
        """`functions` are those of the recipes; left out, they are fetched."""
        check_data(data)
        self.model = adapted(model, data.example_shape, len(data.classes))
        self.data, self.memory_bytes = data, memory_bytes
        self.plan = _order(recipes, len(data.train))
        self.functions = functions or user_functions.functions(recipes[0])
        self.trackers = tuple(Tracker(recipe, self.plan.steps, fixed_length) for recipe in recipes)
        self.active = self.trackers  # those that the program trains, in its order
        self.program = self._program(self.trackers)
        _check_whole(self.program, recipes[0], len(data.train))
        begun = time.perf_counter()
        self.placed, self.placed_valid, self.residency = self.program.compile_and_place(data, self.plan)
        self.seconds = {"compile": time.perf_counter() - begun, "train": 0.0}
        self.step = 0
        self.state = self.program.start(self.plan)
        self.frequency = validation_frequency(self.plan.steps, recipes[0].patience_steps)

    def stop(self, why: Stopped = Stopped.INTERRUPTED) -> None:
        """Ask the loop to end after the stretch that is running."""
        for tracker in self.trackers:
            tracker.stopped = tracker.stopped or Stopped(why)

    def run(self, until: int | None = None) -> Generator[Sequence[tuple[Tracker, Epoch]]]:
        """Train to the end, or until `until` updates are done.

        After every compiled stretch comes the record of each epoch that ends there.
        """
        try:
            yield from self._loop(until)
        finally:
            self.close()

    def close(self) -> None:
        """End the background threads."""
        self.placed.close()
        self.placed_valid.close()

    def snapshots(self) -> list[Snapshot]:
        """The active members as they are between two stretches, copied to the host, in the order of `active`."""
        named = parameters.flatten(fetch(self.state))
        return [self._snapshot(named, at) for at in range(len(self.active))]

    def snapshot_of(self, tracker: Tracker) -> Snapshot:
        """One active member. Of one that has ended it holds what it had then only in the stretch it ended in."""
        return self._snapshot(parameters.flatten(fetch(self.state)), self.active.index(tracker))

    def variables_of(self, tracker: Tracker) -> Any:
        """The parameters of an active member as they are now, best or not, on the host."""
        return self._copy(self.active.index(tracker))()

    def load_snapshots(self, snapshots: Sequence[Snapshot], histories: Sequence[Iterable[Epoch]]) -> None:
        """Go on from the members' snapshots and records so far. Raises ValueError where they are of another run."""
        states = [snapshot.state for snapshot in snapshots]
        if self.program.members:
            names = states[0] if all(state.keys() == states[0].keys() for state in states) else ()
            states = [{name: np.stack([state[name] for state in states]) for name in names}]
        self.state = self.program.to_state(states[0], self.state)
        shapes = self.program.variable_shapes
        for tracker, (_, best, metadata), epochs in zip(self.trackers, snapshots, histories, strict=True):
            params = parameters.unflatten(best, shapes) if metadata["best"] else None
            tracker.load_state_dict(metadata, epochs, params)
        self.step = max(tracker.step for tracker in self.trackers)

    def missed(self, tracker: Tracker) -> np.ndarray:
        """Which validation rows the best parameters of a member get wrong: bool [rows]."""
        p = self._program([tracker]).probabilities(tracker.params, self.placed_valid)
        return p.argmax(axis=1) != self.data.valid.y

    def _snapshot(self, named: Mapping[str, np.ndarray], at: int) -> Snapshot:
        tracker, several = self.active[at], bool(self.program.members)
        state = {name: array[at] if several else array for name, array in named.items()}
        best = parameters.flatten(tracker.params) if tracker.best else {}
        return Snapshot(state, best, tracker.state_dict() | {"seconds": dict(self.seconds)})

    def _loop(self, until: int | None) -> Iterator[Sequence[tuple[Tracker, Epoch]]]:
        """The tutorials' early stopping, to the step; the order of the rows depends on the seed and the epoch alone."""
        steps = self.plan.steps
        limit = 1
        several = len(self.trackers) > 1
        while alive := [tracker for tracker in self.active if not tracker.finished()]:
            if until is not None and self.step >= until:
                return
            if several and 2 * len(alive) <= len(self.active):
                self.narrow(alive)
            number, done = divmod(self.step, steps)
            begun = time.perf_counter()
            looks = (tracker.next_look(self.frequency) for tracker in alive)
            goal = min(*looks, (number + 1) * steps, self.step + limit, until or self.step + limit)
            count = goal - self.step
            self.state, losses = self.program.run_steps(self.state, self.placed, self.plan, number, done, done + count)
            self.step, counts = goal, self.plan.counts[done : done + count]
            for at, tracker in self._going_on(alive):
                with self._ending(tracker):
                    tracker.advance(losses[at], counts, self._copy(at))
            now = time.perf_counter()
            limit = agree(max(1, min(4 * limit, int(STRETCH_SECONDS * count / max(now - begun, 1e-9)))))
            validating = self._validate(alive) if self.step % self.frequency == 0 else 0.0
            yield self._close(alive, time.perf_counter() - begun, validating)

    def _validate(self, alive: Sequence[Tracker]) -> float:
        """Score the members on the validation split; returns the seconds that the pass took."""
        begun = time.perf_counter()
        scores = self.program.count_errors(self.state.variables, self.placed_valid)
        seconds = time.perf_counter() - begun
        for at, tracker in self._going_on(alive):
            with self._ending(tracker):
                tracker.observe(scores[at], self._copy(at))
        return seconds

    def _going_on(self, alive: Sequence[Tracker]) -> Iterator[tuple[int, Tracker]]:
        """The members of `alive` that have not diverged, with their places in the program."""
        for at, tracker in enumerate(self.active):
            if tracker in alive and tracker.stopped != Stopped.DIVERGED:
                yield at, tracker

    @contextmanager
    def _ending(self, tracker: Tracker) -> Iterator[None]:
        """A member that diverges ends, and the others go on; where it is alone, the error goes on."""
        try:
            yield
        except DivergedError:
            tracker.stopped = Stopped.DIVERGED
            if len(self.trackers) == 1:
                raise

    def _close(
        self, alive: Sequence[Tracker], seconds: float, validation_seconds: float
    ) -> list[tuple[Tracker, Epoch]]:
        self.seconds["train"] += seconds
        records = []
        for tracker in alive:
            tracker.current_epoch.seconds += seconds
            tracker.current_epoch.validation_seconds += validation_seconds
            if tracker.ended() and tracker.stopped != Stopped.DIVERGED:
                records.append((tracker, tracker.close(len(self.data.valid))))
        return records

    def _copy(self, at: int) -> Callable[[], Any]:
        """Copies on the host of a member's variables: the next stretch is given the memory of the state."""
        members = self.program.members
        return lambda: fetch(pick(self.state.variables, at) if members else self.state.variables)

    def narrow(self, trackers: Sequence[Tracker]) -> None:
        """Go on with these members alone: the others have ended, their places in the program are given up."""
        places = [self.active.index(tracker) for tracker in trackers]
        at = np.array(places) if len(places) > 1 else places[0]  # the last one goes on as one that is alone
        with precision(self.program.recipe.dtype):
            self.state = pick(self.state, at)
        self.active, self.program = tuple(trackers), self._program(trackers)
        if isinstance(self.plan, Plans):
            assert isinstance(self.placed, Resident)  # chunks come in one order
            self.plan = _beside([self.plan.members[place] for place in places])
            self.placed.close()
            self.placed = Resident(self.placed.rows, self.plan)

    def _program(self, trackers: Sequence[Tracker]) -> Program:
        recipes = [tracker.recipe for tracker in trackers]
        shape, classes = self.data.example_shape, len(self.data.classes)
        members = recipes if len(recipes) > 1 else ()
        return Program(self.model, recipes[0], shape, classes, self.memory_bytes, members, self.functions)


def _order(recipes: Sequence[Recipe], rows: int) -> Plan | Plans:
    """The plan of all, or where their seeds differ, side by side, that of each."""
    plans = []
    for recipe in recipes:
        block_rows = recipe.block_rows or 1  # None where there are no blocks
        plan = Plan(rows, recipe.batch_size, recipe.shuffle, recipe.drop_last, recipe.seed, block_rows)
        if plan.steps == 0:
            raise RecipeError(
                f"batch_size: {recipe.batch_size:,} is more than the {rows:,} train rows, and drop_last leaves the "
                f"smaller minibatch out; take a smaller {option('batch_size')}, or keep the last minibatch"
            )
        plans.append(plan)
    return _beside(plans)


def _beside(plans: Sequence[Plan]) -> Plan | Plans:
    return plans[0] if len(set(plans)) == 1 else Plans(tuple(plans))


def _check_whole(program: Program, recipe: Recipe, rows: int) -> None:
    """Raise RecipeError where a smaller minibatch, which is filled up, would enter the state of a model."""
    if rows % recipe.batch_size and not recipe.drop_last and program.has_model_state:
        raise RecipeError(
            f"batch_size: {rows:,} train rows leave a last minibatch of {rows % recipe.batch_size:,}, and the model's "
            f"statistics (batch normalisation) want whole ones; give {option('drop_last', True)}"
        )
