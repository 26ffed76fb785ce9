"""`epochal evaluate`."""

import time
from pathlib import Path
from typing import Annotated, Literal

from epochal.cli.code import Code
from epochal.cli.options import Flag, Flat
from epochal.data.options import Reading


def evaluate(
    run: Path,
    data: str | None = None,
    *,
    split: Literal["test", "valid", "train", "all"] | None = None,
    code: Annotated[Code, Flat] = Code(),
    reading: Annotated[Reading, Flat] = Reading(),
    json: Flag = False,
) -> int:
    """Score a run's best parameters; scoring test rows of the run is noted in its ledger.

    Parameters
    ----------
    run
        A run folder.
    data
        Left out, or what the run was trained on: the run's own splits. Other data are scored on the split of theirs, or
        on all of their rows where they come in one piece.
    split
        Which rows to score; left out: test, or all rows where they come in one piece.
    json
        Print one JSON object on standard output.

    """
    from epochal.cli import output
    from epochal.device.placement import granted_bytes
    from epochal.device.residency import scoring
    from epochal.reports.evaluation import evaluate as evaluated
    from epochal.runs.run import load_run
    from epochal.training import ledger

    begun = time.perf_counter()
    fit = load_run(run, model=code.chosen(), trust=code.trust)
    found = evaluated(fit, data, split, reading)
    seconds = {"load": time.perf_counter() - begun}
    if json:
        residency = scoring(len(found.split), found.split.row_bytes, granted_bytes())
        unseen = found.rows == "all" and not found.known.any
        output.print_json(
            output.outcome(fit, residency, None, seconds)
            | {"data": found.source, "test": found.score.to_json() if unseen else None}
            | {found.rows: found.score.to_json(), "baseline": found.baseline.to_json()}
            | {"known_rows": found.known._asdict(), "notes": list(found.notes)}
        )
        return 0
    for note in found.notes:
        output.say(f"note: {note}")
    print(output.describe_score("all rows" if found.rows == "all" else found.rows, found.score))
    print(f"baseline   {found.baseline}")
    if found.opened_before is not None:
        openings = len(ledger.entries(run))
        print(f"the test split of this run has been opened {openings:,} {'time' if openings == 1 else 'times'}, "
              f"that of these data was {ledger.in_words(found.opened_before)}")  # fmt: skip
    return 0
