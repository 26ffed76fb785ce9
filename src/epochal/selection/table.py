"""The result of a selection as a table: for a terminal, as CSV, as JSON."""

import csv
import io
from collections.abc import Sequence
from typing import Any

from epochal.selection.candidate import Standing, shown


def names(found: Sequence[Standing]) -> list[str]:
    """The settings that vary, in the order of a candidate that reads most."""
    fullest = sorted((standing.candidate.varied for standing in found), key=len, reverse=True)
    return list(dict.fromkeys(name for varied in fullest for name in varied))


def text(found: Sequence[Standing], most: int = 20) -> str:
    """Aligned columns, the best `most` candidates; rows that share seeds have deviation and spread."""
    settings, several = names(found), any(len(standing.scores) > 1 for standing in found)
    header = ["", *settings, "wrong of rows", "valid %", "95 % interval"]
    header += ["± dev.", "spread"] if several else []
    rows = [[*header, "steps", "stopped", "p"]]
    rows += [_row(place, standing, settings, several) for place, standing in enumerate(found[:most], 1)]
    widths = [max(len(row[i]) for row in rows) for i in range(len(rows[0]))]
    lines = ["  ".join(cell.rjust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows]
    left = len(found) - most
    return "\n".join(lines + ([f"and {left:,} more, in results.csv"] if left > 0 else []))


def _row(place: int, standing: Standing, settings: Sequence[str], several: bool) -> list[str]:
    row = [str(place), *(shown(standing.candidate.varied.get(name, "–")) for name in settings)]
    score = standing.score
    if score is None:
        row += ["–"] * (5 if several else 3)
    else:
        low, high = score.interval95
        row += [f"{score.wrong:,} / {score.of:,}", f"{standing.mean:.2f}", f"{low:.2f}–{high:.2f}"]
        if several:
            deviation = f"{standing.deviation:.2f}" if standing.deviation is not None else "–"
            row += [deviation, "{:.2f}–{:.2f}".format(*standing.spread)]
    p = "" if standing.p is None else f"{standing.p:.2g}"
    return [*row, f"{standing.steps:,}", standing.stopped, p]


def csv_text(found: Sequence[Standing]) -> str:
    """One line a candidate, best first; empty where there is no value."""
    settings, out = names(found), io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    measured = [
        "valid_percent",
        "deviation",
        "least",
        "most",
        "wrong",
        "of",
        "low95",
        "high95",
        "p",
        "steps",
        "stopped",
    ]
    writer.writerow(["place", "candidate", *settings, *measured])
    for place, standing in enumerate(found, 1):
        told = record(standing)
        varied = [told["varied"].get(name, "") for name in settings]
        writer.writerow([place, told["number"], *varied, *("" if told[n] is None else told[n] for n in measured)])
    return out.getvalue()


def record(standing: Standing) -> dict[str, Any]:
    """A candidate's line as plain values; percentages, None where there is no value."""
    score, candidate = standing.score, standing.candidate
    low, high = score.interval95 if score else (None, None)
    least, most = standing.spread if score else (None, None)
    return {
        **candidate.to_json(),
        "valid_percent": standing.mean if score else None,
        "deviation": standing.deviation,
        "least": least,
        "most": most,
        "wrong": score.wrong if score else None,
        "of": score.of if score else None,
        "low95": low,
        "high95": high,
        "p": standing.p,
        "steps": standing.steps,
        "stopped": standing.stopped,
        "trials": [
            {"seed": o.trial.seed, "fold": o.trial.fold, "step": o.step, "steps": o.steps, "stopped": o.stopped}
            | {"wrong": o.valid.wrong if o.valid else None, "of": o.valid.of if o.valid else None}
            for o in standing.outcomes
        ],
    }
