"""The validation error against each setting that varied, as an SVG picture: one panel a setting."""

from collections.abc import Sequence
from html import escape
from itertools import pairwise
from math import isfinite, log10
from typing import Any

from epochal.selection.candidate import Standing, shown
from epochal.selection.table import names

_WIDTH, _HEIGHT, _LEFT, _BELOW = 300, 240, 52, 46
_PANELS = 3  # beside one another


def svg(found: Sequence[Standing]) -> str:
    """A panel for each setting; a dot a candidate, the chosen one filled. Log-spaced numbers get a log axis."""
    shownable = [standing for standing in found if standing.scores]
    settings = names(shownable)
    across, down = min(_PANELS, max(1, len(settings))), -(-max(1, len(settings)) // _PANELS)
    panels = [_panel(name, shownable, i) for i, name in enumerate(settings)]
    size = f'width="{across * _WIDTH}" height="{down * _HEIGHT}" viewBox="0 0 {across * _WIDTH} {down * _HEIGHT}"'
    head = f'<svg xmlns="http://www.w3.org/2000/svg" {size} font-family="sans-serif" font-size="11">'
    return "\n".join([head, '<rect width="100%" height="100%" fill="white"/>', *panels, "</svg>", ""])


def is_log(values: Sequence[float]) -> bool:
    """Whether positive numbers are better spaced on a log axis: their ratios differ less than their differences do.

    >>> is_log([0.001, 0.01, 0.1]), is_log([100, 200, 300]), is_log([0, 1, 10])
    (True, False, False)
    """
    apart = sorted(set(values))
    if len(apart) < 2 or apart[0] <= 0 or apart[-1] / apart[0] < 5:
        return False
    steps, ratios = [b - a for a, b in pairwise(apart)], [log10(b / a) for a, b in pairwise(apart)]
    return max(ratios) / min(ratios) <= max(steps) / min(steps) or apart[-1] / apart[0] >= 100


def _panel(name: str, found: Sequence[Standing], place: int) -> str:
    values: list[Any] = [standing.candidate.varied.get(name) for standing in found]
    numeric = all(isinstance(v, (int, float)) and not isinstance(v, bool) and isfinite(v) for v in values)
    log = numeric and is_log([float(v) for v in values])
    ticks = sorted(set(values)) if numeric else list(dict.fromkeys(map(str, values)))
    # A zero among powers of ten has no place on a log axis: such values are set side by side, as words are.
    beside = not numeric or (ticks[0] == 0 and is_log([tick for tick in ticks if tick > 0]))
    at = {tick: float(i) if beside else log10(tick) if log else float(tick) for i, tick in enumerate(ticks)}
    errors = [standing.mean for standing in found]
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
        parts.append(f"<circle {dot}><title>{escape(str(found[i].candidate))}: {error:.2f} %</title></circle>")
    return "\n".join([*parts, "</g>"])


def _short(text: str) -> str:
    return text if len(text) <= 14 else f"{text[:13]}…"


def _between(value: float, low: float, high: float, first: float, last: float) -> float:
    return (first + last) / 2 if high == low else first + (value - low) / (high - low) * (last - first)
