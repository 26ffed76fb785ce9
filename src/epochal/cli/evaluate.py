"""`epochal evaluate`."""

import time
from typing import Annotated, Literal

from epochal.cli.options import Code, Flat, Json, LoadOptions, RunPath
from epochal.data.options import Reading


def evaluate(
    run: RunPath,
    data: str | None = None,
    *,
    split: Literal["test", "valid", "train", "all"] | None = None,
    code: Annotated[Code, Flat] = Code(),
    reading: LoadOptions = Reading(),
    json: Json = False,
) -> int:
    """Score a run's best parameters; scoring test rows of the run is noted in its ledger.

    Parameters
    ----------
    data
        Left out, or what the run was trained on: the run's own splits. Other data are scored on the split of theirs, or
        on all of their rows where they come in one piece.
    split
        Which rows to score; left out: test, or all rows where they come in one piece.

    """
    from epochal.cli import output
    from epochal.device.placement import granted_bytes
    from epochal.device.residency import scoring
    from epochal.reports.evaluation import evaluate as evaluated
    from epochal.runs.run import load_run
    from epochal.training import ledger

    begun = time.perf_counter()
    fit = load_run(run, model=code.reference, trust=code.trust)
    evaluation = evaluated(fit, data, split, reading)
    seconds = {"load": time.perf_counter() - begun}
    if json:
        residency = scoring(len(evaluation.split), evaluation.split.row_bytes, granted_bytes())
        unseen = evaluation.rows == "all" and not evaluation.known.any
        output.print_json(
            output.outcome(fit, residency, None, seconds)
            | {"data": evaluation.source, "test": evaluation.score.to_json() if unseen else None}
            | {evaluation.rows: evaluation.score.to_json(), "baseline": evaluation.baseline.to_json()}
            | {"known_rows": evaluation.known._asdict(), "notes": list(evaluation.notes)}
        )
        return 0
    for note in evaluation.notes:
        output.say(f"note: {note}")
    print(output.describe_score("all rows" if evaluation.rows == "all" else evaluation.rows, evaluation.score))
    print(f"baseline   {evaluation.baseline}")
    if evaluation.opened_before is not None:
        openings = len(ledger.entries(run))
        print(f"the test split of this run has been opened {openings:,} {'time' if openings == 1 else 'times'}, "
              f"that of these data was {ledger.in_words(evaluation.opened_before)}")  # fmt: skip
    return 0
