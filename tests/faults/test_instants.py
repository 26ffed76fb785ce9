"""Signals at random instants of the first second of a command: it leaves with the signal's code, and says so in words.

EPOCHAL_INSTANTS of them are sent to each command.
"""

import os
import random
import signal
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path

import pytest

from campaigns import share
from commands import epochal, result
from kept_runs import EPOCHAL

CODES = {signal.SIGINT: 130, signal.SIGTERM: 143, signal.SIGHUP: 129}


@pytest.fixture(scope="module")
def place(tmp_path_factory) -> Path:
    place = tmp_path_factory.mktemp("instants")
    result("train", "--model", "logistic", "--epochs", "1", "--out", "run", cwd=place)
    epochal("predict", "run", "digits", "--out", "p.csv", cwd=place)
    return place


COMMANDS = {
    "train": ["train", "--model", "logistic", "--epochs", "2", "--quiet", "--out"],
    "select": ["select", "--model", "logistic", "--learning-rate", "0.1,0.2", "--epochs", "2", "--quiet", "--out"],
    "predict": ["predict", "run", "digits", "--out", "p.csv"],
    "inspect": ["inspect", "digits"],
}


def listens(process: subprocess.Popen) -> bool:
    """Whether the process has a handler for SIGTERM; before, Python itself is starting, and the system ends it."""
    try:
        lines = Path(f"/proc/{process.pid}/status").read_text().splitlines()
    except OSError:
        return True
    caught = next((int(line.split()[1], 16) for line in lines if line.startswith("SigCgt")), 0)
    return bool(caught >> (signal.SIGTERM - 1) & 1)


@pytest.mark.thorough
@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
@pytest.mark.parametrize("name", COMMANDS)
def test_a_signal_at_any_instant_leaves_with_its_code_alone(place, name):
    chance, seen = random.Random(name), Counter()
    for n in range(share("INSTANTS", 8)):
        words = [*COMMANDS[name], *([f"{name}-{n}"] if COMMANDS[name][-1] == "--out" else [])]
        process = subprocess.Popen([*EPOCHAL, *words], cwd=place, stdout=-1, stderr=-1, text=True)
        while not listens(process) and process.poll() is None:
            time.sleep(0.001)
        time.sleep(chance.uniform(0, 1))
        number = chance.choice(list(CODES))
        process.send_signal(number)
        _, err = process.communicate(timeout=600)
        seen[number.name, process.returncode] += 1
        assert process.returncode in (CODES[number], 0), (number, process.returncode, err)
        assert "Traceback" not in err
        assert "Exception ignored" not in err
        if process.returncode:
            assert err.startswith("epochal: interrupted") or "\nepochal: interrupted" in err or err == "", err
    print(f"\n{name}: {dict(seen)}")


def test_nohup_is_respected(place):
    """SIGHUP that was ignored when the command began stays ignored."""
    code = "import signal, sys; signal.signal(signal.SIGHUP, signal.SIG_IGN); from epochal.__main__ import run\n"
    code += "import epochal.cli.doctor as d, os; real = d.graphics_cards\n"
    code += "d.graphics_cards = lambda: (os.kill(os.getpid(), signal.SIGHUP), real())[1]\n"
    code += "sys.argv[1:] = ['doctor']; sys.exit(run())"
    done = subprocess.run([sys.executable, "-c", code], cwd=place, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def test_a_signal_that_python_can_only_drop_is_received_again(tmp_path):
    """Out of a garbage collection's callback, as JAX has one, nothing can be raised."""
    code = """
import gc, os, signal, sys, time
from epochal.system import signals
def callback(phase, info):
    gc.callbacks.remove(callback)
    os.kill(os.getpid(), signal.SIGTERM)
with signals.Signals():
    gc.callbacks.append(callback)
    try:
        gc.collect()
        time.sleep(5)
        print("lost")
    except signals.Interrupted as error:
        print(error.code)
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False, env=os.environ)
    assert (done.stdout, done.stderr) == ("143\n", "")


def test_nothing_is_raised_while_something_is_imported(tmp_path):
    """The initialisation of a C extension that calls Python crashes where an exception comes out of that call."""
    (tmp_path / "slow.py").write_text(
        "import os, signal\n"
        "try:\n    os.kill(os.getpid(), signal.SIGINT); sum(range(1000)); whole = True\n"
        "except BaseException:\n    whole = False\n"
    )
    code = """
import sys, time
from epochal.system import signals
with signals.Signals():
    try:
        import slow
        time.sleep(5)
    except signals.Interrupted as error:
        print(error.code, sys.modules["slow"].whole)
"""
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=False,
        env=os.environ | {"PYTHONPATH": f"{tmp_path}:{os.environ.get('PYTHONPATH', '')}"},
    )  # fmt: skip
    assert (done.stdout, done.stderr) == ("130 True\n", "")
