"""`epochal predict`."""

import csv
import io
import json as jsonlib
import sys
from pathlib import Path
from typing import Annotated, Any, Literal

from epochal.cli.code import Code
from epochal.cli.options import Flag, Flat
from epochal.errors import RecipeError
from epochal.reading import Reading

_FORMS = (".csv", ".jsonl", ".npz")


def predict(
    run: Path,
    data: str,
    *,
    split: Literal["all", "train", "valid", "test"] = "all",
    out: Path | None = None,
    code: Annotated[Code, Flat] = Code(),
    reading: Annotated[Reading, Flat] = Reading(),
    json: Flag = False,
) -> int:
    """Predict the class of every row, with all classes' probabilities.

    Parameters
    ----------
    run
        A run folder.
    data
        Features in any form that train reads; labels, if there are any, are not looked at.
    split
        The part of the data, where they come in parts, or are what the run was trained on; all: every row, train first.
    out
        Where to write: .csv, .jsonl or .npz; left out: CSV on standard output.
    json
        Print one JSON object on standard output, about what was written.

    """
    from epochal.cli import output
    from epochal.evaluation import predicted_rows
    from epochal.run import load_run

    if out is not None and out.suffix not in _FORMS:
        raise RecipeError(f"--out {out}: must end in one of {', '.join(_FORMS)}")
    if out is None and json:
        raise RecipeError("--json: needs --out FILE for the predictions, standard output is for one JSON object")
    fit = load_run(run, model=code.chosen(), trust=code.trust)
    rows, notes = predicted_rows(fit, data, split, reading)
    for note in notes:
        output.say(f"note: {note}")
    p = fit.probabilities(rows)
    write(out, p, fit.classes)
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


def write(out: Path | None, p: Any, classes: tuple[str, ...]) -> None:
    """Predictions to a file of the form that its name says, whole or not at all, or as CSV to standard output."""
    import numpy as np

    from epochal import atomic

    labels = p.argmax(axis=1)
    if out is not None and out.suffix == ".npz":
        buffer = io.BytesIO()
        np.savez(buffer, label=labels.astype(np.int32), probabilities=p, classes=np.array(classes))
        atomic.write(out, buffer.getvalue())
        return
    text = io.StringIO()
    if out is not None and out.suffix == ".jsonl":
        for row, (label, ps) in enumerate(zip(labels.tolist(), p.tolist(), strict=True)):
            told = {"row": row, "class": classes[label], "probabilities": dict(zip(classes, ps, strict=True))}
            text.write(jsonlib.dumps(told) + "\n")
    else:
        table = csv.writer(text, lineterminator="\n")
        table.writerow(["row", "class", *(f"p({name})" for name in classes)])
        for row, (label, ps) in enumerate(zip(labels.tolist(), p, strict=True)):
            table.writerow([row, classes[label], *(f"{value:.6g}" for value in ps)])
    if out is None:
        sys.stdout.write(text.getvalue())
    else:
        atomic.write(out, text.getvalue().encode())
