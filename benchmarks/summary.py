"""From raw results to figures: medians, ratios, goals. Pure functions of the JSON that compare.py writes."""

import statistics
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from registry import PEERS

GOALS = {
    "W1": {"resident": 0.50, "any": 0.60, "usual": 0.35},
    "W2": {"resident": 0.42, "any": 0.55, "usual": 0.45, "floor": 2.0},
    "W3": {"resident": 0.85, "any": 0.90, "usual": 0.75, "floor": 1.25},
    "W4": {"resident": 0.68, "any": 0.68, "usual": 0.55, "floor": 2.0},
    "W5": {"any": 0.7, "cold": 2.0},
}
"""What must be seen: the most that epochal's seconds may be of the fastest of a group's, or of the floor."""

GOAL_TITLES = {
    "resident": "PyTorch, tensors resident",
    "any": "the fastest peer of any kind",
    "usual": "the usual way",
    "floor": "the floor",
    "cold": "itself with a warm cache",
}


@dataclass(frozen=True)
class Line:
    """A peer's figures in a work; None where there is no such figure."""

    peer: str
    seconds: float | None  # median: of an epoch's updates, of a process with a warm cache, or to the target
    epoch: float | None  # median of an epoch with its validation pass
    samples: int
    cold: float | None  # start-up in the first round: process start to the end of epoch 1, less a steady epoch
    warm: float | None  # the same in later rounds
    peak_bytes: int | None
    wrong_percent: float | None
    loss: float | None
    note: str = ""


def lines(work: dict[str, Any]) -> list[Line]:
    """The figures of every peer, the fastest first, those without a figure last."""
    found = [_line(work, peer) for peer in PEERS if any(run["peer"] == peer for run in work.get("runs", ()))]
    return sorted(found, key=lambda line: (line.seconds is None, line.seconds))


def _line(work: dict[str, Any], peer: str) -> Line:
    runs = [run for run in work["runs"] if run["peer"] == peer]
    good = [run for run in runs if "error" not in run]
    if not good:
        return Line(peer, *[None] * 2, 0, *[None] * 5, note=runs[0]["error"].splitlines()[-1])
    valid_rows = work["data"]["rows"]["valid"]
    percent = statistics.median(100 * run["epochs"][-1]["wrong"] / valid_rows for run in good)
    loss = statistics.median(run["epochs"][-1]["loss"] for run in good)
    peak = max(run["peak_bytes"] for run in good)
    if work["kind"] == "epochs":
        steady = [epoch for run in good for epoch in run["epochs"][1:]]
        epoch = statistics.median(e["train"] + e["valid"] for e in steady)
        seconds, samples = statistics.median(e["train"] for e in steady), len(steady)
        starts = [run["epochs"][0]["ended"] - epoch for run in good]
    else:
        whole = work["kind"] == "process"
        ends = [run["total"] if whole else run["epochs"][-1]["ended"] for run in good if whole or run["reached"]]
        taken = ends[1:] or ends if whole else ends
        seconds, epoch, samples = statistics.median(taken) if taken else None, None, len(taken)
        starts = ends
    cold = [start for start, run in zip(starts, good, strict=False) if run["round"] == 0]
    warm = [start for start, run in zip(starts, good, strict=False) if run["round"] > 0]
    return Line(
        peer, seconds, epoch, samples, cold[0] if cold else None, statistics.median(warm) if warm else None, peak,
        percent, loss, "" if samples else "did not reach the target",
    )  # fmt: skip


def doubtful(found: Sequence[Line]) -> list[str]:
    """Peers whose final validation error is not within half and twice the median of all, and a point: other work?"""
    errors = [line.wrong_percent for line in found if line.wrong_percent is not None]
    if not errors:
        return []
    middle = statistics.median(errors)
    return [
        line.peer
        for line in found
        if line.wrong_percent is not None and not middle / 2 - 1 <= line.wrong_percent <= 2 * middle + 1
    ]


@dataclass(frozen=True)
class Goal:
    """A goal, and what was reached: a ratio, lower is better; None where there was nobody to compare with."""

    work: str
    against: str
    most: float
    ratio: float | None
    who: str = ""

    @property
    def told(self) -> str:
        """Reached, not reached, or not measured."""
        return "not measured" if self.ratio is None else "reached" if self.ratio <= self.most else "**not reached**"


def goals(works: dict[str, Any]) -> list[Goal]:
    """Every goal of the works that have been measured."""
    return [
        _goal(name, against, most, works[name])
        for name, wanted in GOALS.items()
        if name in works and "runs" in works[name]
        for against, most in wanted.items()
    ]


def _goal(name: str, against: str, most: float, work: dict[str, Any]) -> Goal:
    found = {line.peer: line for line in lines(work)}
    own = found.get("epochal_")
    if own is None or own.seconds is None:
        return Goal(name, against, most, None)
    if against == "floor":
        return Goal(name, against, most, own.seconds / work["floor_seconds"])
    if against == "cold":
        return Goal(name, against, most, own.cold / own.warm if own.cold and own.warm else None)
    rivals = {
        peer: line.seconds
        for peer, line in found.items()
        if line.seconds and PEERS[peer].group != "epochal" and against in ("any", PEERS[peer].group)
    }
    if not rivals:
        return Goal(name, against, most, None)
    who = min(rivals, key=rivals.__getitem__)
    return Goal(name, against, most, own.seconds / rivals[who], PEERS[who].title)
