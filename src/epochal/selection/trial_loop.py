"""Trials that are trained in one loop: from where each pauses to where it ends, with checkpoints on the way."""

import time
from collections.abc import Generator, Iterator, Sequence
from contextlib import closing, suppress

from epochal.errors import DivergedError, RunError
from epochal.selection.candidate import Outcome, Trial
from epochal.selection.store import Checkpoint, Paused, TrialStore
from epochal.training.loop import Loop
from epochal.training.progress import Epoch, Stopped
from epochal.training.tracker import Tracker

COST_SHARE = 50
"""A checkpoint waits until this many times its cost has passed, so that it costs at most 2 %."""


class TrialLoop:
    """The loop of some trials, and their final states as they end one after another."""

    def __init__(self, loop: Loop, trials: Sequence[Trial], until: int | None, store: TrialStore):
        self.loop, self.trials, self.until, self.store = loop, list(trials), until, store
        self.ended: dict[Tracker, Paused] = {}
        self._cost, self._saved = 0.0, time.monotonic()
        checkpoint = store.checkpointed(self.trials, until)
        states = checkpoint.states if checkpoint else self._paused()
        if states is not None:
            try:
                loop.load_snapshots([snapshot for snapshot, _ in states], [epochs for _, epochs in states])
            except (ValueError, KeyError, TypeError, AttributeError) as error:
                names = ", ".join("{}-{}-{}".format(*trial) for trial in self.trials[:3])
                raise RunError(f"{store.path}: the states of the trials {names} do not fit: {error}") from None
            for member, (snapshot, epochs) in zip(loop.trackers, states, strict=True):
                if member.finished():
                    metadata = member.state_dict() | {"seconds": snapshot.metadata["seconds"]}
                    self.ended[member] = (snapshot._replace(metadata=metadata), list(epochs))
        if checkpoint and self.alive() and len(checkpoint.active) < len(self.trials):
            # The loop had become so narrow; a program of another width may round differently.
            loop.narrow([loop.trackers[place] for place in checkpoint.active])

    def train(self, checkpoint_seconds: float) -> Generator[None]:
        """Train until all have ended, or `until` updates are done, and store the outcomes; yields after every stretch.

        Closed before that, it leaves a checkpoint.
        """
        with closing(self.loop.run(self.until)) as stretches:
            for _ in _until_divergence(stretches):
                self._note_ended()
                if time.monotonic() - self._saved >= max(checkpoint_seconds, COST_SHARE * self._cost):
                    self._save()
                try:
                    yield
                except GeneratorExit:
                    self._save()
                    raise
        self._note_ended()
        self._store_outcomes()

    def alive(self) -> int:
        """How many go on."""
        return sum(member not in self.ended for member in self.loop.trackers)

    def _paused(self) -> list[Paused] | None:
        states = [self.store.paused(trial) for trial in self.trials]
        whole = [state for state in states if state is not None]
        return whole if len(whole) == len(states) else None

    def _note_ended(self) -> None:
        """Keep the state of each member that has just ended: the program computes on, and the state becomes another."""
        for member in self.loop.active:
            if member not in self.ended and member.finished():
                self.ended[member] = (self.loop.snapshot_of(member), list(member.epochs))

    def _states(self) -> list[Paused]:
        now = dict(zip(self.loop.active, self.loop.snapshots(), strict=True))
        return [
            self.ended[member] if member in self.ended else (now[member], list[Epoch](member.epochs))
            for member in self.loop.trackers
        ]

    def _checkpoint(self, states: list[Paused]) -> Checkpoint:
        active = [place for place, member in enumerate(self.loop.trackers) if member in self.loop.active]
        return Checkpoint(self.trials, self.until, states, active)

    def _save(self) -> None:
        begun = time.monotonic()
        self.store.checkpoint(self._checkpoint(self._states()))
        self._saved = time.monotonic()
        self._cost = max(self._cost, self._saved - begun)

    def _store_outcomes(self) -> None:
        """Hand the outcomes over. First a checkpoint with all of them: a kill in between loses none."""
        states = self._states()
        if len(self.trials) > 1 or self.until is not None:
            self.store.checkpoint(self._checkpoint(states))
        seconds = self.loop.seconds["train"] / len(self.trials)
        for trial, member, state in zip(self.trials, self.loop.trackers, states, strict=True):
            best, steps = member.best, self.loop.plan.steps
            valid, step = (best.valid, best.step) if best else (None, 0)
            outcome = Outcome(trial, valid, step, member.step, steps, member.stopped, seconds)
            diverged = member.stopped == Stopped.DIVERGED
            self.store.put(outcome, None if diverged else state, self.loop.missed(member) if best else None)
        self.store.done()


def _until_divergence(stretches: Iterator[object]) -> Iterator[object]:
    """A loop of one ends with the error; here that is an outcome like others, and the member says so."""
    with suppress(DivergedError):
        yield from stretches
