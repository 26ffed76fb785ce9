"""Values of options that make no sense: exit code 2 with a message, and never a traceback or an end by a signal.

EPOCHAL_ABSURD of them are given to each command, drawn from all its options; 0 gives every one.
"""

import json
import random
import subprocess
import sys
from pathlib import Path

import pytest

from commands import epochal, result
from epochal.cli import app
from kept_runs import long

VALUES = (
    "9223372036854775807", "99999999999999999999", "1e26", "-1", "0", "nan", "inf", "1e308", "1e-320", "", " ", "x",
    "\x1b[2J", "=1", "9" * 5000, "1,2", "1..9", "é\udcff", "500x99999999999999999999", "{}", "[1]", "None",
)  # fmt: skip
BASE = {
    "train": ["--model", "logistic", "--epochs", "1"],
    "select": ["--model", "logistic", "--epochs", "1"],
    "resume": ["run"],
    "evaluate": ["run"],
    "compare": ["run", "run"],
    "predict": ["run", "digits"],
    "inspect": ["digits"],
    "export": ["run", "--format", "safetensors"],
    "reproduce": ["logistic", "digits", "--epochs", "1"],
}
ENDLESS = {"--epochs", "--refit-steps", "--seeds"}
"""Options whose large values are meant, and take long."""

# One process for many values, in a fork for each, so that an abort is seen: imports take most of the time.
MANY = """
import json, os, sys
import epochal.cli, epochal.data.loading, epochal.data.sources, tempfile
cases = json.loads(sys.stdin.read())
for words in cases:
    with tempfile.TemporaryFile() as said:
        child = os.fork()
        if child == 0:
            os.dup2(said.fileno(), 1); os.dup2(said.fileno(), 2)
            from epochal.__main__ import run
            sys.argv[1:] = words
            code = run()
            sys.stdout.flush(); sys.stderr.flush()
            os._exit(code)
        _, status = os.waitpid(child, 0)
        said.seek(0)
        print(json.dumps([words, os.waitstatus_to_exitcode(status), said.read().decode(errors="replace")[-3000:]]))
"""


@pytest.fixture(scope="module")
def place(tmp_path_factory) -> Path:
    place = tmp_path_factory.mktemp("absurd")
    result("train", "--model", "logistic", "--epochs", "1", "--out", "run", cwd=place)
    return place


def options(command: str) -> list[str]:
    """Every option of a command that takes a value, by its first name."""
    found = app[command].assemble_argument_collection()
    return sorted({one.names[0] for one in found if one.names[0].startswith("--") and one.hint is not bool})


@pytest.mark.skipif(sys.platform == "win32", reason="forks")
@pytest.mark.parametrize("command", BASE)
def test_no_value_of_an_option_ends_in_a_traceback(place, tmp_path, command):

    cases = [(name, value) for name in options(command) for value in VALUES if name not in ENDLESS]
    most = long("ABSURD", 8)
    cases = random.Random(command).sample(cases, min(most, len(cases))) if most else cases
    assert cases or command in ("compare",)
    lines = []
    for n, (name, value) in enumerate(cases):
        out = ["--out", str(tmp_path / f"{n}")] if command in ("train", "select") and name != "--out" else []
        lines.append([command, *BASE[command], *out, f"{name}={value}"])
    done = subprocess.run(
        [sys.executable, "-c", MANY], input=json.dumps(lines), capture_output=True, text=True, cwd=place, check=True
    )
    found = [json.loads(line) for line in done.stdout.splitlines()]
    assert len(found) == len(cases)
    for words, code, said in found:
        assert code in (0, 2, 3), (words[-1][:80], code, said)
        assert "Traceback" not in said, (words[-1][:80], said)


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--hidden", "9223372036854775807"], "numbers up to 10,000,000"),
        (["--hidden", "99999999999999999999"], "numbers up to 10,000,000"),
        (["--model", "lenet", "--kernels", "20x99999999999"], "numbers up to 10,000,000"),
        (["--batch-size", "1e26"], "batch_size: must be at most 2,147,483,647"),
        (["--epochs", "1e300"], "epochs: must be at most 1,000,000,000,000"),
    ],
)
def test_a_size_beyond_reason_is_refused(tmp_path, words, message):
    done = epochal("train", *words, "--out", "run", cwd=tmp_path)
    assert done.returncode == 2, done.stderr
    assert message in done.stderr
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ('out = "\\u0000"', "out: must be a text, a number, true or false, got '\\x00'"),
        ("model = {a = 1}", "model: must be a text"),
        ("[train]\nepochs = 1", "train: must be a text"),
        ("seed = 1979-05-27", "seed: must be a text"),
        ("x", "cannot be read as TOML"),
        ("a = '\udcff'", "cannot be read as TOML"),
        ("a = " + "[" * 3000, "cannot be read as TOML"),
        ('hidden = "x"', "hidden: must be a whole number"),
        ("epochs = true", "epochs"),
    ],
)
def test_a_configuration_that_makes_no_sense_is_one_message(tmp_path, text, message):
    (tmp_path / "c.toml").write_bytes(text.encode(errors="surrogateescape"))
    done = epochal("train", "--config", "c.toml", "--quiet", cwd=tmp_path)
    assert done.returncode == 2, done.stderr
    assert message in done.stderr
    assert len(done.stderr.splitlines()) <= 3
    assert "Traceback" not in done.stderr
