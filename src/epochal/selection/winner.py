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
from epochal.runs.options import CheckpointOptions
from epochal.runs.schema import read_record, run_sha256
from epochal.runs.writer import RunWriter
from epochal.selection.candidate import Standing
from epochal.selection.folds import closed, train_and_valid
from epochal.selection.runner import Runner
from epochal.system import plain_files
from epochal.system.lock import take_lock
from epochal.training import user_functions
from epochal.training.fitted import Fit
from epochal.training.program import Program
from epochal.training.progress import Best, Stopped
from epochal.training.recipe import Recipe
from epochal.training.snapshot import Snapshot
from epochal.training.tracker import FixedLength
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
            return self._run(self._training(self.recipe), folder)
        snapshot, epochs = paused
        if folder is None:
            return self._in_memory(snapshot, epochs)
        training = self._training(self.recipe)
        training.load_snapshot(snapshot, epochs)
        return self._kept(training, folder)

    def _training(self, recipe: Recipe, view: Dataset | None = None, fixed: FixedLength | None = None) -> Training:
        """A training that sees no test row; what its run says of the data includes the test split."""
        candidate = self.standing.candidate
        return Training(
            candidate.model, self.data, recipe, self.runner.memory_bytes, candidate.functions,
            view=view or closed(self.data), fixed_length=fixed,
        )  # fmt: skip

    def _run(self, training: Training, folder: Path | None) -> Fit | None:
        self.watch(training)
        for _ in training:
            pass
        return None if training.stopped == Stopped.INTERRUPTED else self._kept(training, folder)

    def _kept(self, training: Training, folder: Path | None) -> Fit:
        """The Fit of a training that has ended; its run folder, where there is to be one."""
        if folder is not None:
            with self._folder(folder, training) as run:
                for _ in run.progress():
                    pass
        return training.fit(folder)

    def _folder(self, folder: Path, training: Training) -> RunWriter:
        """The run folder: one that a killed session has left of this very run goes on, anything else is set aside."""
        options = CheckpointOptions(open_test=False)
        if not folder.exists():
            return RunWriter.create(folder, training, options)
        try:
            there = read_record(folder)
            same = there.run_sha256 == run_sha256(training.model, training.recipe, training.data)
        except RunError:
            there, same = None, False
        if there is not None and same:  # with its ledger, its exports, and whatever else was put there
            return RunWriter(folder, take_lock(folder), training, record=there)
        if any(folder.iterdir()):
            aside = plain_files.set_aside(folder, "aside")
            log.warning("%s: is not the run of the chosen candidate; it is called %s now", folder, aside.name)
        return RunWriter.create(folder, training, options)

    def _in_memory(self, snapshot: Snapshot, epochs: list) -> Fit:
        data, model, outcome, metadata = self.data, self.standing.candidate.model, self.best, snapshot.metadata
        shape, memory_bytes = data.example_shape, self.runner.memory_bytes
        program = Program(model, self.recipe, shape, len(data.classes), memory_bytes, functions=user_functions.NONE)
        assert outcome.valid is not None
        return Fit(
            model=model,
            recipe=self.recipe,
            program=program,
            params=parameters.unflatten(snapshot.best, program.variable_shapes),
            best=Best(metadata["best"][0], metadata["best"][1], outcome.valid),
            epochs=tuple(epochs),
            steps=outcome.steps,
            stopped=outcome.stopped or Stopped.CALLER,
            preparation=Preparation.of(data),
            seconds=dict(metadata["seconds"]),
            data=data,
        )

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
        score = self.standing.score
        assert score is not None
        recipe = replace(recipe, epochs=max(recipe.epochs, -(-steps // per_epoch)))  # a schedule goes by them
        return self._run(self._training(recipe, union, FixedLength(steps, score)), folder)
