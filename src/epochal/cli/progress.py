"""Progress on standard error: a live line with the time left on a terminal, plain lines elsewhere."""

import sys
import time
from collections import deque
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    from epochal.selection.runner import Moment as SelectionProgress
    from epochal.training.progress import Progress as TrainingProgress
    from epochal.training.training import Training

PLAIN_SECONDS = 1.0
"""Plain lines come at most this often, but for the first and the last."""


class Line(Protocol):
    """The line that is shown, as text; `share`, from 0 to 1, is done."""

    @property
    def share(self) -> float: ...

    def update(self, progress: Any) -> bool:
        """Take in the progress; returns whether it is worth a plain line."""
        ...


def watch(progress: Iterable[Any], line: Line, *, quiet: bool) -> None:
    """Run through `progress`, showing `line`."""
    if quiet:
        deque(progress, maxlen=0)
    elif sys.stderr.isatty():
        _live(progress, line)
    else:
        _plain(progress, line)


def _plain(progress: Iterable[Any], line: Line) -> None:
    shown, pending = -PLAIN_SECONDS, False
    for one in progress:
        pending |= line.update(one)
        if pending and time.monotonic() - shown >= PLAIN_SECONDS:
            print(line, file=sys.stderr)
            shown, pending = time.monotonic(), False
    if pending:
        print(line, file=sys.stderr)


def _live(progress: Iterable[Any], line: Line) -> None:
    from rich.console import Console
    from rich.progress import BarColumn, TextColumn
    from rich.progress import Progress as Bar

    columns = (BarColumn(30), TextColumn("{task.description}", markup=False))
    terminal = getattr(sys.stderr, "terminal", sys.stderr)  # of `Guard`, which would escape what moves the cursor
    with Bar(*columns, console=Console(file=terminal), transient=True) as bar:
        task = bar.add_task("compiling", total=1.0)
        for one in progress:
            line.update(one)
            bar.update(task, completed=line.share, description=str(line))


class TrainingLine:
    """The last epoch, the rate, and the time left if validation brings no more patience."""

    def __init__(self, training: "Training"):
        self.training, self.begun, self.first, self.epoch = training, time.monotonic(), training.step, ""

    @property
    def share(self) -> float:
        return min(1.0, self.training.step / self.training.last_step)

    def update(self, progress: "TrainingProgress") -> bool:
        self.epoch = str(progress.epoch) if progress.epoch else self.epoch
        return progress.epoch is not None

    def __str__(self) -> str:
        seconds = time.monotonic() - self.begun
        rate = max(1, self.training.step - self.first) / max(seconds, 1e-6)
        left = max(0.0, (self.training.last_step - self.training.step) / rate)
        rows = rate * self.training.recipe.batch_size
        return f"{self.epoch} · {rows:,.0f} rows/s · {duration(left)} left"


class SelectionLine:
    """Trials in training, the best so far, and the time left at most, as trials may stop early."""

    def __init__(self) -> None:
        self.begun, self.share = time.monotonic(), 0.0
        self.first: float | None = None

    def update(self, progress: "SelectionProgress") -> bool:
        self.progress, self.share = progress, progress.share
        self.first = progress.share if self.first is None else self.first
        return True

    def __str__(self) -> str:
        now, done = self.progress, self.share - (self.first or 0)
        parts = [f"{now.alive:,} training, {now.waiting:,} waiting of {now.trials:,} trials"]
        parts += [f"best valid {now.best}"] if now.best else []
        if done > 0:
            seconds = (time.monotonic() - self.begun) / done * (1 - self.share)
            parts.append(f"at most {duration(seconds)} left")
        return " · ".join(parts)


def duration(seconds: float) -> str:
    """Seconds in words, with the two largest units."""
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours} h {minutes:02} min" if hours else f"{minutes} min {rest:02} s" if minutes else f"{rest} s"
