"""A training: one recipe in a loop, epoch by epoch, resumable from a snapshot."""

from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from epochal.data.dataset import Dataset
from epochal.data.preparation import Preparation
from epochal.device.residency import Residency
from epochal.errors import DivergedError
from epochal.models.base import Model
from epochal.training.fitted import Fit
from epochal.training.loop import Loop
from epochal.training.patience import endless
from epochal.training.progress import Best, Epoch, Progress, Stopped
from epochal.training.recipe import Recipe
from epochal.training.snapshot import Snapshot
from epochal.training.tracker import FixedLength, check_finite
from epochal.training.user_functions import Functions


class Training(Iterator[Epoch]):
    """A run in progress. Iterate over it for one `Epoch` after another; stop iterating whenever you like.

    `fit()` returns the best so far. `step` counts the updates done, `epochs` holds the records so far.
    """

    def __init__(
        self,
        model: Any,
        data: Dataset,
        recipe: Recipe,
        memory_bytes: int | None = None,
        functions: Functions | None = None,
        *,
        view: Dataset | None = None,
        fixed_length: FixedLength | None = None,
    ):
        """`functions` are those of `recipe`; left out, they are fetched. `view` holds the rows that are trained and
        validated on where these are not the splits of `data`. With `fixed_length` nothing stops the training early.
        """
        self.loop = Loop(model, data if view is None else view, [recipe], memory_bytes, functions, fixed_length)
        self.data, self.recipe = data, recipe
        self.tracker = self.loop.trackers[0]
        self._progress = self._run()

    def __next__(self) -> Epoch:
        return next(progress.epoch for progress in self._progress if progress.epoch)

    def _run(self) -> Iterator[Progress]:
        try:
            for records in self.loop.run():
                yield Progress(self.step, records[0][1] if records else None)
        except DivergedError as error:
            error.fit = self.fit() if self.best else None
            raise

    def progress(self) -> Iterator[Progress]:
        """The same run, seen after every compiled stretch."""
        return self._progress

    def stop(self, why: Stopped = Stopped.INTERRUPTED) -> None:
        """Ask the training to end after the stretch that is running."""
        self.loop.stop(why)

    @property
    def model(self) -> Model:
        return self.loop.model

    @property
    def step(self) -> int:
        """Updates done."""
        return self.loop.step

    @property
    def steps_per_epoch(self) -> int:
        return self.loop.plan.steps

    @property
    def seconds(self) -> dict[str, float]:
        """Seconds so far, of compiling and of training."""
        return self.loop.seconds

    @property
    def residency(self) -> Residency:
        return self.loop.residency

    @property
    def epochs(self) -> list[Epoch]:
        """The records so far."""
        return self.tracker.epochs

    @property
    def best(self) -> Best | None:
        """The best validation score so far."""
        return self.tracker.best

    @property
    def params(self) -> Any:
        """The parameters that reached it, on the host."""
        return self.tracker.params

    @property
    def stopped(self) -> Stopped | None:
        """Why the training has ended, None while it goes on."""
        return self.tracker.stopped

    @property
    def last_step(self) -> int:
        """The update at which training ends, if validation brings no more patience."""
        return min(self.recipe.epochs * self.steps_per_epoch, self.tracker.rule.steps + 1)

    def __repr__(self) -> str:
        done = f"{len(self.epochs):,} of at most {self.recipe.epochs:,} epochs"
        best = f", best validation {self.best.valid} at epoch {self.best.epoch:,}" if self.best else ""
        return f"Training({self.model!r}, {done}{best}, {self.stopped or 'going on'})"

    @property
    def notes(self) -> tuple[str, ...]:
        """What is worth knowing before it begins, such as a patience that cannot run out; commands print it."""
        note = endless(self.recipe.patience_steps, self.recipe.epochs, self.steps_per_epoch)
        return () if note is None else (note,)

    def snapshot(self) -> Snapshot:
        """The run as it is between two stretches, copied to the host. Raises DivergedError where it is not finite."""
        snapshot = self.loop.snapshot_of(self.tracker)
        try:
            check_finite(snapshot.state, f"step {self.step:,}: ")
        except DivergedError:
            self.tracker.stopped = Stopped.DIVERGED
            raise
        return snapshot

    def load_snapshot(self, snapshot: Snapshot, epochs: Iterable[Epoch]) -> None:
        """Go on from `snapshot`; `epochs` are the records so far. Raises ValueError where it is of another run."""
        self.loop.load_snapshots([snapshot], [epochs])
        self.seconds["train"] = snapshot.metadata["seconds"]["train"]

    def variables(self) -> Any:
        """The parameters as they are now, best or not, on the host (`Variables` of a model that keeps a state)."""
        return self.loop.variables_of(self.tracker)

    def fit(self, folder: Path | None = None) -> Fit:
        """The best so far; `folder` is where the run is kept, if it is.

        Raises DivergedError where no validation has succeeded yet.
        """
        if self.best is None:
            raise DivergedError(
                f"step {self.step:,}: there are no parameters to keep, nothing has been validated yet"
            )  # fmt: skip
        return Fit(
            model=self.model,
            recipe=self.recipe,
            program=self.loop.program,
            params=self.params,
            best=self.best,
            epochs=tuple(self.epochs),
            steps=self.step,
            stopped=self.stopped or Stopped.CALLER,
            preparation=Preparation.of(self.data),
            seconds=dict(self.seconds),
            data=self.data,
            folder=folder,
        )


def train(
    model: Model | Any, data: Dataset, recipe: Recipe | None = None, *, memory_bytes: int | None = None
) -> Training:
    """Train `model` on the train split of `data`; iterate over the result for one `Epoch` record after another.

    `model` may also be its two functions `(init, logits)`, a module of Flax or Equinox, a function or class that makes
    one, or FILE.py:NAME, which names one of these; `epochal.models.adapted` documents how they are called.
    Early stopping watches the zero-one loss of the valid split; the test split is not touched. `memory_bytes` is what
    the rows may take on the device (default: what it has free).

    Raises RecipeError or CapacityError before the first step, DivergedError where the loss becomes NaN or infinite; its
    `fit` then is the best until there.
    """
    return Training(model, data, recipe or Recipe(), memory_bytes)
