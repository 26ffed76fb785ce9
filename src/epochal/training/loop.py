"""The loop, written once: minibatch steps in compiled stretches, each member with its own early stopping.

A training has one member. A selection trains several recipes side by side in one program: the loop is the same.
"""

import time
from collections.abc import Callable, Generator, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from epochal.data.dataset import Dataset, check_data
from epochal.data.preparation import Preparation
from epochal.device.compiled import pick
from epochal.device.placement import agree, fetch, precision
from epochal.device.plan import Plan, Plans
from epochal.device.residency import Resident
from epochal.errors import DivergedError, RecipeError, option
from epochal.models import parameters
from epochal.models.adapters import adapted
from epochal.training.fitted import Fit
from epochal.training.patience import validation_frequency
from epochal.training.program import Program
from epochal.training.progress import Epoch
from epochal.training.recipe import Recipe
from epochal.training.snapshot import Snapshot
from epochal.training.tracker import Member
from epochal.training.user_functions import Functions, functions

STRETCH_SECONDS = 1.0
"""About how long one compiled stretch runs, so that progress shows and a signal is answered soon."""


class Loop:
    """The training of one recipe, or of several that differ in numbers and seeds alone, over the same rows."""

    def __init__(
        self,
        model: Any,
        data: Dataset,
        recipes: Sequence[Recipe],
        memory_bytes: int | None = None,
        own: Functions | None = None,
    ):
        """`own` are the functions of the recipes; left out, they are fetched."""
        check_data(data)
        self.model = adapted(model, data.example_shape, len(data.classes))
        self.data, self.memory_bytes = data, memory_bytes
        self.plan = _order(recipes, len(data.train))
        self.own = own or functions(recipes[0])
        self.members = tuple(Member(recipe, self.plan.steps) for recipe in recipes)
        self.together = self.members  # those that the program trains, in its order
        self.program = self._program(self.members)
        _check_whole(self.program, recipes[0], len(data.train))
        begun = time.perf_counter()
        self.placed, self.placed_valid, self.residency = self.program.settle(data, self.plan)
        self.seconds = {"compile": time.perf_counter() - begun, "train": 0.0}
        self.step = 0
        self.state = self.program.start(self.plan)
        self.frequency = validation_frequency(self.plan.steps, recipes[0].patience_steps)

    def stop(self, why: str = "interrupted") -> None:
        """Ask the loop to end after the stretch that is running."""
        for member in self.members:
            member.stopped = member.stopped or why

    def run(self, until: int | None = None) -> Generator[Sequence[tuple[Member, Epoch]]]:
        """Train to the end, or until `until` updates are done.

        After every compiled stretch comes the record of each epoch that ends there.
        """
        try:
            yield from self._loop(until)
        finally:
            self.close()

    def close(self) -> None:
        """End what runs in the background."""
        self.placed.close()
        self.placed_valid.close()

    def fitted(self, member: Member, folder: Path | None = None) -> Fit:
        """The best of `member` so far. Raises DivergedError where no validation has succeeded yet."""
        if member.best is None:
            step = f"step {member.step:,}"
            raise DivergedError(f"{step}: there are no parameters to keep, nothing has been validated yet")
        data, program = self.data, self._program([member])
        return Fit(
            self.model, member.recipe, program, member.params, member.best, tuple(member.epochs), member.step,
            member.stopped or "caller", Preparation.of(data), dict(self.seconds), data, folder,
        )  # fmt: skip

    def snapshots(self) -> list[Snapshot]:
        """The members in `together` as they are between two stretches, copied to the host, in that order."""
        named = parameters.flatten(fetch(self.state))
        return [self._snapshot(named, at) for at in range(len(self.together))]

    def snapshot_of(self, member: Member) -> Snapshot:
        """One member of `together`. Of one that has ended it holds what it had then only in the stretch it ended in."""
        return self._snapshot(parameters.flatten(fetch(self.state)), self.together.index(member))

    def load_snapshots(self, snapshots: Sequence[Snapshot], histories: Sequence[Iterable[Epoch]]) -> None:
        """Go on from the members' snapshots and records so far. Raises ValueError where they are of another run."""
        states = [snapshot.state for snapshot in snapshots]
        if self.program.members:
            names = states[0] if all(state.keys() == states[0].keys() for state in states) else ()
            states = [{name: np.stack([state[name] for state in states]) for name in names}]
        self.state = self.program.to_state(states[0], self.state)
        shapes = self.program.variable_shapes
        for member, (_, best, metadata), epochs in zip(self.members, snapshots, histories, strict=True):
            params = parameters.unflatten(best, shapes) if metadata["best"] else None
            member.load_state_dict(metadata, epochs, params)
        self.step = max(member.step for member in self.members)

    def missed(self, member: Member) -> np.ndarray:
        """Which validation rows the best parameters of `member` get wrong: bool [rows]."""
        p = self._program([member]).probabilities(member.params, self.placed_valid)
        return p.argmax(axis=1) != self.data.valid.y

    def _snapshot(self, named: Mapping[str, np.ndarray], at: int) -> Snapshot:
        member, several = self.together[at], bool(self.program.members)
        state = {name: array[at] if several else array for name, array in named.items()}
        best = parameters.flatten(member.params) if member.best else {}
        return Snapshot(state, best, member.state_dict() | {"seconds": dict(self.seconds)})

    def _loop(self, until: int | None) -> Iterator[Sequence[tuple[Member, Epoch]]]:
        """The tutorials' early stopping, to the step; the order of the rows depends on the seed and the epoch alone."""
        steps = self.plan.steps
        limit = 1
        several = len(self.members) > 1
        while alive := [member for member in self.together if not member.finished()]:
            if until is not None and self.step >= until:
                return
            if several and 2 * len(alive) <= len(self.together):
                self.narrow(alive)
            number, done = divmod(self.step, steps)
            begun = time.perf_counter()
            looks = (member.rule.next_look(self.step, self.frequency) for member in alive)
            goal = min(*looks, (number + 1) * steps, self.step + limit, until or self.step + limit)
            taken = goal - self.step
            self.state, losses = self.program.run_steps(self.state, self.placed, self.plan, number, done, done + taken)
            self.step, counts = goal, self.plan.counts[done : done + taken]
            self._each(alive, lambda at, m, losses=losses, counts=counts: m.advance(losses[at], counts, self._copy(at)))
            stretched = time.perf_counter() - begun
            limit = agree(max(1, min(4 * limit, int(STRETCH_SECONDS * taken / max(stretched, 1e-9)))))
            if self.step % self.frequency == 0:
                scores = self.program.count_errors(self.state.variables, self.placed_valid)
                self._each(alive, lambda at, m, scores=scores: m.observe(scores[at], self._copy(at)))
            yield self._close(alive, time.perf_counter() - begun)

    def _each(self, alive: Sequence[Member], act: Callable[[int, Member], None]) -> None:
        """Have every member that is alive act, told its place; one that diverges ends, and the others go on."""
        for at, member in enumerate(self.together):
            if member not in alive or member.stopped == "diverged":
                continue
            try:
                act(at, member)
            except DivergedError:
                member.stopped = "diverged"
                if len(self.members) == 1:
                    raise

    def _close(self, alive: Sequence[Member], seconds: float) -> list[tuple[Member, Epoch]]:
        self.seconds["train"] += seconds
        records = []
        for member in alive:
            member.running.seconds += seconds
            if member.ended() and member.stopped != "diverged":
                records.append((member, member.close(len(self.data.valid))))
        return records

    def _copy(self, at: int) -> Callable[[], Any]:
        """Copies on the host of a member's variables: the next stretch is given the memory of the state."""
        members = self.program.members
        return lambda: fetch(pick(self.state.variables, at) if members else self.state.variables)

    def narrow(self, members: Sequence[Member]) -> None:
        """Go on with these members alone: the others have ended, their places in the program are given up."""
        places = [self.together.index(member) for member in members]
        at = np.array(places) if len(places) > 1 else places[0]  # the last one goes on as one that is alone
        with precision(self.program.recipe.dtype):
            self.state = pick(self.state, at)
        self.together, self.program = tuple(members), self._program(members)
        if isinstance(self.plan, Plans):
            assert isinstance(self.placed, Resident)  # settled so: chunks come in one order
            self.plan = _beside([self.plan.members[place] for place in places])
            self.placed.close()
            self.placed = Resident(self.placed.rows, self.plan)

    def _program(self, members: Sequence[Member]) -> Program:
        recipes = [member.recipe for member in members]
        shape, classes = self.data.example_shape, len(self.data.classes)
        together = recipes if len(recipes) > 1 else ()
        return Program(self.model, recipes[0], shape, classes, self.memory_bytes, together, self.own)


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
    """Raise RecipeError where a smaller minibatch, which is filled up, would enter the statistics of a model."""
    if rows % recipe.batch_size and not recipe.drop_last and program.has_model_state:
        raise RecipeError(
            f"batch_size: {rows:,} train rows leave a last minibatch of {rows % recipe.batch_size:,}, and the model's "
            f"statistics (batch normalisation) want whole ones; give {option('drop_last', True)}"
        )
