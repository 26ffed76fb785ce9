"""Logging tools: what their stores hold is read back with their own readers and set against the run's history."""

import importlib
import json
import math
import os
import sqlite3
import struct
import subprocess
import sys
import time
from pathlib import Path
from typing import get_args

import pytest

from commands import epochal as command
from commands import result
from epochal import Recipe, errors, logistic, train
from epochal.runs import run
from epochal.runs.loggers import Log, Tool, check
from epochal.runs.loggers.story import learning_rate
from epochal.runs.writer import CheckpointOptions, RunWriter
from epochal.system.extras import EXTRAS
from needs import extra

TOOLS = sorted(get_args(Tool))
RECIPE = Recipe(epochs=5, batch_size=20, learning_rate=0.5, schedule="inverse_time", decay=0.5)


@pytest.fixture(autouse=True)
def _at_home(tmp_path, monkeypatch):
    """Stores of a test stay with it, and nothing goes out."""
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    monkeypatch.setenv("WANDB_MODE", "offline")
    monkeypatch.setenv("WANDB_SILENT", "true")


def read_tensorboard(folder: Path) -> tuple[dict, dict]:
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
    from tensorboard.plugins.hparams import metadata

    found = EventAccumulator(str(folder / "tensorboard"), size_guidance={"scalars": 0})
    found.Reload()
    series = {tag: [(e.step, e.value) for e in found.Scalars(tag)] for tag in found.Tags()["scalars"]}
    content = found.SummaryMetadata(metadata.SESSION_START_INFO_TAG).plugin_data.content
    told = metadata.parse_session_start_info_plugin_data(content).hparams
    return series, {name: getattr(value, value.WhichOneof("kind")) for name, value in told.items()}


def read_mlflow(folder: Path) -> tuple[dict, dict]:
    from mlflow.tracking import MlflowClient

    client = MlflowClient(f"sqlite:///{folder.parent / 'mlflow.db'}")
    (kept,) = client.search_runs([client.get_experiment_by_name("epochal").experiment_id])
    assert kept.info.status == "FINISHED"
    assert kept.info.run_name == folder.name
    names = kept.data.metrics
    series = {n: [(m.step, m.value) for m in client.get_metric_history(kept.info.run_id, n)] for n in names}
    return series, kept.data.params


def read_trackio(folder: Path) -> tuple[dict, dict]:
    with sqlite3.connect(Path(os.environ["TRACKIO_DIR"], "epochal.db")) as base:
        rows = base.execute("select run_name, step, metrics from metrics order by id").fetchall()
        configs = base.execute("select run_name, config from configs").fetchall()
    mine = {name for name, _ in configs if name.startswith(f"{folder.name}-")}
    assert len(mine) == 1, "one run, also where it was resumed"
    series: dict = {}
    for name, step, told in rows:
        for key, value in json.loads(told).items() if name in mine else ():
            series.setdefault(key, []).append((step, value))
    return series, next(json.loads(told) for name, told in configs if name in mine)


def read_wandb(folder: Path) -> tuple[dict, dict]:
    """The files of a LevelDB log, which `wandb sync` reads."""
    from wandb.proto import wandb_internal_pb2 as messages

    series: dict = {}
    parameters: dict = {}
    ids = set()
    for path in sorted(folder.glob("wandb/offline-run-*/*.wandb")):
        for content in _leveldb(path.read_bytes()):
            message = messages.Record.FromString(content)
            if message.HasField("run"):
                ids.add(message.run.run_id)
                parameters |= {i.key: json.loads(i.value_json) for i in message.run.config.update}
            if message.HasField("history"):
                told = {i.key or i.nested_key[0]: json.loads(i.value_json) for i in message.history.item}
                for key in (key for key in told if key != "step" and not key.startswith("_")):
                    series.setdefault(key, []).append((told["step"], told[key]))
    assert len(ids) == 1, "one run, also where it was resumed"
    return series, parameters


def _leveldb(content: bytes):
    block, place, parts = 1 << 15, 7, []
    while place + 7 <= len(content):
        if block - place % block < 7:
            place += block - place % block
            continue
        _, length, kind = struct.unpack_from("<IHB", content, place)
        if kind == 0:
            return
        parts.append(content[place + 7 : place + 7 + length])
        place += 7 + length
        if kind in (1, 4):  # whole, or the last part
            yield b"".join(parts)
            parts = []


def read(tool: str, folder: Path) -> tuple[dict, dict]:
    """What the store of a finished run holds; W&B's is written by a process of its own, which may lag behind."""
    deadline = time.monotonic() + 600
    while True:
        found = globals()[f"read_{tool}"](folder)
        if "test/wrong" in found[0] or time.monotonic() > deadline:
            return found
        time.sleep(0.2)


def expected(epochs, valid_rows: int, test) -> dict:
    """The curves of a history, by plain formulas."""
    best, curves = math.inf, {name: [] for name in ("valid/error_percent", "valid/best_error_percent")}
    for epoch in epochs:
        for step, wrong in epoch.validations:
            best = min(best, wrong)
            curves["valid/error_percent"].append((step, 100 * wrong / valid_rows))
            curves["valid/best_error_percent"].append((step, 100 * best / valid_rows))
    curves["train/loss"] = [(epoch.step, epoch.loss) for epoch in epochs]
    curves["epoch"] = [(epoch.step, epoch.epoch) for epoch in epochs]
    curves["train/learning_rate"] = [(epoch.step, 0.5 / (1 + 0.5 * i)) for i, epoch in enumerate(epochs)]
    last = epochs[-1].step
    curves["test/error_percent"], curves["test/wrong"] = [(last, test.percent)], [(last, test.wrong)]
    return curves


