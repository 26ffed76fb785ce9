"""A training: one recipe in the loop, handed out epoch by epoch, and taken up again from a snapshot."""

from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

from epochal.data.dataset import Dataset
from epochal.errors import DivergedError
from epochal.models.base import Model
from epochal.training.fitted import Fit
from epochal.training.loop import Loop
from epochal.training.patience import endless
from epochal.training.progress import Best, Epoch
from epochal.training.recipe import Recipe
from epochal.training.snapshot import Snapshot
from epochal.training.tracker import check_finite
from epochal.training.user_functions import Functions


class Moment(NamedTuple):
    """A run between two compiled stretches: updates done, and the record of an epoch that has just ended."""

    step: int
    epoch: Epoch | None


class Training(Loop, Iterator[Epoch]):
    """A run in progress. Iterate over it for one `Epoch` after another; stop iterating whenever you like.

    `fit()` gives what has been reached so far. `step` counts the updates done, `epochs` holds the records so far.
    """

    def __init__(
        self, model: Any, data: Dataset, recipe: Recipe, memory_bytes: int | None = None, own: Functions | None = None
    ):
        """`own` are the functions of `recipe`; left out, they are fetched."""
        super().__init__(model, data, [recipe], memory_bytes, own)
        self.recipe, self.member = recipe, self.members[0]
        self._moments = self._passed_on()

    def __next__(self) -> Epoch:
        return next(moment.epoch for moment in self._moments if moment.epoch)

    def _passed_on(self) -> Iterator[Moment]:
        try:
            for records in self.run():
                yield Moment(self.step, records[0][1] if records else None)
        except DivergedError as error:
            error.fit = self.fit() if self.best else None
            raise

    def moments(self) -> Iterator[Moment]:
        """The same run, seen after every compiled stretch."""
        return self._moments

    @property
    def epochs(self) -> list[Epoch]:
        """The records so far."""
        return self.member.epochs

    @property
    def best(self) -> Best | None:
        """The best validation score so far."""
        return self.member.best

    @property
    def params(self) -> Any:
        """The parameters that reached it, on the host."""
        return self.member.params

    @property
    def stopped(self) -> str | None:
        """Why the training has ended, None while it goes on."""
        return self.member.stopped

    @property
    def last_step(self) -> int:
        """The update at which training ends, if validation brings no more patience."""
        return min(self.recipe.epochs * self.plan.steps, self.member.rule.steps + 1)

    def __repr__(self) -> str:
        done = f"{len(self.epochs):,} of at most {self.recipe.epochs:,} epochs"
        best = f", best validation {self.best.valid} at epoch {self.best.epoch:,}" if self.best else ""
        return f"Training({self.model!r}, {done}{best}, {self.stopped or 'going on'})"

    @property
    def notes(self) -> tuple[str, ...]:
        """What is worth knowing before it begins, such as a patience that cannot run out; commands print it."""
        note = endless(self.recipe.patience_steps, self.recipe.epochs, self.plan.steps)
        return () if note is None else (note,)

    def snapshot(self) -> Snapshot:
        """The run as it is between two stretches, copied to the host. Raises DivergedError where it is not finite."""
        snapshot = self.snapshot_of(self.member)
        try:
            check_finite(snapshot.state, f"step {self.step:,}: ")
        except DivergedError:
            self.member.stopped = "diverged"
            raise
        return snapshot

    def load_snapshot(self, snapshot: Snapshot, epochs: Iterable[Epoch]) -> None:
        """Go on from `snapshot`; `epochs` are the records so far. Raises ValueError where it is of another run."""
        self.load_snapshots([snapshot], [epochs])
        self.seconds |= {"train": snapshot.metadata["seconds"]["train"]}

    def variables(self) -> Any:
        """The parameters as they are now, best or not, on the host (`Variables` of a model that keeps statistics)."""
        return self._copy(0)()

    def fit(self, folder: Path | None = None) -> Fit:
        """The best so far; `folder` is where the run is kept, if it is.

        Raises DivergedError where no validation has succeeded yet.
        """
        return self.fitted(self.member, folder)


def train(
    model: Model | Any, data: Dataset, recipe: Recipe | None = None, *, memory_bytes: int | None = None
) -> Training:
    """Train `model` on the train split of `data`; iterate over the result for one `Epoch` record after another.

    `model` may also be its two functions `(init, logits)`, a module of Flax or Equinox, a function or class that makes
    one, or FILE.py:NAME, which names one of these; `epochal.models.adapted` tells how they are called.
    Early stopping watches the zero-one loss of the valid split; the test split is not touched. `memory_bytes` is what
    the rows may take on the device (default: what it has free).

    Raises RecipeError or CapacityError before the first step, DivergedError where the loss becomes NaN or infinite; its
    `fit` then is the best until there.
    """
    return Training(model, data, recipe or Recipe(), memory_bytes)
