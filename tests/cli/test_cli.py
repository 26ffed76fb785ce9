import csv
import json
import os
import pty
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from campaigns import cases
from commands import epochal, result
from epochal import load, load_run
from epochal.cli import COMMANDS


@pytest.fixture(scope="module")
def place(tmp_path_factory) -> Path:
    return tmp_path_factory.mktemp("place")


@pytest.fixture(scope="module")
def trained(place) -> dict:
    return result("train", "--epochs", 6, "--out", "run", cwd=place)


SCORE = {"wrong", "of", "percent", "interval95"}


def test_train_without_arguments_learns_the_digits_offline(place, trained):
    assert {"model", "data", "residency", "epochs", "steps", "stopped", "best_validation", "test", "seconds", "run",
            "parameters_sha256"} <= set(trained)  # fmt: skip
    assert (trained["model"], trained["data"], trained["stopped"]) == ("mlp", "digits", "epochs")
    assert (trained["epochs"], trained["steps"], trained["run"]) == (6, 6 * 63, "run")
    assert trained["residency"]["kind"] == "resident"
    assert {"bytes", "why"} <= set(trained["residency"])
    assert {"load", "compile", "train"} <= set(trained["seconds"])
    assert set(trained["test"]) == SCORE
    assert set(trained["best_validation"]) >= SCORE
    assert trained["best_validation"]["percent"] < 10
    assert trained["test"]["of"] == 299


def test_the_run_folder_tells_all(place, trained):
    folder = place / "run"
    names = {path.name for path in folder.iterdir()}
    assert len([name for name in names if name.startswith("checkpoint-")]) == 2
    assert {name for name in names if not name.startswith("checkpoint-")} == {
        "recipe.toml", "run.json", "history.jsonl", "best.safetensors", "rows.safetensors", "test-ledger.jsonl", "lock",
    }  # fmt: skip
    history = [json.loads(line) for line in (folder / "history.jsonl").read_text().splitlines()]
    assert [line["epoch"] for line in history] == [1, 2, 3, 4, 5, 6]
    told = json.loads((folder / "run.json").read_text())
    assert told["stopped"] == "epochs"
    assert told["parameters_sha256"] == trained["parameters_sha256"]
    assert told["versions"]["jax"]
    assert len(told["data"]["fingerprint"]) == 64


def test_config_takes_the_recipe_back_and_repeats_the_run(place, trained):
    again = result("train", "--config", "run/recipe.toml", "--out", "again", cwd=place)
    assert again["parameters_sha256"] == trained["parameters_sha256"]
    other = result("train", "--config=run/recipe.toml", "--epochs", 1, "--out", "other", cwd=place)
    assert other["epochs"] == 1, "what is given on the command line wins"


def test_evaluate_scores_and_the_ledger_counts(place, trained):
    valid = result("evaluate", "run", "--split", "valid", cwd=place)
    assert valid["valid"] == {key: trained["best_validation"][key] for key in SCORE}
    opened = len((place / "run" / "test-ledger.jsonl").read_text().splitlines())
    told = result("evaluate", "run", cwd=place)
    assert told["test"] == trained["test"]
    ledger = (place / "run" / "test-ledger.jsonl").read_text().splitlines()
    assert len(ledger) == opened + 1
    assert json.loads(ledger[-1])["test"]["wrong"] == trained["test"]["wrong"]


@pytest.mark.parametrize("form", ["csv", "jsonl", "npz"])
def test_predict_writes_class_and_probabilities(place, trained, form):
    told = result("predict", "run", "digits", "--out", f"p.{form}", cwd=place)
    fit = load_run(place / "run")
    expected = fit.predict_proba("digits")
    assert told["rows"] == len(expected) == 1797
    if form == "csv":
        rows = list(csv.reader((place / "p.csv").read_text().splitlines()))
        assert rows[0][:3] == ["row", "class", "p(0)"]
        labels, p = [int(row[1]) for row in rows[1:]], np.array([row[2:] for row in rows[1:]], float)
    elif form == "jsonl":
        lines = [json.loads(line) for line in (place / "p.jsonl").read_text().splitlines()]
        labels, p = (
            [int(line["class"]) for line in lines],
            [[*line["probabilities"].values()] for line in lines],
        )
    else:
        archive = np.load(place / "p.npz")
        labels, p = archive["label"], archive["probabilities"]
    np.testing.assert_array_equal(labels, expected.argmax(1))
    np.testing.assert_allclose(p, expected, rtol=1e-5, atol=1e-9)


def test_predict_writes_csv_to_standard_output_and_needs_no_labels(place, trained):
    np.save(place / "x.npy", np.zeros((2, 8, 8), np.uint8))
    done = epochal("predict", "run", "x.npy", cwd=place)
    assert done.returncode == 0, done.stderr
    assert len(done.stdout.splitlines()) == 3