def same(found: dict, wanted: dict) -> None:
    assert sorted(found) == sorted(wanted)
    for name in wanted:
        assert [step for step, _ in found[name]] == [step for step, _ in wanted[name]], name
        # TensorBoard keeps float32.
        assert [v for _, v in found[name]] == pytest.approx([v for _, v in wanted[name]], rel=1e-6), name


@pytest.mark.filterwarnings("default")  # these libraries warn of themselves
@pytest.mark.parametrize("tool", TOOLS)
def test_a_store_holds_the_curves_once_though_the_run_was_killed_and_repeats_updates(tool, tmp_path, small):
    extra(*EXTRAS[tool])
    path = tmp_path / "a"
    training = train(logistic(), small, RECIPE)
    folder = RunWriter.create(path, training, CheckpointOptions(checkpoint_seconds=0))
    with folder, Log(path, training, [tool]) as log:
        for moment in log.follow(folder.progress()):
            if moment.epoch and moment.epoch.epoch == 3:
                training.stop()
    for checkpoint in path.glob("checkpoint-*"):
        checkpoint.unlink()  # so that the log knows more than the state, as after a kill
    resumed = run.resume(path, small).folder
    assert resumed.training.step == 0
    with resumed, Log(path, resumed.training, [tool]) as log:
        for _ in log.follow(resumed.progress()):
            pass
        fit = resumed.training.fit(path)
        test = fit.test()
        log.test(test)
    series, parameters = read(tool, path)
    same(series, expected(fit.epochs, len(small.valid), test))
    for name, value in {
        "model": "logistic",
        "batch_size": 20,
        "learning_rate": 0.5,
        "schedule": "inverse_time",
    }.items():
        assert type(value)(parameters[name]) == value


@pytest.mark.filterwarnings("default")
@pytest.mark.parametrize("tool", ["tensorboard", "mlflow"])
def test_a_log_that_begins_late_gets_the_whole_history(tool, tmp_path, small):
    extra(*EXTRAS[tool])
    training = train(logistic(), small, RECIPE)
    with_none = list(training)
    with Log(tmp_path / "late", training, [tool]) as log:
        test = training.fit().test()
        log.test(test)
    series, _ = globals()[f"read_{tool}"](tmp_path / "late")
    same(series, expected(with_none, len(small.valid), test))


@pytest.mark.parametrize("schedule", ["constant", "inverse_time", "cosine"])
def test_the_learning_rate_is_that_of_the_schedule(schedule):
    recipe = Recipe(epochs=4, learning_rate=0.3, schedule=schedule, decay=2.0 if schedule == "inverse_time" else None)
    plain = {
        "constant": 0.3,
        "inverse_time": 0.3 / (1 + 2 * 1),
        "cosine": 0.3 * 0.5 * (1 + math.cos(math.pi * 13 / 40)),
    }
    assert learning_rate(recipe, 10, 13) == pytest.approx(plain[schedule], rel=1e-6)


def test_a_tool_that_is_missing_is_told_before_anything_is_read(tmp_path, monkeypatch):
    monkeypatch.setattr("epochal.system.extras.find_spec", lambda name: None)
    with pytest.raises(errors.RecipeError, match=r"pip install mlflow-skinny sqlalchemy alembic"):
        check(["mlflow"])
    with pytest.raises(errors.RecipeError, match="no such tool, only tensorboard, mlflow, wandb, trackio"):
        check(["excel"])


def test_a_tool_that_fails_is_left_out_and_the_run_goes_on(tmp_path, small, monkeypatch, caplog):
    extra("tensorboard")
    tool = importlib.import_module("epochal.runs.loggers.tensorboard")

    def consume(story):
        yield set()
        raise OSError("the disk is full")

    monkeypatch.setattr(tool, "consume", consume)
    training = train(logistic(), small, RECIPE)
    with Log(tmp_path / "a", training, ["tensorboard"]) as log:
        assert len(list(log.follow(training))) == 5
    assert caplog.text.count("the disk is full") == 1
    assert caplog.records[0].name == "epochal"


def test_a_store_that_cannot_be_opened_is_told_before_training(tmp_path):
    extra(*EXTRAS["mlflow"])
    words = ("train", "--epochs", 2, "--log", "mlflow")
    done = command(*words, cwd=tmp_path, MLFLOW_TRACKING_URI="nowhere://at/all")
    assert done.returncode == 2
    assert "epochal: --log mlflow: cannot be opened" in done.stderr
    assert "Traceback" not in done.stderr
    assert "epoch 1" not in done.stderr


@pytest.mark.filterwarnings("default")
def test_the_command_line_logs_and_a_resumed_run_goes_on_with_its_logs(tmp_path):
    for tool in TOOLS:
        extra(*EXTRAS[tool])
    words = [word for tool in TOOLS for word in ("--log", tool)]
    told = result("train", "--epochs", 2, "--model", "logistic", "--out", "b", *words, cwd=tmp_path)
    again = result("resume", "b", cwd=tmp_path)
    assert again["parameters_sha256"] == told["parameters_sha256"]
    for tool in TOOLS:
        series, parameters = read(tool, tmp_path / "b")
        assert [step for step, _ in series["train/loss"]] == [63, 126], tool
        assert [value for _, value in series["test/wrong"]] == [told["test"]["wrong"]], tool
        assert parameters["data"] == "digits"


def test_nothing_of_it_is_imported_without_log(tmp_path):
    code = (
        "import sys; from epochal.cli import main; main(['train', '--epochs', '1', '--quiet', '--out', 'a']);"
        f"found = {set(sum(EXTRAS.values(), ()))} & set(sys.modules); sys.exit(f'imported {{found}}' if found else 0)"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
