"""Disks that stay full, real limits on the size of a file, and numbers that are none."""

import json
import logging
import time

import numpy as np
import pytest

import epochal
from commands import process
from epochal.errors import StorageError
from epochal.runs import checkpoint
from epochal.runs.options import CheckpointOptions
from epochal.runs.run import resume
from epochal.runs.writer import RunWriter
from kept_runs import RECIPE


def _drain(folder: RunWriter) -> None:
    with folder:
        for _ in folder.progress():
            time.sleep(0.02)  # so that the saver's thread has its turn


def test_a_full_disk_is_waited_out_or_stops_the_run_as_asked(small, tmp_path, monkeypatch, caplog):
    real, left = checkpoint.save, [3]

    def full(folder, snapshot):
        if left[0]:
            left[0] -= 1
            raise StorageError("disk full")
        real(folder, snapshot)

    monkeypatch.setattr(checkpoint, "save", full)
    run = epochal.train(epochal.logistic(), small, RECIPE)
    with caplog.at_level(logging.WARNING, "epochal"):
        _drain(RunWriter.create(tmp_path / "retry", run, CheckpointOptions(checkpoint_seconds=0)))
    assert "disk full; the run goes on and tries again" in caplog.text
    assert resume(tmp_path / "retry", small).fit().steps == run.step
    left[0] = 10**9
    run = epochal.train(epochal.logistic(), small, epochal.Recipe(epochs=1000, batch_size=20))
    keeping = CheckpointOptions(checkpoint_seconds=0, on_storage_error="stop")
    with pytest.raises(epochal.RunError, match="disk full") as caught:
        _drain(RunWriter.create(tmp_path / "stop", run, keeping))
    assert caught.value.exit_code == 1
    assert run.step < 1000


def test_a_real_limit_on_file_size_ends_with_exit_code_1_and_a_message(tmp_path):
    code = (
        "import resource, sys; resource.setrlimit(resource.RLIMIT_FSIZE, (40_000, 40_000)); import signal;"
        "signal.signal(signal.SIGXFSZ, signal.SIG_IGN); from epochal.cli import main; sys.exit(main())"
    )
    words = ["train", "--epochs", "3", "--out", "run", "--quiet", "--on-storage-error", "stop"]
    done = process("-c", code, *words, cwd=tmp_path)
    assert done.returncode == 1, done.stderr
    assert "cannot be saved: File too large; it needs" in done.stderr
    assert "Traceback" not in done.stderr


def test_a_run_that_diverged_keeps_no_checkpoint_with_nan(small, tmp_path):
    run = epochal.train(epochal.mlp(8), small, epochal.Recipe(learning_rate=1e30, batch_size=20))
    with pytest.raises(epochal.DivergedError, match=r"step \d+: the loss is (nan|inf); \S+ is not finite; take"):
        _drain(RunWriter.create(tmp_path / "run", run, CheckpointOptions(checkpoint_seconds=0)))
    found, _ = checkpoint.newest(tmp_path / "run")
    assert found is None or all(np.isfinite(a).all() for a in found.state.values())
    assert json.loads((tmp_path / "run" / "run.json").read_text())["stopped"] == "diverged"


def test_a_run_that_diverges_after_a_best_keeps_that_best(small, tmp_path, monkeypatch):
    run = epochal.train(epochal.logistic(), small, RECIPE)
    real = run.loop.program.run_steps

    def failing(state, *arguments):
        state, losses = real(state, *arguments)
        return state, losses * (np.nan if run.step >= 6 else 1)

    monkeypatch.setattr(run.loop.program, "run_steps", failing)
    monkeypatch.setattr(RunWriter, "_due", lambda self: False)  # no save before the end
    with pytest.raises(epochal.DivergedError, match="step 7: the loss is nan"):
        _drain(RunWriter.create(tmp_path / "run", run))
    assert run.best is not None
    kept = epochal.load_run(tmp_path / "run")
    assert (kept.best, kept.parameters_sha256) == (run.best, run.fit().parameters_sha256)
