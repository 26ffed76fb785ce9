"""Parts of the page that come from other runs than the comparison: scaling and the GPU; and tables."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import svg

GPU_GOALS = {
    ("W1", "torch eager"): 0.1,
    ("W2", "torch eager"): 0.1,
    ("W3", "torch eager"): 0.1,
    ("W1", "CUDA graph"): 1.0,
    ("W2", "CUDA graph"): 1.0,
    ("W3", "CUDA graph"): 1.0,
    ("W4", "torch.compile"): 1.0,
}
"""The most that epochal's seconds may be of the other's."""


def table(titles: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """A Markdown table."""
    lines = [titles, ["---"] * len(titles), *rows]
    return "\n".join("| " + " | ".join(cell.replace("|", "\\|") for cell in row) + " |" for row in lines)


def number(value: float | None, form: str) -> str:
    """The number in a cell, or a dash."""
    return "–" if value is None else form.format(value)


def scaling_section(told: dict[str, Any] | None, out: Path) -> str:
    """Seconds and memory over rows, from what scaling.py wrote; the plot goes beside `out`."""
    if told is None:
        return ""
    path = out.with_name(f"{out.stem}-scaling.svg")
    series = {kind: [(p["rows"], p["epoch_seconds"]) for p in points] for kind, points in told["series"].items()}
    path.write_text(svg.lines(series, "train rows", "seconds an epoch"), encoding="utf-8")
    rows = [
        [
            kind,
            f"{p['rows']:,}",
            f"{p['steps']:,}",
            f"{p['epoch_seconds']:.4g}",
            f"{1e9 * p['epoch_seconds'] / p['rows']:,.0f}",
            f"{p['data_bytes'] / 1e6:,.1f}",
            f"{p['own_bytes'] / 1e6:,.0f}",
        ]
        for kind, points in told["series"].items()
        for p in points
    ]
    return (
        f"## Cost in rows and steps\n\n`{told['command']}`, {told['date'][:10]}, {told['machine']}. {told['what']}\n\n"
        f"![Seconds an epoch over train rows]({path.name})\n\n"
        + table(["residency", "rows", "steps", "s/epoch", "ns/row", "data MB", "MB besides data"], rows)
    )


def gpu_section(told: dict[str, Any] | None) -> str:
    """Seconds an epoch on a GPU and the goals, from what gpu.py wrote."""
    if told is None:
        return "## On a GPU\n\nThis has not been run on a GPU; `python benchmarks/gpu.py` does it."
    works = told["works"]
    rows = [
        [name, *(number(work["seconds"].get(way), "{:.4g}") for way in told["ways"]), f"{work['floor_seconds']:.4g}"]
        for name, work in works.items()
    ]
    goals = []
    for (name, way), most in GPU_GOALS.items():
        seconds = works.get(name, {}).get("seconds", {})
        if "epochal" in seconds and way in seconds:
            ratio = seconds["epochal"] / seconds[way]
            reached = "reached" if ratio <= most else "**not reached**"
            goals.append([name, way, f"≤ {most:.2f}", f"{ratio:.2f}", reached])
    text = f"## On a GPU\n\n`{told['command']}`, {told['date'][:10]}, {told['device']}; seconds an epoch.\n\n"
    text += table(["work", *told["ways"], "floor"], rows)
    return text + ("\n\n" + table(["work", "against", "goal", "here", ""], goals) if goals else "")
