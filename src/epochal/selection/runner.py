"""A selection in progress: batches of candidates, dealt into loops, trained, compared on validation rows alone."""

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing
from dataclasses import replace
from math import prod
from typing import Any, NamedTuple

import jax

from epochal.data.dataset import Dataset
from epochal.models import parted
from epochal.selection.candidate import Candidate, Standing, Trial, standings
from epochal.selection.folds import folds
from epochal.selection.group import Crew
from epochal.selection.grouping import groups, ways
from epochal.selection.halving import FACTOR, kept, rungs
from epochal.selection.options import Choosing, closed
from epochal.selection.pace import Decision, asked, fitting, measured, ruled
from epochal.selection.search import Search
from epochal.selection.store import Journal
from epochal.system import user_file
from epochal.training.loop import Loop
from epochal.training.patience import endless
from epochal.training.program import Program
from epochal.training.progress import Stopped
from epochal.training.score import Score


class Moment(NamedTuple):
    """A selection between two compiled stretches."""

    alive: int  # trials in training
    waiting: int  # trials whose turn has not come
    trials: int  # of all that is known of
    best: Score | None  # the best of a trial so far
    share: float  # of the updates that the rest may take at most, 0 to 1


class Selecting:
    """Trains candidates and compares them; iterate over `moments()`. It sees no row of the test split."""

    def __init__(
        self,
        search: Search,
        data: Dataset,
        choosing: Choosing,
        journal: Journal,
        memory_bytes: int | None = None,
        say: Callable[[str], None] = lambda line: None,
    ):
        self.search, self.data, self.choosing, self.journal = search, data, choosing, journal
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
        journal, number = self.journal, 0
        for batch in journal.batches:  # those of a selection that is resumed
            yield from self._batch(number, len(batch["candidates"]), batch["search"])
            number += len(batch["candidates"])
        while not self.stopped:
            candidates, told = self.search.ask(number)
            if not candidates:
                return
            candidates = [candidate.adapted(self.data, self.fetch) for candidate in candidates]
            self.keep_code(candidates)
            journal.propose(candidates, told)
            yield from self._batch(number, len(candidates), told)
            number += len(candidates)

    def standings(self) -> list[Standing]:
        """All candidates with outcomes, best first."""
        return standings(self.journal.candidates, self.journal.outcomes.values())

    def _batch(self, first: int, count: int, told: dict[str, Any]) -> Iterator[Moment]:
        """Train the candidates numbered from `first`, with halving if asked for, and tell the search."""
        numbers = range(first, first + count)
        trials = self._trials(numbers)
        most = max(self.journal.candidates[number].recipe.epochs for number in numbers)
        budgets = rungs(count, most, self.choosing.factor or FACTOR) if self.choosing.halving else [most]
        for place, epochs in enumerate(budgets):
            last = place == len(budgets) - 1
            yield from self._train(trials, None if last else epochs)
            if self.stopped:
                return
            if not last:
                trials = self._halve(trials, f"rung {first} {epochs}", epochs)
        batch = [standing for standing in self.standings() if standing.candidate.number in numbers]
        self.search.tell(told, batch)
        self._forget()

    def _trials(self, numbers: Sequence[int]) -> list[Trial]:
        every = range(len(self.views))
        return [Trial(n, seed, fold) for n in numbers for seed in range(self.choosing.seeds) for fold in every]

    def _halve(self, trials: list[Trial], key: str, epochs: int) -> list[Trial]:
        """The trials that go on after a rung, as decided before or now. Those of other candidates end here."""
        journal, numbers = self.journal, {trial.candidate for trial in trials}
        if key not in journal.decisions:
            there = [standing for standing in self.standings() if standing.candidate.number in numbers]
            best = set(kept(there, self.choosing.factor or FACTOR))
            goes = [t for t in trials if t.candidate in best and journal.outcomes[t].stopped is None]
            journal.decide(key, [sorted(best), goes])
        best, going_on = journal.decisions[key][0], [Trial(*trial) for trial in journal.decisions[key][1]]
        for trial, outcome in journal.outcomes.items():
            if trial.candidate in numbers and trial.candidate not in best and outcome.stopped is None:
                journal.put(replace(outcome, stopped=Stopped.HALVING), None, journal.missed(trial))
        self.say(f"after {epochs:,} epochs: {len(best)} of {len(numbers)} candidates go on")
        return going_on

    def _train(self, trials: list[Trial], epochs: int | None) -> Iterator[Moment]:
        """Train the trials for `epochs` at most, or to their ends."""
        candidates = self.journal.candidates
        dealt = groups(candidates, trials)
        self._todo = [trial for group in dealt for trial in group]
        for group in dealt:
            if all(self._is_done(trial, epochs) for trial in group):
                self._todo = self._todo[len(group) :]
                continue
            for part in ways(candidates, group)[self._way(group)]:
                if not all(self._is_done(trial, epochs) for trial in part):
                    yield from self._together(part, epochs)
                if self.stopped:
                    return
                self._todo = self._todo[len(part) :]
                if epochs is None:
                    self._forget()

    def _way(self, group: list[Trial]) -> str:
        """How a group is dealt into loops: as decided before, which a selection taken up again keeps, or now."""
        key = f"way {[trial[:2] for trial in group]}"  # all folds go the same way
        if key in self.journal.decisions:
            return self.journal.decisions[key]
        begun = time.perf_counter()
        decision = self._decided(group)
        self.seconds["measure"] += time.perf_counter() - begun
        if decision.why:
            self.say(f"{self.journal.candidates[group[0].candidate].model}: {decision.why}")
        return self.journal.decide(key, decision.way)

    def _decided(self, group: list[Trial]) -> Decision:
        candidates, found = self.journal.candidates, ways(self.journal.candidates, group)
        if self.choosing.together == "measure":
            self.note("the way of training is measured: another time near ties may rank differently")
            return measured(found, self._loop, max(candidates[trial.candidate].recipe.epochs for trial in group))
        if self.choosing.together != "auto":
            return fitting(asked(found, self.choosing.together), found, self._loop)
        first, data = candidates[group[0].candidate], self.data
        shapes = Program(first.model, first.recipe, data.example_shape, len(data.classes)).variable_shapes
        parameters = sum(prod(leaf.shape) for leaf in jax.tree.leaves(parted(shapes).params))
        return fitting(ruled(found, jax.default_backend(), parameters), found, self._loop)

    def _loop(self, trials: Sequence[Trial]) -> Loop:
        candidates = [self.journal.candidates[trial.candidate] for trial in trials]
        recipes = [one.seeded(trial.seed) for one, trial in zip(candidates, trials, strict=True)]
        first, view = candidates[0], self.views[trials[0].fold]
        return Loop(first.model, view, recipes, self.memory_bytes, first.own)

    def _together(self, part: list[Trial], epochs: int | None) -> Iterator[Moment]:
        loop = self._loop(part)
        for member in loop.trackers:
            if note := endless(member.recipe.patience_steps, member.recipe.epochs, loop.plan.steps):
                self.note(note)
        until = None if epochs is None else epochs * loop.plan.steps
        crew = Crew(loop, part, until, self.journal)
        whole = max(member.recipe.epochs for member in loop.trackers) * loop.plan.steps
        waiting = len(self._todo) - len(part)
        with closing(crew.train(self.choosing.checkpoint_seconds)) as stretches:
            for _ in stretches:
                yield self._moment(crew, waiting, loop.step / (until or whole))
                if self.stopped:
                    return
        for name in ("train", "compile"):
            self.seconds[name] += loop.seconds[name]

    def _moment(self, crew: Crew, waiting: int, share: float) -> Moment:
        known = len(self.journal.candidates) * self.choosing.seeds * len(self.views)
        scores = [outcome.valid for outcome in self.journal.outcomes.values() if outcome.valid]
        scores += [member.best.valid for member in crew.loop.trackers if member.best]
        best = min(scores, key=lambda score: score.percent, default=None)
        done = known - len(self._todo) + share * len(crew.trials)
        return Moment(crew.alive(), waiting, known, best, done / known)

    def _is_done(self, trial: Trial, epochs: int | None) -> bool:
        outcome = self.journal.outcomes.get(trial)
        if outcome is None:
            return False
        return outcome.stopped is not None or (epochs is not None and outcome.steps >= epochs * outcome.steps_per_epoch)

    def _forget(self) -> None:
        """Give up the states of all trials but those of the best candidate; folds keep none, nothing goes on there."""
        found = self.standings()
        complete = self.choosing.seeds * len(self.views)
        whole = [s for s in found if len(s.outcomes) == complete and all(o.stopped for o in s.outcomes)]
        behind = whole if self.choosing.folds else whole[1:]
        self.journal.forget(outcome.trial for standing in behind for outcome in standing.outcomes)
