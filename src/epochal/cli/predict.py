"""`epochal predict`."""

from pathlib import Path
from typing import Annotated, Literal

from epochal.cli.options import Code, Flag, Flat, Json, LoadOptions, RunPath
from epochal.data.options import Reading
from epochal.errors import RecipeError


def predict(
    run: RunPath,
    data: str,
    *,
    split: Literal["all", "train", "valid", "test"] = "all",
    out: Path | None = None,
    escape_formulas: Flag = False,
    code: Annotated[Code, Flat] = Code(),
    reading: LoadOptions = Reading(),
    json: Json = False,
) -> int:
    """Predict the class of every row, with all classes' probabilities.

    Parameters
    ----------
    data
        Features in any form that train reads; labels, if there are any, are not looked at.
    split
        The part of the data, where they come in parts, or are what the run was trained on; all: every row, train first.
    out
        Where to write: .csv, .jsonl or .npz; left out: CSV on standard output. Of files that are there already, only
        predictions are replaced.
    escape_formulas
        In CSV: an apostrophe before a class that a spreadsheet would take for a formula (it begins with = + - or @).

    """
    from epochal.cli import output, predictions
    from epochal.reports.evaluation import predicted_rows
    from epochal.runs.run import load_run

    if out is None and json:
        raise RecipeError("--json: needs --out FILE for the predictions, standard output is for one JSON object")
    if out is not None:
        predictions.check_place(out, (data, reading.valid, reading.test, reading.labels_from))
        if escape_formulas and out.suffix != ".csv":
            raise RecipeError(f"--escape-formulas: is of CSV alone, and --out is {out}; leave it out")
    fit = load_run(run, model=code.reference, trust=code.trust)
    rows, notes = predicted_rows(fit, data, split, reading)
    for note in notes:
        output.say(f"note: {note}")
    p = fit.probabilities(rows)
    predictions.write(out, p, fit.classes, escape_formulas=escape_formulas)
    if json:
        output.print_json(
            {
                "run": str(run),
                "data": data,
                "rows": len(p),
                "out": str(out),
                "classes": list(fit.classes),
                "notes": list(notes),
            }
        )
    return 0
