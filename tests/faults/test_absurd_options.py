"""Values of options that make no sense: exit code 2 with a message, and never a traceback or an end by a signal.

EPOCHAL_ABSURD of them are given to each command, drawn from all its options; 0 gives every one.
"""

import random
import sys
from pathlib import Path

import pytest

from campaigns import share
from commands import epochal, result
from epochal.cli import app

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


@pytest.fixture(scope="module")
def place(tmp_path_factory) -> Path:
    place = tmp_path_factory.mktemp("absurd")
    result("train", "--model", "logistic", "--epochs", "1", "--out", "run", cwd=place)
    return place


def options(command: str) -> list[str]:
    """Every option of a command that takes a value, by its first name."""
    found = app[command].assemble_argument_collection()
    return sorted({one.names[0] for one in found if one.names[0].startswith("--") and one.hint is not bool})


@pytest.mark.thorough
@pytest.mark.skipif(sys.platform == "win32", reason="forks")
@pytest.mark.parametrize("command", BASE)
def test_no_value_of_an_option_ends_in_a_traceback(place, tmp_path, command):

    cases = [(name, value) for name in options(command) for value in VALUES if name not in ENDLESS]
    most = share("ABSURD", 8)
    cases = random.Random(command).sample(cases, min(most, len(cases))) if most else cases
    assert cases or command in ("compare",)
    for n, (name, value) in enumerate(cases):
        out = ["--out", str(tmp_path / f"{n}")] if command in ("train", "select") and name != "--out" else []
        done = epochal(command, *BASE[command], *out, f"{name}={value}", cwd=place)
        assert done.returncode in (0, 2, 3), (name, value[:80], done.returncode, done.stderr)
        assert "Traceback" not in done.stdout + done.stderr, (name, value[:80], done.stderr)


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
