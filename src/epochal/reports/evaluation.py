"""Evaluates a trained model: its score, on which rows, how many of them are known to it, and the majority baseline."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from epochal.data.dataset import SPLITS, Dataset, Split
from epochal.data.known_rows import Counts
from epochal.data.loading import absolute, load
from epochal.data.options import Reading
from epochal.data.rows import joined
from epochal.errors import DataError
from epochal.runs.run import training_data
from epochal.training import ledger
from epochal.training.fitted import Fit
from epochal.training.score import Score


@dataclass(frozen=True)
class Baseline:
    """The score of always answering `name`, the commonest class of the train rows."""

    name: str
    score: Score

    def to_json(self) -> dict[str, Any]:
        return {"class": self.name} | self.score.to_json()

    def __str__(self) -> str:
        return f"always {self.name!r}: {self.score}"


@dataclass(frozen=True)
class Evaluation:
    """The score of some rows. `rows` says which: train, valid, test, or all of a source that comes in one piece.

    `known` counts the rows that the run knows from its own splits. `opened_before` is how often the test rows had been
    opened, None where none are among these.
    """

    score: Score
    rows: str
    source: str
    split: Split
    baseline: Baseline
    known: Counts
    opened_before: int | None
    notes: tuple[str, ...]


def baseline(fit: Fit, split: Split) -> Baseline:
    """The score of always answering the commonest class of the train rows."""
    code = int(np.argmax(fit.preparation.counts))
    return Baseline(fit.classes[code], Score(int((split.y != code).sum()), len(split)))


def remarks(fit: Fit, split: Split, score: Score) -> list[str]:
    """Warnings about a score that shows no learning, one a line."""
    lines, always = [], baseline(fit, split)
    if score.wrong >= always.score.wrong:
        lines.append(
            f"the error of {score.percent:.2f} % is no better than always answering {always.name!r} "
            f"({always.score.percent:.2f} %)"
        )
    counts = np.bincount(split.y, minlength=len(fit.classes))
    if score.wrong in (len(split) - counts).tolist():  # else more than one class must have been predicted
        predicted = np.unique(fit.probabilities(split).argmax(axis=1))
        if len(predicted) == 1:
            lines.append(f"one class alone, {fit.classes[int(predicted[0])]!r}, is predicted for all {score.of:,} rows")
    return lines


def evaluate(fit: Fit, source: str | None = None, part: str | None = None, given: Reading | None = None) -> Evaluation:
    """Score a part of `source`: train, valid, test, or all of it.

    Without a source, or where it is what the run was trained on, the parts are those of the run, and "test" is the
    usual one. Other sources have the splits that they bring, or come in one piece. Where test rows of the run are
    among the rows, the ledgers count an opening. Raises DataError, RunError.
    """
    data = _data_of_run(fit, source, given)
    if data is not None:
        split, rows = _part(data, part or "test"), part or "test"
        if rows == "test":
            split = replace(split, opens=data.ledger_keys)
        name, notes = data.source, []
        counts = Counts(*(len(getattr(data, name)) if rows in (name, "all") else 0 for name in SPLITS))
        if source is not None:
            notes = [f"{source} is what this run was trained on; scored are its {_words(rows)}"]
    else:
        prepared = fit.prepare(source, part=part, labelled=True, given=given)
        split, rows, name, notes = prepared.split, prepared.part, prepared.name, [*prepared.inferred, *prepared.notes]
        counts = _counts(fit, split)
        if counts.any and rows == "test" and counts.train + counts.valid:
            rows = "all"
    notes += _of_known(fit, counts, len(split)) if rows == "all" or data is None else []
    before = ledger.openings(fit.ledger_keys) if split.opens or counts.test else None
    score = fit.opened(split)
    if data is not None and rows == "valid" and fit.stopped != "refit" and score != fit.best.valid:
        notes.append(
            f"in training {fit.best.valid} of these rows were wrong; the model's code is another one, or this machine "
            f"rounds otherwise"
        )
    return Evaluation(
        score, rows, name, split, baseline(fit, split), counts, before, (*notes, *remarks(fit, split, score))
    )  # fmt: skip


def predicted_rows(fit: Fit, source: str, part: str, given: Reading) -> tuple[Split, tuple[str, ...]]:
    """The rows of a part of `source`, which may be the run's own data, to predict; and notes on them."""
    if part != "all" and (data := _data_of_run(fit, source, given)) is not None:
        return _part(data, part), (f"{source} is what this run was trained on; predicted are its {_words(part)}",)
    prepared = fit.prepare(source, part=part, given=given)
    return prepared.split, (
        *prepared.inferred,
        *prepared.notes,
        *_of_known(fit, _counts(fit, prepared.split), len(prepared.split)),
    )


def _data_of_run(fit: Fit, source: Any, given: Reading | None) -> Dataset | None:
    """The data of the run, where `source` is nothing else, by its path or by its rows."""
    if source is None:
        if fit.data is not None:
            return fit.data
        assert fit.folder is not None
        return training_data(fit.folder)
    reading = fit.preparation.reading
    options = given.to_dict() if given else {}
    if any(options[name] != reading.to_dict().get(name) for name in options):
        return None  # read in another way, it is another data set
    try:
        if fit.folder is not None and absolute(source) == fit.origin:
            return training_data(fit.folder)
        if reading.valid or reading.test or fit.known_rows is None:
            return None
        prepared = fit.prepare(source)
        if (
            len(prepared.split) == fit.known_rows.rows
            and fit.known_rows.count(prepared.split.x).any == fit.known_rows.rows
        ):
            loaded = load(source, reading)
            return loaded if loaded.fingerprint == fit.fingerprint else None
    except DataError:
        return None  # what is wrong with it is said when it is read as another source
    return None


def _part(data: Dataset, part: str) -> Split:
    if part != "all":
        return getattr(data, part)
    x = joined([split.x for split in data])
    return Split(x, np.concatenate([split.y for split in data]), data.divisor)


def _counts(fit: Fit, split: Split) -> Counts:
    if fit.known_rows is None or split.x.dtype != fit.preparation.dtype:
        return Counts(0, 0, 0)
    return fit.known_rows.count(split.x)


def _words(rows: str) -> str:
    return "train, validation and test rows" if rows == "all" else f"{rows} rows"


def _of_known(fit: Fit, counts: Counts, rows: int) -> Sequence[str]:
    """A note on rows that the run knows."""
    if not counts.any:
        return []
    about = "" if fit.known_rows is None or fit.known_rows.exact else "about "
    return [
        f"of these {rows:,} rows {about}{counts.train:,} were trained on, {counts.valid:,} chose the parameters, "
        f"{counts.test:,} are test rows of the run"
    ]
