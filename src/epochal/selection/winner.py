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
from epochal.selection.folds import closed, train_and_valid
from epochal.selection.runner import Runner
from epochal.system import plain_files
from epochal.system.lock import take_lock
from epochal.training import user_functions
from epochal.training.fitted import Best, Fit
from epochal.training.program import Program
from epochal.training.recipe import Recipe
from epochal.training.snapshot import Snapshot
from epochal.training.training import Training

log = logging.getLogger("epochal")


class Winner:
    """The chosen candidate of a selection, to be made a Fit: in memory, or in a run folder."""

    def __init__(self, standing: Standing, runner: Runner, watch: Callable[[Training], None]):
        """`watch` is called with a training before it runs, so that a signal can stop it."""
        self.standing, self.runner, self.watch = standing, runner, watch
        self.data, self.choosing = runner.data, runner.choosing
        self.best = standing.best_trial()
        self.recipe = standing.candidate.seeded(self.best.trial.seed)

    def fit(self, folder: Path | None) -> Fit | None:
        """The chosen one, ready to predict; None where its training was interrupted.

        Of several seeds it is the one with the fewest wrong rows. After cross-validation, where no parameters are kept,
        it is trained once more on the train split, with early stopping on the validation split.
        """
        paused = self.runner.store.paused(self.best.trial)
        if self.choosing.refits:
            return self._refitted(folder)
        if paused is None:
            training = self._training(closed(self.data), self.recipe)
            self.watch(training)
            for _ in training:
                pass
            return self._kept(training, folder) if training.stopped != "interrupted" else None
        snapshot, epochs = paused
        if folder is None:
            return self._in_memory(snapshot, epochs)
        training = self._training(closed(self.data), self.recipe)
        training.restore(snapshot, epochs)
        training.member.stopped = self.best.stopped
        return self._kept(training, folder)

    def _training(self, data: Dataset, recipe: Recipe) -> Training:
        candidate = self.standing.candidate
        return Training(candidate.model, data, recipe, self.runner.memory_bytes, candidate.functions)

    def _kept(self, training: Training, folder: Path | None) -> Fit:
        """The Fit of a training that has ended; its run folder, where there is to be one."""
        training.data = self.data  # what a run folder says of its data includes the test split, closed until now
        if folder is not None:
            with self._folder(folder, training) as run:
                for _ in run.moments():
                    pass
        return training.fit(folder)

    def _folder(self, folder: Path, training: Training) -> RunFolder:
        """The run folder: one that a killed session has left of this very run goes on, anything else is set aside."""
        keeping = Keeping(no_test=True)
        if not folder.exists():
            return RunFolder.create(folder, training, keeping)
        try:
            there = RunRecord.read(folder)
            same = there.run_sha256 == record.run_sha256(training.model, training.recipe, training.data)
        except RunError:
            there, same = None, False
        if there is not None and same:  # with its ledger, its exports, and whatever else was put there
            return RunFolder(folder, take_lock(folder), training, keeping, there.code)
        if any(folder.iterdir()):
            aside = plain_files.set_aside(folder, "aside")
            log.warning("%s: is not the run of the chosen candidate; it is called %s now", folder, aside.name)
        return RunFolder.create(folder, training, keeping)

    def _in_memory(self, snapshot: Snapshot, epochs: list) -> Fit:
        data, model, outcome = self.data, self.standing.candidate.model, self.best
        program = Program(
            model, self.recipe, data.example_shape, len(data.classes), self.runner.memory_bytes, own=user_functions.NONE
        )
        named = {n.removeprefix("best."): array for n, array in snapshot.arrays.items() if n.startswith("best.")}
        params = parameters.unflatten(named, program.variable_shapes)
        assert outcome.valid is not None
        best = Best(snapshot.told["best"][0], snapshot.told["best"][1], outcome.valid)
        return Fit(
            model, self.recipe, program, params, best, tuple(epochs), outcome.steps, outcome.stopped or "caller",
            Preparation.of(data), dict(snapshot.told["seconds"]), data, None,
        )  # fmt: skip

    def _refitted(self, folder: Path | None) -> Fit | None:
        """Trained on train and validation rows for a number of steps that no row of them has a say in.

        `best` then is the last step, with the score that the candidate was chosen by: on rows that are trained on, no
        score means anything.
        """
        rows, recipe = train_and_valid(self.data), self.recipe
        union = replace(closed(self.data), train=rows, groups=None)
        per_epoch = Plan(len(rows), recipe.batch_size, drop_last=recipe.drop_last).steps
        epochs = median(outcome.step / outcome.steps_per_epoch for outcome in self.standing.outcomes)
        steps = self.choosing.refit_steps or max(1, round(epochs * per_epoch))
        # A patience that nothing extends ends the training after that step.
        fixed = {"patience_steps": max(1, steps - 1), "patience_increase": 1.0, "improvement_test": None}
        longest = max(recipe.epochs, -(-steps // per_epoch))
        training = self._training(union, replace(recipe, **fixed, epochs=longest))
        self.watch(training)
        for _ in training.run(until=steps):
            if training.stopped == "interrupted":
                return None
        score = self.standing.score
        assert score is not None
        member = training.member
        member.best, member.params = Best(-(-steps // per_epoch), steps, score), training.variables()
        member.stopped = "refit"
        return self._kept(training, folder)
