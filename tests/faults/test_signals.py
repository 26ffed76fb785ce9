"""SIGINT and SIGTERM at random instants of a run's whole life: it is saved, and goes on to the same bits.

EPOCHAL_SIGNALS of each are sent. Half of them come once training has begun, as it takes less time than what is before.
"""

import json
import os
import random
import signal
import statistics
import subprocess
import sys
import time
from collections import Counter

import pytest

import epochal
from campaigns import cases, share
from commands import result
from epochal.runs import checkpoint
from epochal.system.signals import Interrupted, Signals
from kept_runs import bits, finished, start, words_of

CODES = {signal.SIGINT: 130, signal.SIGTERM: 143}


@pytest.mark.thorough
@pytest.mark.parametrize("number", CODES, ids=lambda number: number.name)
def test_signals_at_random_instants_leave_a_run_that_goes_on_to_the_same_bits(tmp_path, number):
    chance, words = random.Random(number), words_of("mlp", "chunked")
    begun = time.monotonic()
    whole = result("train", *words, "--out", "whole", cwd=tmp_path)
    seconds, expected = time.monotonic() - begun, bits(tmp_path / "whole")
    took, places = [], Counter()
    for n in range(share("SIGNALS", 2)):
        run = tmp_path / f"run{n}"
        process = start(["train", *words, "--out", run.name, "--quiet"], cwd=tmp_path, stderr=-1)
        if n % 2:
            while process.poll() is None and not (run / "history.jsonl").exists():
                time.sleep(0.002)
            time.sleep(chance.uniform(0, 1) * whole["seconds"]["train"])
        else:
            time.sleep(chance.uniform(0.2, 1) * seconds)
        sent = time.monotonic()
        process.send_signal(number)
        _, err = process.communicate(timeout=600)
        took.append(time.monotonic() - sent)
        assert "Traceback" not in err
        if process.returncode == 0 or ((run / "test-ledger.jsonl").exists() and "all is saved" not in err):
            places["over before the signal"] += 1
        elif process.returncode == -number:  # before Python listens
            places["starting"] += 1
            assert not run.exists()
            continue
        elif not (run / "run.json").exists():
            places["reading or compiling"] += 1
            assert process.returncode == CODES[number]
            assert err == "epochal: interrupted before the first step, there is nothing to save; start again\n"
            continue
        else:
            places["training, validation or saving"] += 1
            assert process.returncode == CODES[number]
            step = checkpoint.paths(run)[-1][0]
            assert err == (
                f"epochal: interrupted after step {step:,}, all is saved; go on with:\nepochal resume {run.name}\n"
            )
            assert not list(run.glob(".*"))
        assert finished(run) == expected
    least, middle, most = min(took), statistics.median(took), max(took)
    print(f"\n{number.name}: {len(took)} signals ({json.dumps(places)}), all goes on to the same bits; "
          f"exit after {least:.2f} / {middle:.2f} / {most:.2f} s (least, median, most)")  # fmt: skip


HELD = """
import os, signal, sys, time
from importlib import import_module
where, count, *words = sys.argv[1:]
module, _, name = where.partition(":")
holder = import_module(module)
*outer, name = name.split(".")
for part in outer:
    holder = getattr(holder, part)
real, left = getattr(holder, name), int(count)
def held(*args, **named):
    global left
    left -= 1
    if left == 0:
        print("here", flush=True)
        time.sleep(WAIT)
    return real(*args, **named)
setattr(holder, name, held)
sys.argv[1:] = words
from epochal.__main__ import run
sys.exit(run())
"""
WORDS = ["--model", "logistic", "--epochs", "6", "--batch-size", "100", "--checkpoint-seconds", "0", "--quiet"]


def held_at(where: str, words: list[str], place, count: int = 1, wait: float = 1.0) -> subprocess.Popen[str]:
    """The command, held for a while before call number `count` of the function `where`; returns once it is there."""
    code = HELD.replace("WAIT", str(wait))
    process = subprocess.Popen(
        [sys.executable, "-c", code, where, str(count), *words], cwd=place, stdout=-1, stderr=-1, text=True
    )
    assert process.stdout
    assert process.stdout.readline() == "here\n"
    return process


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    place = tmp_path_factory.mktemp("whole")
    result("train", *WORDS, "--out", "run", cwd=place)
    return bits(place / "run")


