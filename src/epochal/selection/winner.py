"""The chosen candidate as a run: its parameters as selected, or trained once more on train and validation rows."""

import logging
from collections.abc import Callable, Sequence
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
from epochal.selection.folds import joined
from epochal.selection.options import Choosing, closed
from epochal.selection.store import Journal
from epochal.system import plain_files
from epochal.system.lock import take_lock
from epochal.training import user_functions
from epochal.training.fitted import Fit
from epochal.training.program import Program
from epochal.training.progress import Best, Epoch, Stopped
from epochal.training.recipe import Recipe
from epochal.training.snapshot import Snapshot
from epochal.training.tracker import FixedLength
from epochal.training.training import Training

log = logging.getLogger("epochal")
Watch = Callable[[Training], None]


class Chooser:
    """Makes the Fit of a standing: in memory, or in a run folder where `folder` is given."""

    def __init__(self, data: Dataset, choosing: Choosing, journal: Journal, memory_bytes: int | None, watch: Watch):
        """`watch` is called with a training before it runs, so that a signal can stop it."""
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
            return self._run(self._training(standing, recipe), folder)
        snapshot, epochs = paused
        if folder is None:
            return self._remembered(standing, recipe, snapshot, epochs)
        training = self._training(standing, recipe)
        training.load_snapshot(snapshot, epochs)
        return self._kept(training, folder)

    def _training(
        self, standing: Standing, recipe: Recipe, view: Dataset | None = None, fixed: FixedLength | None = None
    ) -> Training:
        """A training that sees no test row; what its run says of the data includes the test split."""
        return Training(
            standing.candidate.model, self.data, recipe, self.memory_bytes, standing.candidate.own,
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
            with self._folder(folder, training) as kept:
                for _ in kept.progress():
                    pass
        return training.fit(folder)

    def _folder(self, folder: Path, training: Training) -> RunWriter:
        """The run folder: what a killed session has left of this very run is taken up, anything else is set aside."""
        options = CheckpointOptions(no_test=True)
        if not folder.exists():
            return RunWriter.create(folder, training, options)
        try:
            there = read_record(folder)
            mine = there.run_sha256 == run_sha256(training.model, training.recipe, training.data)
        except RunError:
            there, mine = None, False
        if there is not None and mine:  # with its ledger, its exports, and whatever else was put there
            return RunWriter(folder, take_lock(folder), training, record=there)
        if any(folder.iterdir()):
            aside = plain_files.set_aside(folder, "aside")
            log.warning("%s: is not the run of the chosen candidate; it is called %s now", folder, aside.name)
        return RunWriter.create(folder, training, options)

    def _remembered(self, standing: Standing, recipe: Recipe, snapshot: Snapshot, epochs: Sequence[Epoch]) -> Fit:
        data, model, metadata = self.data, standing.candidate.model, snapshot.metadata
        outcome = standing.best_trial()
        program = Program(
            model, recipe, data.example_shape, len(data.classes), self.memory_bytes, functions=user_functions.NONE
        )
        params = parameters.unflatten(snapshot.best, program.variable_shapes)
        assert outcome.valid is not None
        return Fit(
            model=model,
            recipe=recipe,
            program=program,
            params=params,
            best=Best(metadata["best"][0], metadata["best"][1], outcome.valid),
            epochs=tuple(epochs),
            steps=outcome.steps,
            stopped=outcome.stopped or Stopped.CALLER,
            preparation=Preparation.of(data),
            seconds=dict(metadata["seconds"]),
            data=data,
        )

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
        score = standing.score
        assert score is not None
        recipe = replace(recipe, epochs=max(recipe.epochs, -(-steps // per_epoch)))  # a schedule goes by them
        return self._run(self._training(standing, recipe, union, FixedLength(steps, score)), folder)
