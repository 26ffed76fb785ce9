"""The standings of a selection as a table (terminal, CSV, JSON), and as an SVG plot of the error by setting."""

import csv
import io
from collections.abc import Sequence
from html import escape
from itertools import pairwise
from math import isfinite, log10
from typing import Any

from epochal.selection.candidate import Standing, shown

_WIDTH, _HEIGHT, _LEFT, _BELOW = 300, 240, 52, 46
_PANELS = 3  # beside one another


def names(standings: Sequence[Standing]) -> list[str]:
    """The settings that vary, in the order of a candidate that reads most."""
    fullest = sorted((standing.candidate.varied for standing in standings), key=len, reverse=True)
    return list(dict.fromkeys(name for varied in fullest for name in varied))


def text(standings: Sequence[Standing], limit: int = 20) -> str:
    """Aligned columns, the best `limit` candidates; rows that share seeds have deviation and spread."""
    settings, several = names(standings), any(len(standing.scores) > 1 for standing in standings)
    header = ["", *settings, "wrong of rows", "valid %", "95 % interval"]
    header += ["± dev.", "spread"] if several else []
    rows = [[*header, "steps", "stopped", "p"]]
    rows += [_row(place, standing, settings, several) for place, standing in enumerate(standings[:limit], 1)]
    widths = [max(len(row[i]) for row in rows) for i in range(len(rows[0]))]
    lines = ["  ".join(cell.rjust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows]
    left = len(standings) - limit
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


def csv_text(standings: Sequence[Standing]) -> str:
    """One line a candidate, best first; empty where there is no value."""
    settings, out = names(standings), io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    measured = ["valid_percent", "deviation", "least", "most", "wrong", "of", "low95", "high95", "p"]
    measured += ["steps", "stopped"]
    writer.writerow(["place", "candidate", *settings, *measured])
    for place, standing in enumerate(standings, 1):
        values = record(standing)
        varied = [values["varied"].get(name, "") for name in settings]
        writer.writerow([place, values["number"], *varied, *("" if values[n] is None else values[n] for n in measured)])
    return out.getvalue()


def record(standing: Standing) -> dict[str, Any]:
    """A candidate's line as plain values; errors in percent, None where there is no value."""
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


def svg(standings: Sequence[Standing]) -> str:
    """A panel for each setting; a dot a candidate, the chosen one filled. Log-spaced numbers get a log axis."""
    scored = [standing for standing in standings if standing.scores]
    settings = names(scored)
    across, down = min(_PANELS, max(1, len(settings))), -(-max(1, len(settings)) // _PANELS)
    panels = [_panel(name, scored, i) for i, name in enumerate(settings)]
    size = f'width="{across * _WIDTH}" height="{down * _HEIGHT}" viewBox="0 0 {across * _WIDTH} {down * _HEIGHT}"'
    head = f'<svg xmlns="http://www.w3.org/2000/svg" {size} font-family="sans-serif" font-size="11">'
    return "\n".join([head, '<rect width="100%" height="100%" fill="white"/>', *panels, "</svg>", ""])


def is_log(values: Sequence[float]) -> bool:
    """Whether positive numbers are better spaced on a log axis: their ratios differ less than their differences do.

    >>> is_log([0.001, 0.01, 0.1]), is_log([100, 200, 300]), is_log([0, 1, 10])
    (True, False, False)
    """
    distinct = sorted(set(values))
    if len(distinct) < 2 or distinct[0] <= 0 or distinct[-1] / distinct[0] < 5:
        return False
    steps, ratios = [b - a for a, b in pairwise(distinct)], [log10(b / a) for a, b in pairwise(distinct)]
    return max(ratios) / min(ratios) <= max(steps) / min(steps) or distinct[-1] / distinct[0] >= 100


def _panel(name: str, standings: Sequence[Standing], place: int) -> str:
    values: list[Any] = [standing.candidate.varied.get(name) for standing in standings]
    numeric = all(isinstance(v, (int, float)) and not isinstance(v, bool) and isfinite(v) for v in values)
    log = numeric and is_log([float(v) for v in values])
    ticks = sorted(set(values)) if numeric else list(dict.fromkeys(map(str, values)))
    # A zero among powers of ten has no place on a log axis: such values are set side by side, as words are.
    beside = not numeric or (ticks[0] == 0 and is_log([tick for tick in ticks if tick > 0]))
    at = {tick: float(i) if beside else log10(tick) if log else float(tick) for i, tick in enumerate(ticks)}
    errors = [standing.mean for standing in standings]
    left, top = _LEFT, 14
    right, bottom = _WIDTH - 14, _HEIGHT - _BELOW

    def x(value: object) -> float:
        return _between(at[value if numeric else str(value)], min(at.values()), max(at.values()), left + 12, right - 12)

    def y(error: float) -> float:
        return _between(error, max(errors), min(errors), top + 8, bottom - 8)

    parts = [f'<g transform="translate({place % _PANELS * _WIDTH},{place // _PANELS * _HEIGHT})">']
    parts.append(f'<path d="M{left},{top}V{bottom}H{right}" fill="none" stroke="#888"/>')
    labelled = ticks if len(ticks) <= 6 else [ticks[0], ticks[len(ticks) // 2], ticks[-1]]
    parts += [
        f'<text x="{x(tick):.1f}" y="{bottom + 15}" text-anchor="middle">{escape(_short(shown(tick)))}</text>'
        for tick in labelled
    ]
    parts += [
        f'<text x="{left - 5}" y="{y(error) + 4:.1f}" text-anchor="end">{error:.2f}</text>'
        for error in sorted({min(errors), max(errors)})
    ]
    middle = f'x="{(left + right) / 2}" y="{_HEIGHT - 12}" text-anchor="middle"'
    parts.append(f"<text {middle}>{escape(name)}{' (log)' if log else ''}</text>")
    parts.append(
        f'<text transform="translate(13,{(top + bottom) / 2}) rotate(-90)" text-anchor="middle">valid %</text>'
    )
    for i, (value, error) in reversed(list(enumerate(zip(values, errors, strict=True)))):
        fill = "#c00" if i == 0 else "none"
        dot = f'cx="{x(value):.1f}" cy="{y(error):.1f}" r="4" fill="{fill}" stroke="{"#c00" if i == 0 else "#36c"}"'
        parts.append(f"<circle {dot}><title>{escape(str(standings[i].candidate))}: {error:.2f} %</title></circle>")
    return "\n".join([*parts, "</g>"])


def _short(text: str) -> str:
    return text if len(text) <= 14 else f"{text[:13]}…"


def _between(value: float, low: float, high: float, first: float, last: float) -> float:
    return (first + last) / 2 if high == low else first + (value - low) / (high - low) * (last - first)
