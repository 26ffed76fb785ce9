"""Standard output and error that are full, closed, narrow, or a terminal: what a command does then."""

import csv
import json
import os
import pty
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from campaigns import cases
from commands import epochal, result
from epochal import load_run

EPOCHAL = f"{sys.executable} -m epochal"
FULL = pytest.mark.skipif(not Path("/dev/full").exists(), reason="has no /dev/full")
EVIL = "\x1b]0;title\x07=HYPERLINK(1)"


@pytest.fixture(scope="module")
def place(tmp_path_factory) -> Path:
    place = tmp_path_factory.mktemp("streams")
    with (place / "evil.csv").open("w") as file:
        writer = csv.writer(file)
        writer.writerow(["a\x1b[2K", "b", "y"])
        writer.writerows([row % 5, row % 3, [EVIL, "@SUM(1)", "-1"][row % 3]] for row in range(60))
    result("train", "evil.csv", "--label", "y", "--model", "logistic", "--epochs", 2, "--out", "run", cwd=place)
    return place


def shell(line: str, place: Path, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        ["bash", "-c", line], cwd=place, capture_output=True, text=True, check=False, timeout=600,
        env=os.environ | environment,
    )  # fmt: skip


COMMANDS = {
    "help": "--help",
    "inspect": "inspect evil.csv --label y",
    "evaluate": "evaluate run",
    "predict": "predict run evil.csv",
    "export": "export run --format safetensors",
    "compare": "compare run run",
    "doctor": "doctor",
    "json": "inspect evil.csv --label y --json",
    "mistake": "inspect nothing.csv",
    "mistake in JSON": "inspect nothing.csv --json",
}


@FULL
@pytest.mark.parametrize("name", cases(COMMANDS, "predict", "mistake in JSON"))
def test_every_command_with_streams_that_cannot_be_written(place, name):
    wrong = name.startswith("mistake")
    for where, code in ((">/dev/full", 74), ("2>&-", 0), (">&- 2>&-", 74)):
        done = shell(f"{EPOCHAL} {COMMANDS[name]} {where}", place)
        assert done.returncode == (2 if wrong else code), (where, done.stderr)
        assert "Traceback" not in done.stdout + done.stderr
        assert "Exception ignored" not in done.stderr
        if code == 74 and not wrong and "2>" not in where:
            assert "epochal: standard output cannot be written: " in done.stderr.splitlines()[-1]
        if "2>" in where and name != "inspect":  # which prints the notes as its result
            assert "note:" not in done.stdout, "the notes went to standard output"


@FULL
@pytest.mark.parametrize("where", cases(["2>/dev/full", "2>&-", ">/dev/full 2>&1", ">&- 2>&-"], ">/dev/full 2>&1"))
def test_a_training_that_can_say_nothing_goes_on_to_its_end(place, tmp_path, where):
    code = 74 if where.startswith(">") else 0
    for n, words in enumerate(("train --epochs 3", "select --learning-rate 0.1,0.2 --epochs 2")):
        done = shell(f"{EPOCHAL} {words} --model logistic --out {tmp_path}/{n} {where}", place)
        assert done.returncode == code, done.stderr
    assert load_run(tmp_path / "0").stopped == "epochs"
    assert len((tmp_path / "0" / "test-ledger.jsonl").read_text().splitlines()) == 1
    assert (tmp_path / "1" / "results.csv").exists()


def test_a_reader_that_leaves_ends_no_training(place, tmp_path):
    line = f"{EPOCHAL} train --model logistic --epochs 300 --patience-steps 1000000 --out {tmp_path}/run"
    done = shell(f"({line} 2>&1; echo $? > {tmp_path}/code) | head -2", place)
    assert (tmp_path / "code").read_text() == "0\n"
    assert done.stdout.startswith("digits: ")
    assert len((tmp_path / "run" / "history.jsonl").read_text().splitlines()) == 300
    assert json.loads((tmp_path / "run" / "run.json").read_text())["stopped"] == "epochs"


def test_predictions_for_a_reader_that_leaves(place):
    done = shell(f"{EPOCHAL} predict run evil.csv | head -1; echo ${{PIPESTATUS[0]}}", place)
    assert done.stdout.splitlines()[-1] == "0"
    assert "Traceback" not in done.stderr
    assert "Broken" not in done.stderr


def test_ctrl_c_is_130_where_the_reader_of_both_streams_has_gone_first(tmp_path):
    words = [sys.executable, "-m", "epochal", "train", "--epochs", "1000000", "--patience-steps", "100000000"]
    process = subprocess.Popen([*words, "--out", "run", "--json"], cwd=tmp_path, stdout=-1, stderr=subprocess.STDOUT)
    history = tmp_path / "run" / "history.jsonl"
    while not (history.exists() and history.stat().st_size):
        assert process.poll() is None
        time.sleep(0.02)
    assert process.stdout
    process.stdout.close()
    process.send_signal(signal.SIGINT)
    assert process.wait(timeout=600) == 130
    assert json.loads((tmp_path / "run" / "run.json").read_text())["stopped"] == "interrupted"


