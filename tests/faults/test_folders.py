"""Run folders in odd places, and what others do to them while the run goes on."""

import json
import logging
import os
import shlex
import shutil
import stat
import subprocess
import sys
import time
import tomllib

import numpy as np
import pytest

import epochal
from commands import epochal as command
from epochal.cli import main
from epochal.errors import StorageError
from epochal.runs import checkpoint, writer
from epochal.runs.options import CheckpointOptions
from epochal.runs.run import resume
from epochal.runs.writer import RunWriter
from epochal.system import atomic
from epochal.system.lock import Lock
from epochal.training import loop
from kept_runs import RECIPE, Inline, drain, outcome, start

WORDS = ["--model", "logistic", "--epochs", "3", "--quiet"]


@pytest.mark.parametrize("name", ["two words", "Übung λ 数", 'it\'s $HOME; "quoted"', "new\nline", "-x", "b\udcffyte"])
def test_a_run_in_a_folder_of_any_name_is_kept_and_resumed(tmp_path, capsys, name):
    place = tmp_path / name
    assert main(["train", *WORDS, "--json", f"--out={place}"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert told["run"] == str(place)
    options = tomllib.loads((place / "recipe.toml").read_text())
    assert (options["model"], options["epochs"]) == ("logistic", 3)
    if name.isprintable():
        assert shlex.quote(f"{place}/recipe.toml") in (place / "recipe.toml").read_text()
    resumed = resume(place)
    assert resumed.fit().parameters_sha256 == told["parameters_sha256"]


def test_the_line_to_go_on_with_can_be_pasted(tmp_path):
    process = start(["train", "--epochs", "1000000", "--patience-steps", "1000000000", "--out", "it's mine"],
                    cwd=tmp_path, stderr=-1)  # fmt: skip
    while not (tmp_path / "it's mine" / "history.jsonl").exists():
        time.sleep(0.01)
    process.terminate()
    _, err = process.communicate(timeout=600)
    assert process.returncode == 143
    assert err.splitlines()[-1] == """epochal resume 'it'"'"'s mine'"""


def test_a_linked_folder_is_written_through_the_link(small, tmp_path):
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "run").symlink_to("elsewhere", target_is_directory=True)
    run = epochal.train(epochal.logistic(), small, RECIPE)
    drain(RunWriter.create(tmp_path / "run", run))
    assert (tmp_path / "run").is_symlink()
    resumed = resume(tmp_path / "elsewhere", small)
    with pytest.raises(epochal.RunError, match="is in use by process"):
        resume(tmp_path / "run", small)
    resumed.folder.close()
    assert outcome(resumed.folder.training) == outcome(run)


def test_files_of_a_run_have_the_modes_that_the_umask_leaves(small, tmp_path):
    before = os.umask(0o027)
    try:
        drain(RunWriter.create(tmp_path / "run", epochal.train(epochal.logistic(), small, RECIPE)))
    finally:
        os.umask(before)
    modes = {stat.S_IMODE(path.stat().st_mode) for path in (tmp_path / "run").iterdir()}
    assert modes == {0o640}


def test_neither_a_home_nor_a_user_name_is_needed(tmp_path):
    code = """
import pwd, sys
def unknown(*args):
    raise KeyError("getpwuid(): uid not found")
pwd.getpwuid = pwd.getpwnam = unknown
from epochal.__main__ import run
sys.exit(run())
"""
    kept = {name: os.environ[name] for name in ("PATH", "PYTHONPATH") if name in os.environ}
    words = [sys.executable, "-c", code, "train", *WORDS, "--out", "run"]
    done = subprocess.run(words, cwd=tmp_path, capture_output=True, text=True, check=False, env=kept)
    assert done.returncode == 0, done.stderr


def test_a_folder_that_cannot_be_written_to_is_named(tmp_path):
    if os.geteuid() == 0:
        pytest.skip("root may write anywhere; tests/faults/test_storage.py has a disk that is read-only")
    tmp_path.chmod(0o555)
    try:
        done = command("train", *WORDS, "--out", "run", cwd=tmp_path)
    finally:
        tmp_path.chmod(0o755)
    assert done.returncode == 1
    assert "run: the run folder cannot be made: Permission denied" in done.stderr


def test_a_lock_that_the_file_system_does_not_know_is_no_other_process(tmp_path, monkeypatch):
    def unknown(*args):
        raise OSError(37, "No locks available")

    monkeypatch.setattr("fcntl.flock", unknown)
    with pytest.raises(StorageError, match="the run folder cannot be made: No locks available"):
        writer.take_lock(tmp_path)


@pytest.mark.parametrize("replaced", [False, True], ids=["removed", "replaced"])
def test_a_folder_that_is_taken_away_under_a_run_ends_it_and_is_not_mixed_with_another(
    small, tmp_path, monkeypatch, caplog, replaced
):
    monkeypatch.setattr(loop, "STRETCH_SECONDS", 0)
    monkeypatch.setattr(writer, "Saver", Inline)
    place = tmp_path / "run"
    run = epochal.train(epochal.logistic(), small, RECIPE)
    other = epochal.train(epochal.mlp(4), small, RECIPE)
    with RunWriter.create(place, run, CheckpointOptions(checkpoint_seconds=0)) as kept:
        progress = kept.progress()
        next(progress)
        shutil.rmtree(place)
        if replaced:
            drain(RunWriter.create(place, other))
            content = {path.name: path.read_bytes() for path in place.iterdir()}
        message = "another folder lies in the place" if replaced else "has been removed or cannot be reached any more"
        with caplog.at_level(logging.WARNING, "epochal"), pytest.raises(StorageError, match=message):
            for _ in progress:
                pass
    assert "the run goes on and tries again" in caplog.text
    assert run.step == RECIPE.epochs * run.loop.plan.steps, "what has been reached is still in memory"
    if replaced:
        assert content == {path.name: path.read_bytes() for path in place.iterdir()}
    else:
        assert not place.exists()


def test_nothing_depends_on_the_clock_on_the_wall(small, tmp_path, monkeypatch):
    """It goes back an hour at every look, as after a wrong time server."""
    now = iter(range(10**9, 0, -3600))
    monkeypatch.setattr(time, "time", lambda: float(next(now)))
    monkeypatch.setattr(time, "time_ns", lambda: next(now) * 10**9)
    whole = epochal.train(epochal.logistic(), small, RECIPE)
    drain(RunWriter.create(tmp_path / "run", whole, CheckpointOptions(checkpoint_seconds=0)))
    for path in (tmp_path / "run").iterdir():
        os.utime(path, (10**9, 10**9))
    resumed = resume(tmp_path / "run", small)
    resumed.folder.close()
    assert outcome(resumed.folder.training) == outcome(whole)


def test_what_killed_writers_left_is_swept_and_nothing_else(small, tmp_path):
    run = epochal.train(epochal.logistic(), small, RECIPE)
    drain(RunWriter.create(tmp_path / "run", run))
    ours = ["run.json", "recipe.toml", "history.jsonl", "best.safetensors", "checkpoint-000000000001.safetensors"]
    for name in ours:
        (tmp_path / "run" / f".{name}.0a1b2c3d.tmp").write_bytes(b"half")
    others = [".notes.tmp", "mine.tmp", ".git"]
    for name in others:
        (tmp_path / "run" / name).write_text("mine")
    resume(tmp_path / "run", small).folder.close()
    left = {path.name for path in (tmp_path / "run").iterdir() if path.name.startswith((".", "mine"))}
    assert left == set(others)


def test_a_new_folder_is_on_the_disk_before_its_first_checkpoint(tmp_path, monkeypatch):
    flushed = []
    real = atomic.sync_folder
    monkeypatch.setattr(atomic, "sync_folder", lambda path: flushed.append(path) or real(path))
    Lock(tmp_path).close()
    writer.take_lock(tmp_path / "a" / "b").close()
    assert flushed == [tmp_path, tmp_path / "a"]


def overflowing(run, progress):
    for _ in progress:
        if run.step == RECIPE.epochs * run.loop.plan.steps:  # the last one, of which no loss tells
            params = run.loop.state.params
            run.loop.state = run.loop.state._replace(params={**params, "b": params["b"] * np.float32("inf")})


def test_a_state_that_is_not_finite_at_the_end_is_told_and_the_best_is_kept(small, tmp_path, monkeypatch):
    run = epochal.train(epochal.logistic(), small, RECIPE)
    monkeypatch.setattr(RunWriter, "_due", lambda self: False)
    with RunWriter.create(tmp_path / "run", run) as kept:  # noqa: SIM117
        with pytest.raises(epochal.DivergedError, match=r"step 18: params\.b is not finite"):
            overflowing(run, kept.progress())
    assert run.stopped == "diverged"
    assert not checkpoint.paths(tmp_path / "run")
    found = epochal.load_run(tmp_path / "run")
    assert (found.stopped, found.best) == ("diverged", run.best)
