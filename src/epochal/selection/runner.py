"""A selection in progress: batches of candidates, packed into loops, trained, compared on validation rows alone."""

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing
from dataclasses import replace
from math import ceil, prod
from typing import Any, NamedTuple

import jax

from epochal.data.dataset import Dataset
from epochal.models.base import split_variables
from epochal.selection.candidate import Candidate, Standing, Trial, standings
from epochal.selection.folds import closed, folds
from epochal.selection.options import Choosing
from epochal.selection.packing import Decision, by_clock, by_option, by_rule, groups, if_it_fits, ways
from epochal.selection.search import Search
from epochal.selection.store import TrialStore
from epochal.selection.trial_loop import TrialLoop
from epochal.system import user_file
from epochal.training.loop import Loop
from epochal.training.patience import endless
from epochal.training.program import Program
from epochal.training.progress import Stopped
from epochal.training.score import Score

FACTOR = 3
"""Halving keeps one candidate in so many, where nothing else is asked for."""


Say = Callable[[str], None]


class Moment(NamedTuple):
    """A selection between two compiled stretches."""

    alive: int  # trials in training
    waiting: int  # trials whose turn has not come
    trials: int  # of all candidates so far
    best: Score | None  # the best of a trial so far
    share: float  # of the updates that the rest may take at most, 0 to 1


