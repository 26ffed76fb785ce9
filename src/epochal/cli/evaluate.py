"""`epochal evaluate`."""

import time
from pathlib import Path
from typing import Annotated, Literal

from epochal.cli.code import Code
from epochal.cli.options import Flag, Flat
from epochal.reading import Reading


def evaluate(
    run: Path,
    data: str | None = None,
    *,
    split: Literal["test", "valid", "train"] = "test",
    code: Annotated[Code, Flat] = Code(),
    reading: Annotated[Reading, Flat] = Reading(),
    json: Flag = False,
) -> int:
    """Score a run's best parameters; scoring the test split is noted in the run's ledger.

    Parameters
    ----------
    run
        A run folder.
    data
        Left out: the data that the run was trained on. Other data are scored on the same split of theirs, or on all of
        their rows where they come in one piece.
    split
        Which split to score.
    json
        Print one JSON object on standard output.

    """
    from epochal import ledger
    from epochal.cli import output
    from epochal.loading import scored
    from epochal.placement import granted_bytes
    from epochal.residency import scoring
    from epochal.run import load_run, merged, stored, training_data
    from epochal.sources import read

    begun = time.perf_counter()
    fit = load_run(run, model=code.chosen(), trust=code.trust)
    if data is None:
        dataset = training_data(run)
        chosen, source, fingerprint = getattr(dataset, split), dataset.source, dataset.fingerprint
    else:
        reading = merged(run, reading)
        raw = read(data, reading)
        chosen = scored(raw, split, reading, fit.classes, fit.preprocessing, stored(run))
        source, fingerprint = raw.name, None
    seconds = {"load": time.perf_counter() - begun}
    score = fit.score(chosen)
    if data is None and split == "valid":
        output.note_other_score(fit, score)
    openings, before = None, 0
    if fingerprint is not None and split == "test":
        before = ledger.openings(fingerprint)
        ledger.record(run, fingerprint, score, fit.parameters_sha256)
        openings = len(ledger.entries(run))
    if json:
        residency = scoring(len(chosen), chosen.row_bytes, granted_bytes())
        output.print_json(output.outcome(fit, residency, None, seconds) | {"data": source, split: score.to_json()})
        return 0
    print(output.describe_score(split, score))
    if openings:
        print(f"the test split of this run has been opened {openings:,} {'time' if openings == 1 else 'times'}, "
              f"that of these data was {ledger.told(before)}")  # fmt: skip
    return 0