def test_inspect_tells_and_draws(place):
    done = epochal("inspect", "digits", "--examples", 1, cwd=place)
    assert "1,249 train, 249 valid, 299 test rows of 8×8 uint8, 10 classes" in done.stdout
    assert "@@" in done.stdout
    assert "resident: " in done.stdout
    told = result("inspect", "digits", cwd=place)
    assert sum(told["splits"]["train"]["class_counts"]) == 1249
    assert (told["splits"]["train"]["least"], told["splits"]["train"]["most"]) == (0, 16)


MISTAKES = {
    "no such data": (["train", "nope.csv"], "nope.csv: there is no such file or folder"),
    "bad rate": (["train", "--learning-rate", "-1"], "learning_rate: must be above 0, got -1.0"),
    "no number": (["train", "--batch-size", "x"], "Invalid value for --batch-size: must be a whole number, got 'x'"),
    "unknown option": (["train", "--learning-rat", "1"], "Did you mean --learning-rate"),
    "unknown command": (["trian"], 'Did you mean "train"'),
    "bad choice": (
        ["train", "--optimizer", "sgdd"],
        "optimizer: must be one of sgd, momentum, nesterov, adam, adamw, FILE.py:NAME",
    ),
    "bad width": (["train", "--hidden", "3y"], "hidden: must be a whole number, or several, like 500 or 500x300"),
    "bad memory": (["train", "--memory", "lots"], "--memory: 'lots' is no amount of memory; write it like 500MB"),
    "too little memory": (["train", "--memory", "1kB"], "but 1.0 kB are granted on the device"),
    "no config": (["train", "--config", "nope.toml"], "--config nope.toml: there is no such file"),
    "occupied folder": (["train", "--out", "."], "is not empty"),
    "no run": (["evaluate", "nowhere"], "nowhere: is no run folder"),
    "no form": (["predict", "run", "digits", "--out", "p.xlsx"], "must end in one of .csv, .jsonl, .npz"),
    "other shape": (["predict", "run", "flat.npy"], "examples have shape [3], but the model was trained on [8, 8]"),
    "json needs out": (["predict", "run", "digits", "--json"], "--json: needs --out FILE"),
    "lenet too small": (["train", "--model", "lenet"], "images of shape [8, 8] are too small"),
    "bad pickle": (["train", "bad.pkl"], "bad.pkl: byte"),
}


@pytest.mark.parametrize("name", MISTAKES)
def test_a_mistake_gets_exit_code_2_and_at_most_three_lines(place, trained, name):
    (words, message) = MISTAKES[name]
    np.save(place / "flat.npy", np.zeros((2, 3), np.uint8))
    (place / "bad.pkl").write_bytes(b"\x80\x02cos\nsystem\nU\x04true\x85R.")
    done = epochal(*words, "--quiet" if words[0] == "train" else "--offline", cwd=place)
    if words[0] not in ("train",):
        done = epochal(*words, cwd=place)
    assert done.returncode == 2, done.stderr
    assert message in done.stderr
    assert "Traceback" not in done.stderr
    assert len(done.stderr.splitlines()) <= 3
    assert done.stdout == "" or json.loads(done.stdout)["exit_code"] == 2


def test_divergence_has_its_own_exit_code_and_keeps_the_folder(place):
    done = epochal("train", "--learning-rate", "1e37", "--out", "diverged", "--json", cwd=place)
    assert done.returncode == 3
    assert "step " in done.stderr
    assert "smaller learning rate" in done.stderr
    assert json.loads(done.stdout)["exit_code"] == 3
    assert json.loads((place / "diverged" / "run.json").read_text())["stopped"] == "diverged"


def test_ctrl_c_keeps_the_best_and_exits_130(place):
    words = [sys.executable, "-m", "epochal", "train", "--epochs", "1000000", "--patience-steps", "100000000"]
    process = subprocess.Popen([*words, "--out", "stopped", "--json"], cwd=place, stdout=-1, stderr=-1, text=True)
    history = place / "stopped" / "history.jsonl"
    while not (history.exists() and history.stat().st_size):
        assert process.poll() is None, process.communicate()
        time.sleep(0.05)
    process.send_signal(signal.SIGINT)
    out, err = process.communicate(timeout=600)
    assert process.returncode == 130, err
    assert "interrupted after step" in err
    assert "epochal resume stopped" in err
    told = json.loads(out)
    assert (told["stopped"], told["test"]) == ("interrupted", None)
    assert load_run(place / "stopped").best.valid.wrong == told["best_validation"]["wrong"]


def test_a_terminal_gets_a_live_line_with_rate_and_time_left(place):
    parent, child = pty.openpty()
    words = [sys.executable, "-m", "epochal", "train", "--epochs", "40", "--out", "live"]
    environment = os.environ | {"COLUMNS": "150"}
    process = subprocess.Popen(words, cwd=place, stdout=subprocess.DEVNULL, stderr=child, env=environment)
    os.close(child)
    seen = b""
    while True:
        try:
            piece = os.read(parent, 65536)
        except OSError:
            break
        if not piece:
            break
        seen += piece
    assert process.wait() == 0
    text = seen.decode(errors="replace")
    assert "rows/s" in text
    assert "left" in text
    assert "\x1b[" in text