class Runner:
    """Trains candidates and compares them; iterate over `moments()`. It sees no row of the test split."""

    def __init__(
        self,
        search: Search,
        data: Dataset,
        choosing: Choosing,
        store: TrialStore,
        memory_bytes: int | None = None,
        say: Say = lambda line: None,
    ):
        self.search, self.data, self.choosing, self.store = search, data, choosing, store
        self.fetch: user_file.Fetch = user_file.fetch
        self.keep_code: Callable[[Sequence[Candidate]], None] = lambda candidates: None
        self.memory_bytes, self.say = memory_bytes, say
        seen = closed(data)
        self.views = folds(seen, choosing.folds, choosing.fold_seed or 0) if choosing.folds else [seen]
        self.seconds = {"train": 0.0, "compile": 0.0, "measure": 0.0}
        self.stopped: str | None = None
        self.notes: list[str] = []
        self._todo: list[Trial] = []

    def note(self, text: str) -> None:
        """Say something that is worth knowing, once."""
        if text not in self.notes:
            self.notes.append(text)
            self.say(f"note: {text}")

    def stop(self, why: str = "interrupted") -> None:
        """Ask the selection to end after the stretch that is running."""
        self.stopped = why

    def moments(self) -> Iterator[Moment]:
        """Train to the end, or until `stop`; yields after every compiled stretch."""
        store, number = self.store, 0
        for batch in store.batches:  # those of a selection that is resumed
            yield from self._batch(number, len(batch["candidates"]), batch["search"])
            number += len(batch["candidates"])
        while not self.stopped:
            candidates, state = self.search.ask(number)
            if not candidates:
                return
            candidates = [candidate.adapted(self.data, self.fetch) for candidate in candidates]
            self.keep_code(candidates)
            store.propose(candidates, state)
            yield from self._batch(number, len(candidates), state)
            number += len(candidates)

    def standings(self) -> list[Standing]:
        return standings(self.store.candidates, self.store.outcomes.values())

    def _batch(self, first: int, count: int, state: dict[str, Any]) -> Iterator[Moment]:
        """Train the candidates numbered from `first`, with halving if asked for, and tell the search."""
        numbers = range(first, first + count)
        trials = [
            Trial(number, seed, fold)
            for number in numbers
            for seed in range(self.choosing.seeds)
            for fold in range(len(self.views))
        ]
        longest = max(self.store.candidates[number].recipe.epochs for number in numbers)
        budgets = rungs(count, longest, self.choosing.factor or FACTOR) if self.choosing.halving else [longest]
        for place, epochs in enumerate(budgets):
            last = place == len(budgets) - 1
            yield from self._train(trials, None if last else epochs)
            if self.stopped:
                return
            if not last:
                trials = self._halve(trials, f"rung {first} {epochs}", epochs)
        batch = [standing for standing in self.standings() if standing.candidate.number in numbers]
        self.search.tell(state, batch)
        self._forget()

    def _halve(self, trials: list[Trial], key: str, epochs: int) -> list[Trial]:
        """The trials that go on after a rung, as decided before or now. Those of other candidates end here."""
        store, numbers = self.store, {trial.candidate for trial in trials}
        if key not in store.decisions:
            best = set(promoted([s for s in self.standings() if s.candidate.number in numbers], self.choosing.factor))
            unfinished = [t for t in trials if t.candidate in best and store.outcomes[t].stopped is None]
            store.decide(key, [sorted(best), unfinished])
        best, going_on = store.decisions[key][0], [Trial(*trial) for trial in store.decisions[key][1]]
        for trial, outcome in store.outcomes.items():
            if trial.candidate in numbers and trial.candidate not in best and outcome.stopped is None:
                store.put(replace(outcome, stopped=Stopped.HALVING), None, store.missed(trial))
        self.say(f"after {epochs:,} epochs: {len(best)} of {len(numbers)} candidates go on")
        return going_on

    def _train(self, trials: list[Trial], epochs: int | None) -> Iterator[Moment]:
        """Train the trials for `epochs` at most, or to their ends."""
        candidates = self.store.candidates
        grouped = groups(candidates, trials)
        self._todo = [trial for group in grouped for trial in group]
        for group in grouped:
            if all(self._is_done(trial, epochs) for trial in group):
                self._todo = self._todo[len(group) :]
                continue
            for part in ways(candidates, group)[self._way(group)]:
                if not all(self._is_done(trial, epochs) for trial in part):
                    yield from self._train_part(part, epochs)
                if self.stopped:
                    return
                self._todo = self._todo[len(part) :]
                if epochs is None:
                    self._forget()

    def _way(self, group: list[Trial]) -> str:
        """How a group is divided into loops: as decided before, which a resumed selection keeps, or now."""
        key = f"way {[trial[:2] for trial in group]}"  # all folds go the same way
        if key in self.store.decisions:
            return self.store.decisions[key]
        begun = time.perf_counter()
        decision = self._decision(group)
        self.seconds["measure"] += time.perf_counter() - begun
        if decision.why:
            self.say(f"{self.store.candidates[group[0].candidate].model}: {decision.why}")
        return self.store.decide(key, decision.way)

    def _decision(self, group: list[Trial]) -> Decision:
        candidates, possible = self.store.candidates, ways(self.store.candidates, group)
        if self.choosing.vectorize == "measure":
            self.note("the way of training is measured: another time near ties may rank differently")
            return by_clock(possible, self._loop, max(candidates[trial.candidate].recipe.epochs for trial in group))
        if self.choosing.vectorize != "auto":
            return if_it_fits(by_option(possible, self.choosing.vectorize), possible, self._loop)
        first, data = candidates[group[0].candidate], self.data
        shapes = Program(first.model, first.recipe, data.example_shape, len(data.classes)).variable_shapes
        parameters = sum(prod(leaf.shape) for leaf in jax.tree.leaves(split_variables(shapes).params))
        return if_it_fits(by_rule(possible, jax.default_backend(), parameters), possible, self._loop)

    def _loop(self, trials: Sequence[Trial]) -> Loop:
        candidates = [self.store.candidates[trial.candidate] for trial in trials]
        recipes = [candidate.seeded(trial.seed) for candidate, trial in zip(candidates, trials, strict=True)]
        first, view = candidates[0], self.views[trials[0].fold]
        return Loop(first.model, view, recipes, self.memory_bytes, first.functions)

    def _train_part(self, part: list[Trial], epochs: int | None) -> Iterator[Moment]:
        loop = self._loop(part)
        for member in loop.trackers:
            if note := endless(member.recipe.patience_steps, member.recipe.epochs, loop.plan.steps):
                self.note(note)
        until = None if epochs is None else epochs * loop.plan.steps
        trial_loop = TrialLoop(loop, part, until, self.store)
        whole = max(member.recipe.epochs for member in loop.trackers) * loop.plan.steps
        waiting = len(self._todo) - len(part)
        with closing(trial_loop.train(self.choosing.checkpoint_seconds)) as stretches:
            for _ in stretches:
                yield self._moment(trial_loop, waiting, loop.step / (until or whole))
                if self.stopped:
                    return
        for name in ("train", "compile"):
            self.seconds[name] += loop.seconds[name]

    def _moment(self, current: TrialLoop, waiting: int, share: float) -> Moment:
        known = len(self.store.candidates) * self.choosing.seeds * len(self.views)
        scores = [outcome.valid for outcome in self.store.outcomes.values() if outcome.valid]
        scores += [member.best.valid for member in current.loop.trackers if member.best]
        best = min(scores, key=lambda score: score.percent, default=None)
        done = known - len(self._todo) + share * len(current.trials)
        return Moment(current.alive(), waiting, known, best, done / known)

    def _is_done(self, trial: Trial, epochs: int | None) -> bool:
        outcome = self.store.outcomes.get(trial)
        if outcome is None:
            return False
        return outcome.stopped is not None or (epochs is not None and outcome.steps >= epochs * outcome.steps_per_epoch)

    def _forget(self) -> None:
        """Drop the states of all trials but those of the best candidate; of folds all, nothing goes on from there."""
        complete = self.choosing.seeds * len(self.views)
        whole = [s for s in self.standings() if len(s.outcomes) == complete and all(o.stopped for o in s.outcomes)]
        behind = whole if self.choosing.folds else whole[1:]
        self.store.forget(outcome.trial for standing in behind for outcome in standing.outcomes)


# Successive halving (Jamieson and Talwalkar, AISTATS 2016): train all a little, keep the better part, go on with it. A
# candidate that is kept goes on where it paused: no step is done twice, and its result is that of a full training.


def rungs(candidates: int, epochs: int, factor: int) -> list[int]:
    """After how many epochs the candidates are compared; the last is the whole training.

    >>> rungs(12, 27, 3), rungs(12, 4, 3), rungs(2, 27, 3)
    ([3, 9, 27], [1, 4], [27])
    """
    budgets, left = [epochs], candidates
    while left > factor - 1 and budgets[0] // factor >= 1:
        budgets.insert(0, budgets[0] // factor)
        left = ceil(left / factor)
    return budgets


def promoted(standings: Sequence[Standing], factor: int | None) -> list[int]:
    """Numbers of the candidates that go on: the best one in `factor`, those that diverged never, one at least.

    >>> promoted([], 3)
    []
    """
    sound = [standing for standing in standings if not standing.diverged]
    return sorted(standing.candidate.number for standing in sound[: ceil(len(standings) / (factor or FACTOR))])
