"""SIGKILL at every kind of place in a run, at the entry point that a user calls; and twice in one epoch."""

import json
import re
import shutil
import signal
from pathlib import Path

import pytest

from campaigns import cases
from commands import epochal as command
from commands import process, result
from epochal.runs import checkpoint
from epochal.runs.run import resume
from kept_runs import bits, finished

KILLING = """
import os, signal, sys
from importlib import import_module
where, count, *words = sys.argv[1:]
import epochal.training.loop
epochal.training.loop.STRETCH_SECONDS = 0  # a stretch is one step
module, _, name = where.partition(":")
holder = import_module(module)
*outer, name = name.split(".")
for part in outer:
    holder = getattr(holder, part)
real, left = getattr(holder, name), int(count)
def killing(*args, **named):
    global left
    left -= 1
    if left == 0:
        os.kill(os.getpid(), signal.SIGKILL)
    return real(*args, **named)
setattr(holder, name, killing)
sys.argv[1:] = words
from epochal.__main__ import run
sys.exit(run())
"""
STEPS, EPOCHS = 13, 4  # of 1,249 rows in minibatches of 100
WORDS = ["--model", "logistic", "--epochs", str(EPOCHS), "--batch-size", "100", "--optimizer", "momentum"]
WORDS += ["--patience-steps", "1000000", "--checkpoint-seconds", "0", "--quiet"]
CHUNKS = ["--memory", "110kB"]
STRETCH = "epochal.training.program:Program.run_steps"

PLACES = {
    "before the first step": (STRETCH, 1, []),
    "in the middle of an epoch": (STRETCH, 2 * STEPS - 5, []),
    "before the last step of an epoch": (STRETCH, 2 * STEPS, []),
    "before the first step of an epoch": (STRETCH, 2 * STEPS + 1, []),
    "inside a chunk": (STRETCH, 2 * STEPS + 2, CHUNKS),
    "between two chunks": ("epochal.device.chunked:Chunked._chunk", 5, CHUNKS),
    "during validation": ("epochal.training.program:Score", 3, CHUNKS),
    "at the epoch boundary": ("epochal.training.tracker:Tracker.close", 2, []),
    "before the epoch is in the history": ("epochal.runs.history:History.write", 3 * STEPS, []),
    "while a checkpoint is written": ("epochal.runs.checkpoint:_read_back", 2, []),
    "at the last save": ("epochal.runs.writer:RunWriter._save_last", 1, []),
    "between the end of training and the outcome": ("epochal.runs.writer:RunWriter._save_outcome", 1, []),
    "before the test split is opened": ("epochal.training.fitted:Fit.test", 1, []),
    "before the opening is in the ledger": ("epochal.training.ledger:record", 1, []),
    "between the ledger and the report": ("epochal.cli.output:report", 1, []),
}


def killed(where: str, count: int, words: list[str], place: Path) -> Path:
    done = process("-c", KILLING, where, count, *words, cwd=place)
    assert done.returncode == -signal.SIGKILL
    return place


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """The run that nobody kills, and its folder."""
    place = tmp_path_factory.mktemp("whole")
    assert result("train", *WORDS, "--out", "run", cwd=place)["steps"] == EPOCHS * STEPS
    return place / "run"


SHORT = (
    "in the middle of an epoch",
    "between two chunks",
    "while a checkpoint is written",
    "before the opening is in the ledger",
)


@pytest.mark.parametrize("name", cases(PLACES, *SHORT))
def test_killed_at_a_place_a_run_goes_on_to_the_same_bits(tmp_path, whole, name):
    where, count, memory = PLACES[name]
    run = killed(where, count, ["train", *WORDS, *memory, "--out", name], tmp_path) / name
    told = json.loads((run / "run.json").read_text())
    if memory:
        assert re.search(r"; [2-9] chunks of [2-9] steps", told["residency"]["why"])
    assert finished(run) == bits(whole)  # one opening in the ledger among them, and each epoch once


def reached(run: Path) -> int:
    """The step to go on from; the beginning, where the saver's thread has not had its turn yet."""
    found, _ = checkpoint.newest(run)
    return found.metadata["step"] if found else 0


def test_killed_twice_in_one_epoch_a_run_goes_on_to_the_same_bits(tmp_path, whole):
    killed(STRETCH, STEPS + 4, ["train", *WORDS, "--out", "run"], tmp_path)
    first = reached(tmp_path / "run")
    killed(STRETCH, 2 * STEPS - 2 - first, ["resume", "run", "--quiet"], tmp_path)
    assert first <= reached(tmp_path / "run") < 2 * STEPS
    assert finished(tmp_path / "run") == bits(whole)


def test_after_the_end_resume_says_so_and_opens_nothing(tmp_path, whole):
    shutil.copytree(whole, tmp_path / "run")
    done = command("resume", "run", cwd=tmp_path)
    assert done.returncode == 0
    assert "run: has ended by epochs" in done.stderr
    assert bits(tmp_path / "run") == bits(whole)


def test_a_ledger_that_lost_power_in_a_line_counts_no_opening_that_nobody_saw(tmp_path, whole):
    shutil.copytree(whole, tmp_path / "run")
    path = tmp_path / "run" / "test-ledger.jsonl"
    line = path.read_text()
    path.write_text(line[:-20])  # the score is shown once its line is on the disk
    resume(tmp_path / "run").folder.close()
    assert finished(tmp_path / "run") == bits(whole)
    path.write_text(line + line[:30])  # and a second one, of an evaluation
    done = command("evaluate", "run", cwd=tmp_path)
    assert "has been opened 2 times" in done.stdout
    path.write_text("{}\n" + line)
    done = command("resume", "run", cwd=tmp_path)
    assert done.returncode == 2
    assert "test-ledger.jsonl: cannot be read: line 1: it has no sha256, the digest that it was written" in done.stderr
