"""Two plots as SVG text, without a library: bars, and lines over logarithmic axes."""

from collections.abc import Mapping, Sequence
from html import escape
from math import ceil, floor, log10

COLOURS = ("#4269d0", "#b3b8c4", "#ef9b20", "#6cc5b0", "#ff725c")
_WIDTH, _LEFT, _RIGHT, _ROW, _HEAD = 760, 330, 90, 18, 34


def bars(panels: Mapping[str, Sequence[tuple[str, float, int]]], marks: Mapping[str, float], unit: str) -> str:
    """A panel under another; in each, bars of (label, value, colour number), and a line at the panel's mark."""
    parts, top = [], 0
    for title, rows in panels.items():
        most = max([value for _, value, _ in rows] + [marks.get(title, 0.0)])
        scale = (_WIDTH - _LEFT - _RIGHT) / most if most else 0
        parts.append(_text(8, top + 20, title, weight="bold"))
        for number, (label, value, colour) in enumerate(rows):
            y = top + _HEAD + number * _ROW
            parts.append(_text(_LEFT - 6, y + 11, label, anchor="end"))
            parts.append(f'<rect x="{_LEFT}" y="{y}" width="{max(1, value * scale):.1f}" height="{_ROW - 4}" '
                         f'fill="{COLOURS[colour]}"/>')  # fmt: skip
            parts.append(_text(_LEFT + value * scale + 4, y + 11, f"{value:.3g} {unit}"))
        if title in marks:
            x = _LEFT + marks[title] * scale
            parts.append(f'<line x1="{x:.1f}" x2="{x:.1f}" y1="{top + _HEAD - 4}" '
                         f'y2="{top + _HEAD + len(rows) * _ROW}" stroke="#c00" stroke-dasharray="3 2"/>')  # fmt: skip
        top += _HEAD + len(rows) * _ROW + 12
    return _document(_WIDTH, top, parts)


def lines(series: Mapping[str, Sequence[tuple[float, float]]], x_title: str, y_title: str) -> str:
    """Series of (x, y), all above zero, over logarithmic axes with a line at each power of ten."""
    points = [point for each in series.values() for point in each]
    (x0, x1), (y0, y1) = (_decades([point[axis] for point in points]) for axis in (0, 1))
    width, height, left, top = 560, 300, 70, 16

    def at(x: float, y: float) -> tuple[float, float]:
        return left + (log10(x) - x0) / (x1 - x0) * width, top + height - (log10(y) - y0) / (y1 - y0) * height

    parts = []
    for power in range(x0, x1 + 1):
        x = at(10.0**power, 10.0**y0)[0]
        parts.append(f'<line x1="{x:.1f}" x2="{x:.1f}" y1="{top}" y2="{top + height}" stroke="#ddd"/>')
        parts.append(_text(x, top + height + 15, _power(power), anchor="middle"))
    for power in range(y0, y1 + 1):
        y = at(10.0**x0, 10.0**power)[1]
        parts.append(f'<line x1="{left}" x2="{left + width}" y1="{y:.1f}" y2="{y:.1f}" stroke="#ddd"/>')
        parts.append(_text(left - 6, y + 4, _power(power), anchor="end"))
    for number, (name, each) in enumerate(series.items()):
        colour = COLOURS[(0, 2, 3, 4, 1)[number % 5]]
        path = " ".join("{:.1f},{:.1f}".format(*at(*point)) for point in each)
        parts.append(f'<polyline points="{path}" fill="none" stroke="{colour}" stroke-width="2"/>')
        parts += ['<circle cx="{:.1f}" cy="{:.1f}" r="3" fill="{}"/>'.format(*at(*point), colour) for point in each]
        parts.append(_text(left + 10, top + 18 + 16 * number, name, fill=colour, weight="bold"))
    parts.append(_text(left + width / 2, top + height + 34, x_title, anchor="middle"))
    parts.append(f'<g transform="rotate(-90 14 {top + height / 2})">'
                 f"{_text(14, top + height / 2, y_title, anchor='middle')}</g>")  # fmt: skip
    return _document(left + width + 20, top + height + 44, parts)


def _decades(values: Sequence[float]) -> tuple[int, int]:
    low, high = floor(log10(min(values))), ceil(log10(max(values)))
    return low, max(high, low + 1)


def _power(power: int) -> str:
    return "10" + str(power).translate(str.maketrans("-0123456789", "⁻⁰¹²³⁴⁵⁶⁷⁸⁹"))


def _text(x: float, y: float, words: str, anchor: str = "start", fill: str = "#222", weight: str = "normal") -> str:
    return (
        f'<text x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}" fill="{fill}" font-weight="{weight}">'
        f"{escape(words)}</text>"
    )


def _document(width: float, height: float, parts: Sequence[str]) -> str:
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width:.0f} {height:.0f}" width="{width:.0f}" '
        f'height="{height:.0f}" font-family="sans-serif" font-size="12">\n'
        f'<rect width="100%" height="100%" fill="white"/>\n' + "\n".join(parts) + "\n</svg>\n"
    )