def test_elsewhere_it_gets_plain_lines_and_quiet_means_quiet(place):
    done = epochal("train", "--epochs", 2, "--out", "plain", cwd=place)
    assert "epoch 2 · loss" in done.stderr
    assert "rows/s" in done.stderr
    assert "\x1b" not in done.stderr + done.stdout
    assert "next: epochal predict plain" in done.stdout
    assert epochal("train", "--epochs", 2, "--out", "silent", "--quiet", cwd=place).stderr == ""


def test_a_closed_test_split_stays_closed(place):
    told = result("train", "--epochs", 1, "--no-open-test", "--out", "closed", cwd=place)
    assert told["test"] is None
    assert not (place / "closed" / "test-ledger.jsonl").exists()


def test_a_second_run_finds_its_compiled_programs(tmp_path):
    kept = tmp_path / "programs"
    words = ("train", "--epochs", "1", "--no-open-test")
    first = result(*words, cwd=tmp_path, JAX_COMPILATION_CACHE_DIR=str(kept))
    made = {path.name for path in kept.iterdir() if path.name.endswith("-cache")}
    assert any(name.startswith("jit_run_steps") for name in made)
    second = result(*words, "--learning-rate", "0.05", "--seed", "7", cwd=tmp_path, JAX_COMPILATION_CACHE_DIR=str(kept))
    assert {path.name for path in kept.iterdir() if path.name.endswith("-cache")} == made
    assert first["parameters_sha256"] != second["parameters_sha256"]


def test_programs_are_kept_in_the_users_cache_folder(tmp_path):
    code = (
        "import os; from epochal.cli.compile_cache import enable, folder; enable();"
        "assert os.environ['JAX_COMPILATION_CACHE_DIR'] == str(folder()); print(folder())"
    )
    environment = {k: v for k, v in os.environ.items() if not k.startswith("JAX_")} | {"XDG_CACHE_HOME": str(tmp_path)}
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, env=environment, check=True)
    if sys.platform == "linux":
        assert Path(done.stdout.strip()).is_relative_to(tmp_path / "epochal" / "programs")


def test_rows_stored_as_those_trained_on_are_divided_as_those(trained, place):
    fit = load_run(place / "run")
    x = load("digits").test.x[:20]
    np.save(place / "new.npy", x)
    assert result("predict", "run", "new.npy", "--out", "new.npz", cwd=place)["rows"] == 20
    np.testing.assert_array_equal(np.load(place / "new.npz")["probabilities"], fit.predict_proba(x))
    np.save(place / "scaled.npy", x.astype(np.float32) / 16)
    done = epochal("predict", "run", "scaled.npy", cwd=place)
    assert done.returncode == 2
    assert (
        "scaled.npy: the rows are float32, but the model was trained on uint8 divided by 16; give rows" in done.stderr
    )
    assert "or say with --divisor what these are to be divided by (1: scaled already)" in done.stderr
    result("predict", "run", "scaled.npy", "--divisor", 1, "--out", "scaled.npz", cwd=place)
    np.testing.assert_allclose(np.load(place / "scaled.npz")["probabilities"], fit.predict_proba(x), rtol=1e-5)


EVERY = {
    "train": ("--model", "logistic", "--epochs", 1, "--no-open-test", "--quiet", "--out", "{new}"),
    "select": ("--model", "logistic", "--learning-rate", "0.1,0.2", "--epochs", 1, "--quiet", "--out", "{new}"),
    "resume": ("run",),
    "evaluate": ("run", "--split", "valid"),
    "compare": ("run", "run"),
    "predict": ("run", "digits", "--out", "{new}.csv"),
    "inspect": ("digits",),
    "export": ("run", "--format", "safetensors", "--out", "{new}"),
    "reproduce": ("logistic", "digits", "--epochs", 1),
    "bench": ("--work", "W1", "--rows", 100, "--epochs", 1, "--repeats", 1),
    "doctor": (),
}


def test_every_command_is_listed():
    assert EVERY.keys() == set(COMMANDS)


@pytest.mark.parametrize("name", cases(EVERY, "train", "predict"))
def test_a_command_started_anew_says_what_one_says_that_was_forked(place, trained, name):
    """The oracle of `commands`: most tests fork their commands from a process that has imported what they need."""
    done = {}
    for how, fresh in (("fresh", True), ("forked", False)):
        words = [str(word).format(new=f"{name}-{how}") for word in EVERY[name]]
        done[how] = epochal(name, *words, "--json", cwd=place, fresh=fresh)
        assert done[how].returncode == 0, done[how].stderr
    told = {how: json.loads(one.stdout) for how, one in done.items()}
    assert told["fresh"].keys() == told["forked"].keys()
    for key in ("parameters_sha256", "valid", "both", "rows", "splits", "platform"):
        assert told["fresh"].get(key) == told["forked"].get(key)
    assert done["fresh"].stderr.replace("-fresh", "") == done["forked"].stderr.replace("-forked", "")