PLACES = {
    "reading": ("epochal.data.loading:load", None),
    "compiling": ("epochal.training.program:Program.compile_and_place", None),
    "making the folder": ("epochal.runs.writer:RunWriter._begin", 0),
    "training": ("epochal.training.program:Program.run_steps", 1),
    "validation": ("epochal.training.program:Program.count_errors", 1),
    "saving": ("epochal.runs.checkpoint:save", 1),
    "the end": ("epochal.runs.writer:RunWriter._save_outcome", 78),
    "scoring the test split": ("epochal.training.fitted:Fit.test", 78),
}


@pytest.mark.parametrize("place", cases(PLACES, "compiling", "training"))
def test_a_signal_at_every_place_ends_the_command_with_what_to_type(tmp_path, whole, place):
    run, count = tmp_path / "a run", 2 if place == "saving" else 1  # the first file is that of the digests of rows
    process = held_at(PLACES[place][0], ["train", *WORDS, "--out", run.name], tmp_path, count)
    process.send_signal(signal.SIGINT)
    out, err = process.communicate(timeout=600)
    assert (process.returncode, out) == (130, ""), err
    if PLACES[place][1] is None:
        assert err == "epochal: interrupted before the first step, there is nothing to save; start again\n"
        assert not run.exists()
        return
    assert err.endswith(", all is saved; go on with:\nepochal resume 'a run'\n")
    assert checkpoint.paths(run)[-1][0] >= PLACES[place][1]
    assert finished(run) == whole


def test_a_signal_while_a_run_is_taken_up_leaves_it_as_it_was(tmp_path, whole):
    process = held_at(
        "epochal.runs.writer:RunWriter._save_outcome", ["train", *WORDS, "--out", "run"], tmp_path, wait=99
    )
    process.kill()
    process.communicate()
    before = {path.name: path.read_bytes() for path in (tmp_path / "run").iterdir() if path.name != "lock"}
    process = held_at("epochal.training.program:Program.compile_and_place", ["resume", "run"], tmp_path)
    process.send_signal(signal.SIGTERM)
    _, err = process.communicate(timeout=600)
    assert process.returncode == 143
    assert err == "epochal: interrupted before training went on, the run is as it was; resume it again\n"
    assert before == {path.name: path.read_bytes() for path in (tmp_path / "run").iterdir() if path.name != "lock"}
    assert finished(tmp_path / "run") == whole


def test_a_second_signal_during_a_save_ends_at_once_and_corrupts_nothing(tmp_path, whole):
    """The save after the first signal is held for ever, with its file written and not yet renamed."""
    process = held_at("os:replace", ["train", *WORDS, "--out", "run"], tmp_path, count=7, wait=9999)
    assert list((tmp_path / "run").glob(".*.tmp"))
    process.send_signal(signal.SIGINT)
    time.sleep(0.5)
    assert process.poll() is None, "the first one waits for the save"
    process.send_signal(signal.SIGINT)
    _, err = process.communicate(timeout=600)
    assert process.returncode == 130
    assert "Traceback" not in err
    found, complaints = checkpoint.newest(tmp_path / "run")
    assert found is not None
    assert not complaints
    assert finished(tmp_path / "run") == whole


def test_ctrl_c_while_the_command_is_imported_ends_in_one_line(tmp_path):
    code = "import os, signal, sys; import epochal.__main__ as m; sys.modules['epochal.cli'] = None\n"
    code += "class Slow:\n    def find_spec(self, name, path=None, target=None):\n"
    code += "        os.kill(os.getpid(), signal.SIGINT) if name == 'epochal.cli' else None\n"
    code += "signal.signal(signal.SIGINT, signal.default_int_handler)\n"  # a background job may begin without
    code += "sys.meta_path.insert(0, Slow()); del sys.modules['epochal.cli']; sys.exit(m.run())"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False, env=os.environ)
    assert (done.returncode, done.stderr) == (130, "epochal: interrupted, nothing was left half-written\n")


def test_a_signal_that_somebody_has_swallowed_still_stops_the_training(small):
    with Signals() as signals:
        with pytest.raises(Interrupted):
            signal.raise_signal(signal.SIGINT)  # in this thread, at once
        run = epochal.train(epochal.logistic(), small)
        signals.watch(run)
        assert list(run) == []
    assert run.stopped == "interrupted"