@pytest.mark.parametrize("encoding", cases(["latin-1", "ascii", "cp1252"], "ascii"))
def test_no_encoding_is_too_narrow(place, tmp_path, encoding):
    (tmp_path / "t.csv").write_text("a,y\n" + "".join(f"{n % 7},{'日本' if n % 2 else 'é'}\n" for n in range(60)))
    words = ["t.csv", "--label", "y", "--model", "logistic"]
    done = epochal("train", *words, "--epochs", 1, "--out", "run", cwd=tmp_path, PYTHONIOENCODING=encoding)
    assert done.returncode == 0, done.stderr
    assert "95 % interval" in done.stdout
    assert "note: " in done.stderr
    shown = epochal("inspect", "t.csv", "--label", "y", cwd=tmp_path, PYTHONIOENCODING=encoding)
    assert shown.returncode == 0, shown.stderr
    assert "\\u65e5\\u672c" in shown.stdout
    out = subprocess.run(
        [sys.executable, "-m", "epochal", "predict", "run", "t.csv"], cwd=tmp_path, capture_output=True, check=True,
        env=os.environ | {"PYTHONIOENCODING": encoding},
    )  # fmt: skip
    epochal("predict", "run", "t.csv", "--out", "p.csv", cwd=tmp_path)
    assert out.stdout == (tmp_path / "p.csv").read_bytes(), "predictions are UTF-8 wherever they go"


def test_control_characters_of_a_file_reach_no_stream(place, tmp_path):
    commands = [
        "inspect evil.csv --label y", f"train evil.csv --label y --model logistic --epochs 2 --out {tmp_path}/r",
        f"select evil.csv --label y --model logistic --learning-rate 0.1,0.2 --epochs 1 --out {tmp_path}/s",
        "evaluate run", "compare run run", f"export run --format numpy --out {tmp_path}/e", f"resume {tmp_path}/r",
        "train evil.csv --label y --drop nothing --epochs 1", "train evil.csv --label y --class-weight x=1 --epochs 1",
        "predict run other.csv",
    ]  # fmt: skip
    (place / "other.csv").write_text("b\n1\n")
    for command in commands:
        done = epochal(*command.split(), cwd=place)
        assert done.returncode in (0, 2), done.stderr
        odd = {c for c in done.stdout + done.stderr if not c.isprintable()} - {"\n"}
        assert not odd, (command, odd)
    seen = epochal("inspect", "evil.csv", "--label", "y", cwd=place).stdout
    assert r"\x1b]0;title\x07=HY" in seen
    assert r"a\x1b[2K" in seen


def test_a_terminal_gets_predictions_escaped_and_a_file_exactly(place):
    parent, child = pty.openpty()
    process = subprocess.Popen(
        [sys.executable, "-m", "epochal", "predict", "run", "evil.csv"], cwd=place, stdout=child, stderr=-1
    )
    os.close(child)
    seen = b""
    try:
        while piece := os.read(parent, 65536):
            seen += piece
    except OSError:  # the other side has closed it
        pass
    process.communicate()
    assert b"\x1b" not in seen
    assert b"\\x1b]0;title" in seen
    assert EVIL in epochal("predict", "run", "evil.csv", cwd=place).stdout


def test_a_name_of_many_lines_makes_a_message_of_three(tmp_path):
    done = epochal("inspect", "a\nb\nc\nd\x1b" + "e" * 5000 + ".csv", cwd=tmp_path)
    assert done.returncode == 2
    assert len(done.stderr.splitlines()) <= 3
    assert max(map(len, done.stderr.splitlines())) < 2_100
    assert "\x1b" not in done.stderr


def test_a_working_folder_that_was_removed(place):
    done = shell(f"mkdir gone; cd gone; rmdir ../gone; PYTHONSAFEPATH=1 {EPOCHAL} evaluate {place}/run", place)
    assert done.returncode == 2
    assert done.stderr == (
        "epochal: the working folder cannot be used: No such file or directory; change to one that is there\n"
    )


def test_a_platform_that_is_not_there(place):
    for command in ("train --epochs 1", "evaluate run", "predict run evil.csv"):
        done = epochal(*command.split(), cwd=place, JAX_PLATFORMS="nonsense")
        assert done.returncode == 2, done.stderr
        assert "epochal: JAX_PLATFORMS=nonsense: JAX does not start: " in done.stderr
        assert "Traceback" not in done.stderr
