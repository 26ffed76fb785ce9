"""Compares two runs on the same rows: how many each gets wrong alone, and whether that is more than chance."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from epochal.errors import RunError
from epochal.runs.run import load_run, training_data
from epochal.training import ledger
from epochal.training.fitted import Fit
from epochal.training.score import Score
from epochal.training.significance import mcnemar


@dataclass(frozen=True)
class Comparison:
    """Wrong rows of two classifiers among the same rows; `p` is McNemar's exact two-sided p-value."""

    first: Score
    second: Score
    both: int
    first_alone: int
    second_alone: int

    @classmethod
    def of(cls, first_missed: np.ndarray, second_missed: np.ndarray) -> "Comparison":
        """From which rows each gets wrong: bool [rows] each."""
        rows = len(first_missed)
        wrong = [Score(int(missed.sum()), rows) for missed in (first_missed, second_missed)]
        alone = int((first_missed & ~second_missed).sum()), int((second_missed & ~first_missed).sum())
        return cls(wrong[0], wrong[1], int((first_missed & second_missed).sum()), *alone)

    @property
    def p(self) -> float:
        """How likely a difference as large as this, or larger, is if both are equally good."""
        return mcnemar(self.first_alone, self.second_alone)

    def to_json(self) -> dict[str, Any]:
        scores = {"first": self.first.to_json(), "second": self.second.to_json()}
        counts = {"both": self.both, "first_alone": self.first_alone, "second_alone": self.second_alone}
        return scores | counts | {"p": self.p}


def compare_runs(first: Path, second: Path, *, test: bool = False, trust: bool = False) -> Comparison:
    """The two runs on their validation split, or with `test` on the test split, which is then opened for both.

    `trust` executes the code in their folders, whoever has written it.
    Raises RunError where a folder is no run, or where their data are not the same; DataError where those have changed.
    """
    fits = [load_run(path, trust=trust) for path in (first, second)]
    data = training_data(first)
    other = training_data(second)
    if data.fingerprint != other.fingerprint:
        raise RunError(
            f"{first} and {second}: were trained on different data, {data.source} ({data.fingerprint[:12]}…) and "
            f"{other.source} ({other.fingerprint[:12]}…); only the same rows can be compared"
        )
    split = data.test if test else data.valid
    missed = [_missed(fit, split) for fit in fits]
    if test:
        for path, fit, wrong in zip((first, second), fits, missed, strict=True):
            score = Score(int(wrong.sum()), len(wrong))
            ledger.record(path, data.ledger_keys, score, fit.parameters_sha256)
    return Comparison.of(*missed)


def _missed(fit: Fit, split: Any) -> np.ndarray:
    return fit.probabilities(split).argmax(axis=1) != split.y
