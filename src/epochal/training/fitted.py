"""What a run has produced: the best parameters on the validation split, and everything needed to use and judge them."""

import warnings
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from epochal.data.dataset import Dataset, Split
from epochal.data.known_rows import KnownRows
from epochal.data.options import Reading
from epochal.data.preparation import Preparation, Prepared, prepare
from epochal.data.preprocessing import Preprocessing
from epochal.errors import DataError, DataWarning, RunError
from epochal.models import parameters
from epochal.models.base import Model
from epochal.training import ledger
from epochal.training.program import Program
from epochal.training.progress import Best, Epoch, Stopped
from epochal.training.recipe import Recipe
from epochal.training.score import Score


class KnownData(Protocol):
    """What finds the data of a run and recognises their rows: a `Dataset`, or what a run folder keeps of it."""

    @property
    def fingerprint(self) -> str: ...

    @property
    def origin(self) -> str | None: ...

    @property
    def known_rows(self) -> KnownRows: ...

    @property
    def ledger_keys(self) -> tuple[str, ...]: ...


@dataclass(frozen=True, eq=False)
class Fit:
    """A trained classifier: the parameters with the best validation score, and the record of the run.

    `params` are host arrays in the model's own structure (`Variables` of one that keeps a state). `data` is None where
    a saved run was opened without its data; `recorded` then says which they were.
    """

    model: Model
    recipe: Recipe
    program: Program
    params: Any
    best: Best
    epochs: Sequence[Epoch]
    steps: int
    stopped: Stopped
    preparation: Preparation
    seconds: dict[str, float] = field(default_factory=dict)
    data: Dataset | None = None
    folder: Path | None = None
    recorded: KnownData | None = None

    def __repr__(self) -> str:
        best = f"best validation {self.best.valid} at epoch {self.best.epoch:,} of {len(self.epochs):,}"
        keys = self.data.test.opens if self.data else ()
        opened = ledger.opened(self.folder, keys, self.parameters_sha256)
        kept = f", in {self.folder}" if self.folder else ""
        return f"Fit({self.model!r}, {best}, stopped by {self.stopped}, test {opened}{kept})"

    @property
    def fingerprint(self) -> str | None:
        """The fingerprint of the data that the run was trained on."""
        return self._known.fingerprint if self._known else None

    @property
    def origin(self) -> str | None:
        """The path or name of the data that the run was trained on; None for arrays of a program."""
        return self._known.origin if self._known else None

    @property
    def _known(self) -> KnownData | None:
        return self.recorded if self.data is None else self.data

    @property
    def classes(self) -> tuple[str, ...]:
        """Names of the classes, in the order of the codes that `predict` gives."""
        return self.preparation.classes

    @property
    def divisor(self) -> float:
        """What stored features are divided by."""
        return self.preparation.divisor

    @property
    def preprocessing(self) -> Preprocessing | None:
        """How the columns of a table became features; None for a model that was trained on arrays."""
        return self.preparation.preprocessing

    @property
    def known_rows(self) -> KnownRows | None:
        """Digests of the rows of this run; None where its data are not known."""
        return self._known.known_rows if self._known else None

    def predict_proba(self, x: Any, *, divisor: float | None = None) -> np.ndarray:
        """p(class | x) of every row: [rows, classes] in the compute dtype.

        `x` is a frame (pandas, polars, Arrow), a mapping of columns, a path, or an array [rows, *example_shape] as it
        was in training, not yet divided or standardised; or a `Split` of a data set. A model that was trained on a
        table prepares columns as it did then; an array stands for its columns, in their order. `divisor` says what
        features are to be divided by where they are of another kind than in training (1: they are scaled already).

        What is left out, converted or guessed is warned of (`DataWarning`). Raises DataError for rows that are not like
        those of training.

        >>> import epochal
        >>> x = [[(-1) ** i + i / 100] for i in range(36)]
        >>> data = epochal.load((x, ["yes", "no"] * 18))
        >>> fit = epochal.fit(epochal.logistic(), data, epochal.Recipe(learning_rate=1.0, epochs=50))
        >>> fit.predict([[-0.9], [0.95]], names=True)
        array(['no', 'yes'], dtype='<U3')
        """
        return self._probabilities(x, divisor)

    def _probabilities(self, x: Any, divisor: float | None) -> np.ndarray:
        prepared = self.prepare(x, given=Reading(divisor=divisor))
        for note in prepared.notes:
            warnings.warn(note, DataWarning, stacklevel=3)
        return self.probabilities(prepared.split)

    def prepare(self, source: Any, **options: Any) -> Prepared:
        """The rows of `source` as this model wants them; `options` are those of `epochal.data.preparation.prepare`."""
        return prepare(source, self.preparation, known=lambda: self.known_rows, **options)

    def probabilities(self, split: Split) -> np.ndarray:
        """p(class | x) of every row of a split, which brings its own divisor; its labels are not read."""
        if split.example_shape != self.program.example_shape:
            raise DataError(
                f"predict: examples have shape {list(split.example_shape)}, but the model was trained on "
                f"{list(self.program.example_shape)}; bring them to that shape"
            )
        if len(split) == 0:
            return np.zeros((0, len(self.classes)), self.recipe.dtype)
        return self.program.probabilities(self.params, self.program.place(split))

    def predict(self, x: Any, *, names: bool = False, divisor: float | None = None) -> np.ndarray:
        """The most probable class of each row, of equally probable ones the first; `x` is what `predict_proba` takes.

        int32 codes [rows], the places of the classes in `fit.classes`; with `names` the names themselves, as text.
        """
        codes = self._probabilities(x, divisor).argmax(axis=1).astype(np.int32)
        return np.array(self.classes)[codes] if names else codes

    def score(self, rows: Any, *, divisor: float | None = None) -> Score:
        """Zero-one loss over all `rows`: a Split, or what `predict_proba` takes, with labels as (x, y) or in a column.

        Rows of a test split, or of this run's test split in whatever form, are an opening of it: the ledgers count it.
        """
        prepared = self.prepare(rows, labelled=True, given=Reading(divisor=divisor))
        for note in prepared.notes:
            warnings.warn(note, DataWarning, stacklevel=2)
        return self.opened(prepared.split)

    def opened(self, split: Split) -> Score:
        """The score of a split. The ledgers keep it where it holds test rows: there is no other door to those."""
        if split.example_shape != self.program.example_shape:
            raise DataError(
                f"score: examples have shape {list(split.example_shape)}, but the model was trained on "
                f"{list(self.program.example_shape)}; bring them to that shape"
            )
        score = self.program.count_errors(self.params, self.program.place(split))[0]
        if keys := self._ledger_keys(split):
            ledger.record(self.folder, keys, score, self.parameters_sha256, split=bool(split.opens))
        return score

    def _ledger_keys(self, split: Split) -> tuple[str, ...]:
        """The ledgers of the test rows in a split: those that it names, or those of this run whose rows it holds."""
        if (
            split.opens
            or self.known_rows is None
            or (self.data and (split is self.data.valid or split is self.data.train))
        ):
            return split.opens
        return self.ledger_keys if self.known_rows.count(split.x).test else ()

    @property
    def ledger_keys(self) -> tuple[str, ...]:
        """The ledgers of this run's own test split; none where its data are not known."""
        return self._known.ledger_keys if self._known else ()

    def test(self) -> Score:
        """Open the test split and score it. The ledger of its rows, and that of a run folder, keep that it was done.

        Validation has chosen; a test score is for the report alone. Choosing by it makes it a second validation split.
        """
        if self.data is None:
            raise RunError("test: the data of this run are not loaded; open it with epochal.load_run(RUN, data)")
        return self.opened(replace(self.data.test, opens=self.data.ledger_keys))

    @property
    def parameters_sha256(self) -> str:
        """SHA-256 over the bytes of the best parameters, arrays in the order of their names."""
        return parameters.sha256(self.params)
