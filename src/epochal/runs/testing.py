"""The test split of a run is opened once, and every opening is counted."""

from typing import NamedTuple

from epochal.errors import RunError
from epochal.training import ledger
from epochal.training.fitted import Fit
from epochal.training.score import Score


class Opening(NamedTuple):
    """The score of the test split, and how often it had been opened before."""

    score: Score
    before: int


def open_once(fit: Fit) -> Opening:
    """The score of the test split of a run, which is opened unless the run's ledger has it for these parameters.

    So a run that was killed after it had opened the split does not open it twice. Raises RunError, StorageError.
    """
    if fit.folder is None or fit.data is None:
        raise RunError("test: the run has no folder, or its data are not loaded")
    for entry in ledger.entries(fit.folder):
        score = entry.get("test")
        if score and entry["parameters_sha256"] == fit.parameters_sha256 and score["of"] == len(fit.data.test):
            return Opening(Score(score["wrong"], score["of"]), entry["opened_before"])
    before = ledger.openings(fit.data.ledger_keys)
    return Opening(fit.test(), before)
