"""The chosen candidate as a run: its parameters as selected, or trained once more on train and validation rows."""

import logging
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from statistics import median

from epochal.data.dataset import Dataset
from epochal.data.preparation import Preparation
from epochal.device.plan import Plan
from epochal.errors import RunError
from epochal.models import parameters
from epochal.runs import record
from epochal.runs.options import Keeping
from epochal.runs.run_record import RunRecord
from epochal.runs.writer import RunFolder
from epochal.selection.candidate import Standing
from epochal.selection.folds import closed, joined
from epochal.selection.options import Choosing
from epochal.selection.store import Journal
from epochal.system import plain_files
from epochal.system.lock import take_lock
from epochal.training import user_functions
from epochal.training.fitted import Best, Fit
from epochal.training.program import Program
from epochal.training.recipe import Recipe
from epochal.training.snapshot import Snapshot
from epochal.training.training import Training

log = logging.getLogger("epochal")
Watch = Callable[[Training], None]


class Chooser:
    """Makes the Fit of a standing: in memory, or in a run folder where `folder` is given."""

    def __init__(self, data: Dataset, choosing: Choosing, journal: Journal, memory_bytes: int | None, watch: Watch):
        """`watch` is told of a training before it runs, so that a signal can stop it."""
        self.data, self.choosing, self.journal = data, choosing, journal
        self.memory_bytes, self.watch = memory_bytes, watch

    def fit(self, standing: Standing, folder: Path | None) -> Fit | None:
        """The chosen one, ready to predict; None where its training was interrupted.

        Of several seeds it is the one with the fewest wrong rows. After cross-validation, where no parameters are kept,
        it is trained once more on the train split, with early stopping on the validation split.
        """
        best = standing.best_trial()
        recipe, paused = standing.candidate.seeded(best.trial.seed), self.journal.paused(best.trial)
        if self.choosing.refits:
            return self._refitted(standing, recipe, folder)
        if paused is None:
            training = self._training(standing, closed(self.data), recipe)
            return self._kept(training, folder, self.data) if self._run(training) else None
        snapshot, epochs = paused
        if folder is None:
            return self._remembered(standing, recipe, snapshot)
        training = self._training(standing, closed(self.data), recipe)
        training.restore(snapshot, epochs)
        training.member.stopped = best.stopped
        return self._kept(training, folder, self.data)

    def _training(self, standing: Standing, data: Dataset, recipe: Recipe) -> Training:
        return Training(standing.candidate.model, data, recipe, self.memory_bytes, standing.candidate.own)

    def _run(self, training: Training) -> bool:
        self.watch(training)
        for _ in training:
            pass
        return training.stopped != "interrupted"

    def _kept(self, training: Training, folder: Path | None, data: Dataset) -> Fit:
        """The Fit of a training that has ended; its run folder, where there is to be one."""
        training.data = data  # what a run folder says of its data includes the test split, closed until now
        if folder is not None:
            with self._folder(folder, training) as kept:
                for _ in kept.moments():
                    pass
        return training.fit(folder)

    def _folder(self, folder: Path, training: Training) -> RunFolder:
        """The run folder: what a killed session has left of this very run is taken up, anything else is set aside."""
        keeping = Keeping(open_test=False)
        if not folder.exists():
            return RunFolder.create(folder, training, keeping)
        try:
            there = RunRecord.read(folder)
            mine = there.run_sha256 == record.run_sha256(training.model, training.recipe, training.data)
        except RunError:
            there, mine = None, False
        if there is not None and mine:  # with its ledger, its exports, and whatever else was put there
            return RunFolder(folder, take_lock(folder), training, keeping, there.code)
        if any(folder.iterdir()):
            aside = plain_files.set_aside(folder, "aside")
            log.warning("%s: is not the run of the chosen candidate; it is called %s now", folder, aside.name)
        return RunFolder.create(folder, training, keeping)

    def _remembered(self, standing: Standing, recipe: Recipe, snapshot: Snapshot) -> Fit:
        data, model, told = self.data, standing.candidate.model, snapshot.told
        outcome = standing.best_trial()
        program = Program(
            model, recipe, data.example_shape, len(data.classes), self.memory_bytes, own=user_functions.NONE
        )
        named = {n.removeprefix("best."): array for n, array in snapshot.arrays.items() if n.startswith("best.")}
        params = parameters.unflatten(named, program.variable_shapes)
        assert outcome.valid is not None
        best = Best(told["best"][0], told["best"][1], outcome.valid)
        _, epochs = self.journal.paused(outcome.trial) or (None, [])
        return Fit(
            model, recipe, program, params, best, tuple(epochs), outcome.steps, outcome.stopped or "caller",
            Preparation.of(data), dict(told["seconds"]), data, None,
        )  # fmt: skip

    def _refitted(self, standing: Standing, recipe: Recipe, folder: Path | None) -> Fit | None:
        """Trained on train and validation rows for a number of steps that no row of them has a say in.

        `best` then is the last step, with the score that the candidate was chosen by: on rows that are trained on, no
        score means anything.
        """
        whole = joined(self.data)
        union = replace(closed(self.data), train=whole, groups=None)
        per_epoch = Plan(len(whole), recipe.batch_size, drop_last=recipe.drop_last).steps
        epochs = median(outcome.step / outcome.steps_per_epoch for outcome in standing.outcomes)
        steps = self.choosing.refit_steps or max(1, round(epochs * per_epoch))
        # A patience that nothing extends ends the training after that step.
        fixed = {"patience_steps": max(1, steps - 1), "patience_increase": 1.0, "improvement_p": None}
        most = max(recipe.epochs, -(-steps // per_epoch))
        training = self._training(standing, union, replace(recipe, **fixed, epochs=most))
        self.watch(training)
        for _ in training.run(until=steps):
            if training.stopped == "interrupted":
                return None
        score = standing.score
        assert score is not None
        member = training.member
        member.best, member.params = Best(-(-steps // per_epoch), steps, score), training.variables()
        member.stopped = "refit"
        return self._kept(training, folder, self.data)
