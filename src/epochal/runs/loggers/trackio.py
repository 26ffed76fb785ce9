"""Trackio: project `epochal` in the database on this machine, where TRACKIO_DIR or its own default says."""

import contextlib
import io

import trackio
from trackio.sqlite_storage import SQLiteStorage

from epochal.runs.loggers.story import Consumer, Seen, Story

PROJECT = "epochal"


def run_name(story: Story) -> str:
    """The run's name in the project: the folder's, made unique."""
    return f"{story.name}-{story.id}"


def consume(story: Story) -> Consumer:
    """Write points as metrics, the parameters as config."""
    name = run_name(story)
    seen = _seen(name)
    with contextlib.redirect_stdout(io.StringIO()):  # standard output is for a command's result
        run = trackio.init(
            project=PROJECT, name=name, config=dict(story.parameters), resume="allow", embed=False,
            auto_log_gpu=False, auto_log_cpu=False,
        )  # fmt: skip
    try:
        point = yield seen
        while True:
            run.log(point.values, step=point.step)
            point = yield None
    finally:
        with contextlib.redirect_stdout(io.StringIO()):
            trackio.finish()  # the module's, or it says so once more when Python ends


def _seen(name: str) -> Seen:
    if PROJECT not in SQLiteStorage.get_projects():
        return set()
    return {(key, row["step"]) for row in SQLiteStorage.get_logs(PROJECT, name) for key in row if key != "step"}
