"""Progress on standard error: a live line with rate and time left on a terminal, plain lines elsewhere."""

import sys
import time
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from epochal.training.progress import Progress
    from epochal.training.training import Training

PLAIN_SECONDS = 1.0
"""Plain lines come at most this often, but for the first and the last epoch."""


def watch(steps: "Iterable[Progress]", training: "Training", *, quiet: bool) -> None:
    """Run through `steps`, showing how far the training is."""
    if quiet:
        for _ in steps:
            pass
    elif sys.stderr.isatty():
        _live(steps, training)
    else:
        _plain(steps, training)


def _plain(steps: "Iterable[Progress]", training: "Training") -> None:
    clock, shown, latest = _Clock(training), -PLAIN_SECONDS, None
    for step in steps:
        if step.epoch:
            latest = step.epoch
            if time.monotonic() - shown >= PLAIN_SECONDS:
                print(f"{latest} · {clock.told()}", file=sys.stderr)
                shown, latest = time.monotonic(), None
    if latest:
        print(f"{latest} · {clock.told()}", file=sys.stderr)


def _live(steps: "Iterable[Progress]", training: "Training") -> None:
    from rich.console import Console
    from rich.progress import BarColumn, TextColumn
    from rich.progress import Progress as Bar

    clock = _Clock(training)
    columns = (BarColumn(30), TextColumn("{task.description}", markup=False))
    with Bar(*columns, console=Console(file=terminal()), transient=True) as bar:
        task, latest = bar.add_task("compiling", total=1.0), ""
        for step in steps:
            latest = str(step.epoch) if step.epoch else latest
            bar.update(task, completed=clock.share(), description=f"{latest} · {clock.told()}")


class _Clock:
    """Rate and time left, from when the training began to step."""

    def __init__(self, training: "Training"):
        self.training, self.begun, self.first = training, time.monotonic(), training.step

    def share(self) -> float:
        """Part of the updates that are done, 0 to 1."""
        return min(1.0, self.training.step / self.training.last_step)

    def told(self) -> str:
        """Rate, and the time left if validation brings no more patience."""
        seconds = time.monotonic() - self.begun
        rate = max(1, self.training.step - self.first) / max(seconds, 1e-6)
        left = max(0.0, (self.training.last_step - self.training.step) / rate)
        rows = rate * self.training.recipe.batch_size
        return f"{rows:,.0f} rows/s · {duration(left)} left"


def terminal() -> Any:
    """Standard error for what moves the cursor; `Guard` escapes that of others."""
    return getattr(sys.stderr, "terminal", sys.stderr)


def duration(seconds: float) -> str:
    """Seconds in words, with the two largest units."""
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours} h {minutes:02} min" if hours else f"{minutes} min {rest:02} s" if minutes else f"{rest} s"
