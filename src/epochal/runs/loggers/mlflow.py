"""MLflow: the store that MLFLOW_TRACKING_URI names, else the file mlflow.db beside the run folder."""

import logging
import os
import time
from pathlib import Path

os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")  # nothing is sent that the user did not ask for

from mlflow.entities import Metric, Param, RunTag
from mlflow.tracking import MlflowClient

from epochal.runs.loggers.story import Consumer, Seen, Story

EXPERIMENT, TAG = "epochal", "epochal.id"


def consume(story: Story) -> Consumer:
    """Write points as metrics of a run in the experiment `epochal`, the parameters as its parameters."""
    for name in ("mlflow", "alembic"):
        logging.getLogger(name).setLevel(logging.WARNING)  # making the database is no news
    client = MlflowClient(tracking_uri=store(story.folder))
    existing = client.get_experiment_by_name(EXPERIMENT)
    experiment = existing.experiment_id if existing else client.create_experiment(EXPERIMENT)
    runs = client.search_runs([experiment], f"tags.`{TAG}` = '{story.id}'")
    if runs:
        run = runs[0].info.run_id
        client.update_run(run, status="RUNNING")
        seen = _seen(client, run, list(runs[0].data.metrics))
    else:
        run = client.create_run(experiment, run_name=story.name, tags={TAG: story.id}).info.run_id
        parameters = [Param(name, str(value)) for name, value in story.parameters.items()]
        client.log_batch(run, params=parameters, tags=[RunTag("epochal.runs.run", str(story.folder.resolve()))])
        seen = set()
    try:
        point = yield seen
        while True:
            now = int(time.time() * 1000)
            client.log_batch(run, [Metric(name, value, now, point.step) for name, value in point.values.items()])
            point = yield None
    finally:
        client.set_terminated(run)


def store(folder: Path) -> str:
    """The address of the store for a run in `folder`."""
    return os.environ.get("MLFLOW_TRACKING_URI") or f"sqlite:///{(folder.resolve().parent / 'mlflow.db').as_posix()}"


def _seen(client: MlflowClient, run: str, names: list[str]) -> Seen:
    return {(name, metric.step) for name in names for metric in client.get_metric_history(run, name)}
