"""`epochal evaluate`."""

import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

from cyclopts import Parameter

from epochal.cli.options import Flag, Reading
from epochal.errors import DataError

if TYPE_CHECKING:
    from epochal.dataset import Dataset
    from epochal.fitted import Fit


def evaluate(
    run: Path,
    data: str | None = None,
    *,
    split: Literal["test", "valid", "train"] = "test",
    reading: Annotated[Reading, Parameter(name="*")] = Reading(),
    json: Flag = False,
) -> int:
    """Score a run's best parameters; scoring the test split is noted in the run's ledger.

    Parameters
    ----------
    run
        A run folder.
    data
        Left out: the data that the run was trained on. Other data are scored on the same split of theirs.
    split
        Which split to score.
    json
        Print one JSON object on standard output.

    """
    from epochal import ledger
    from epochal.cli import output
    from epochal.placement import granted_bytes
    from epochal.residency import scoring
    from epochal.run import load_run, training_data

    begun = time.perf_counter()
    fit = load_run(run)
    dataset = _same_kind(reading.load(data), fit) if data else training_data(run)
    seconds = {"load": time.perf_counter() - begun}
    chosen = getattr(dataset, split)
    score = fit.score(chosen)
    openings = None
    if split == "test":
        openings = ledger.record(run, dataset.fingerprint, score, fit.parameters_sha256)
    if json:
        residency = scoring(len(chosen), chosen.row_bytes, granted_bytes())
        output.print_json(
            output.outcome(fit, residency, None, seconds) | {"data": dataset.source, split: score.to_json()}
        )
        return 0
    print(output.describe_score(split, score))
    if openings:
        print(f"the test split of this run has been opened {openings:,} {'time' if openings == 1 else 'times'}")
    return 0


def _same_kind(dataset: "Dataset", fit: "Fit") -> "Dataset":
    """Other data than the run's, if the run's model can score them."""
    if dataset.example_shape != fit.program.example_shape or dataset.classes != fit.classes:
        here = f"examples {list(dataset.example_shape)} and {len(dataset.classes)} classes"
        there = f"{list(fit.program.example_shape)} and {len(fit.classes)} ({', '.join(fit.classes[:5])}, …)"
        raise DataError(f"{dataset.source}: has {here}, but the run has {there}; bring data alike")
    return dataset
