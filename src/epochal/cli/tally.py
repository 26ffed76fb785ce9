"""Progress of a selection on standard error: trials alive, best so far, time left at most."""

import sys
import time
from collections.abc import Iterable
from typing import TYPE_CHECKING

from epochal.cli.progress import PLAIN_SECONDS, duration, terminal

if TYPE_CHECKING:
    from epochal.selection.runner import Moment


def watch(moments: "Iterable[Moment]", *, quiet: bool) -> None:
    """Run through `moments`, showing how far the selection is."""
    if quiet:
        for _ in moments:
            pass
    elif sys.stderr.isatty():
        _live(moments)
    else:
        shown = -PLAIN_SECONDS
        clock = _Clock()
        for moment in moments:
            if time.monotonic() - shown >= PLAIN_SECONDS:
                print(clock.told(moment), file=sys.stderr)
                shown = time.monotonic()


def _live(moments: "Iterable[Moment]") -> None:
    from rich.console import Console
    from rich.progress import BarColumn, Progress, TextColumn

    clock = _Clock()
    columns = (BarColumn(30), TextColumn("{task.description}", markup=False))
    with Progress(*columns, console=Console(file=terminal()), transient=True) as progress:
        task = progress.add_task("compiling", total=1.0)
        for moment in moments:
            progress.update(task, completed=moment.share, description=clock.told(moment))


class _Clock:
    """Time left, from when the selection began to train."""

    def __init__(self) -> None:
        self.begun = time.monotonic()
        self.first: float | None = None

    def told(self, moment: "Moment") -> str:
        """One line; the time left is the most it can be, as trials may stop early."""
        self.first = moment.share if self.first is None else self.first
        done = moment.share - self.first
        parts = [f"{moment.alive:,} training, {moment.waiting:,} waiting of {moment.trials:,} trials"]
        parts += [f"best valid {moment.best}"] if moment.best else []
        if done > 0:
            seconds = (time.monotonic() - self.begun) / done * (1 - moment.share)
            parts.append(f"at most {duration(seconds)} left")
        return " · ".join(parts)
