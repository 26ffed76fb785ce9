"""What a run has produced: the best parameters on the validation split, and everything needed to use and judge them."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from epochal import ledger, parameters
from epochal.dataset import Dataset, Split
from epochal.errors import DataError, RunError
from epochal.models import Model
from epochal.preprocessing import Preprocessing
from epochal.program import Program
from epochal.recipe import Recipe
from epochal.score import Score


class Best(NamedTuple):
    """The best validation score of a run and where it was reached: epoch and step count from 1."""

    epoch: int
    step: int
    valid: Score


@dataclass(frozen=True)
class Epoch:
    """What is known after an epoch, all on the host.

    `loss` is the mean over the epoch's rows of what is minimised (penalties included), each minibatch taken before its
    update. `valid` is the epoch's last validation score, None where patience ran out before any; `validations` are all
    of them as (step, wrong). `best` tells whether one of them was the best so far. `seconds` include the validations.

    >>> print(Epoch(7, 700, 0.03124, Score(187, 10_000), True, ((700, 187),), 1.5))
    epoch 7 · loss 0.0312 · valid 187 / 10,000 (1.87 %) · best
    """

    epoch: int
    step: int
    loss: float
    valid: Score | None
    best: bool
    validations: tuple[tuple[int, int], ...]
    seconds: float

    def __str__(self) -> str:
        parts = [f"epoch {self.epoch}", f"loss {self.loss:.4f}"]
        parts += [f"valid {self.valid}"] if self.valid else []
        return " · ".join(parts + (["best"] if self.best else []))


@dataclass(frozen=True, eq=False)
class Fit:
    """A trained classifier: the parameters with the best validation score, and the record of the run.

    `params` are host arrays in the model's own structure (`Variables` of one that keeps statistics); `stopped` is
    patience, epochs, interrupted, diverged, or caller where the user stopped iterating. `data` is None where a saved
    run was opened without its data.
    """

    model: Model
    recipe: Recipe
    program: Program
    params: Any
    best: Best
    epochs: Sequence[Epoch]
    steps: int
    stopped: str
    classes: tuple[str, ...]
    divisor: float
    seconds: dict[str, float] = field(default_factory=dict)
    data: Dataset | None = None
    folder: Path | None = None
    preprocessing: Preprocessing | None = None

    def __repr__(self) -> str:
        best = f"best validation {self.best.valid} at epoch {self.best.epoch:,} of {len(self.epochs):,}"
        # Whoever has opened the test split knows the fingerprint; to find it out takes a look at every byte.
        fingerprint = vars(self.data).get("fingerprint") if self.data else None
        opened = ledger.opened(self.folder, fingerprint, self.parameters_sha256)
        kept = f", in {self.folder}" if self.folder else ""
        return f"Fit({self.model!r}, {best}, stopped by {self.stopped}, test {opened}{kept})"

    def predict_proba(self, x: Any) -> np.ndarray:
        """p(class | x) for features in the training data's storage form, x [rows, *example_shape]: [rows, classes].

        Raises DataError for examples of another shape.
        """
        x = np.asarray(x)
        return self.probabilities(Split(x, np.zeros(len(x), np.int32), self.divisor))

    def probabilities(self, split: Split) -> np.ndarray:
        """p(class | x) of every row of a split, which brings its own divisor; its labels are not looked at."""
        if split.example_shape != self.program.example_shape:
            raise DataError(
                f"predict: examples have shape {list(split.example_shape)}, but the model was trained on "
                f"{list(self.program.example_shape)}; bring them to that shape"
            )
        if len(split) == 0:
            return np.zeros((0, len(self.classes)), self.recipe.dtype)
        return self.program.probabilities(self.params, self.program.place(split))

    def predict(self, x: Any) -> np.ndarray:
        """The most probable label of each row: int32 [rows]; of equally probable ones the first."""
        return self.predict_proba(x).argmax(axis=1).astype(np.int32)

    def score(self, split: Split) -> Score:
        """Zero-one loss over all rows of a split that is not the test split; that one is opened by `test()`."""
        return self.program.count_errors(self.params, self.program.place(split))[0]

    def test(self) -> Score:
        """Open the test split and score it. The data set's ledger, and that of a run folder, keep that it was done.

        Validation has chosen; a test score is for the report alone. Choosing by it makes it a second validation split.
        """
        if self.data is None:
            raise RunError("test: the data of this run are not loaded; open it with epochal.load_run(RUN, data)")
        score = self.score(self.data.test)
        ledger.record(self.folder, self.data.fingerprint, score, self.parameters_sha256)
        return score

    @property
    def parameters_sha256(self) -> str:
        """SHA-256 over the bytes of the best parameters, arrays in the order of their names."""
        return parameters.sha256(self.params)
