"""`epochal select`, `resume` and `compare` as a user runs them: processes, signals, files."""

import csv
import importlib.util
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

import needs
from commands import epochal, result
from epochal import load_run
from epochal.selection.store import TrialStore

GRID = ("select", "--model", "logistic", "--learning-rate", "0.01,0.1,1", "--l2", "1e-5,1e-3", "--epochs", 4)


def rows_of(path: Path) -> list[dict[str, str]]:
    return list(csv.DictReader(path.read_text(encoding="utf-8").splitlines()))


@pytest.fixture(scope="module")
def place(tmp_path_factory) -> Path:
    return tmp_path_factory.mktemp("place")


@pytest.fixture(scope="module")
def selected(place) -> dict:
    return result(*GRID, "--out", "s", cwd=place, XDG_DATA_HOME=str(place / "data"))


def test_a_grid_is_one_command_and_one_object(place, selected):
    assert len(selected["candidates"]) == 6
    errors = [candidate["valid_percent"] for candidate in selected["candidates"]]
    assert errors == sorted(errors)
    assert selected["chosen"] == selected["candidates"][0]["number"]
    assert selected["candidates"][0]["varied"].keys() == {"learning_rate", "l2"}
    assert (selected["test"], selected["test_opened_before"]) == (None, 0)
    assert selected["ways"] == ["together"]
    assert selected["steps"] == 6 * 4 * 63
    lines = rows_of(place / "s" / "results.csv")
    assert [int(line["candidate"]) for line in lines] == [c["number"] for c in selected["candidates"]]
    assert "learning_rate (log)" in (place / "s" / "error.svg").read_text()


def test_the_chosen_one_is_an_ordinary_run(place, selected):
    assert selected["run"] == str(Path("s") / "run")
    fit = load_run(place / "s" / "run")
    assert fit.parameters_sha256 == selected["parameters_sha256"]
    assert fit.best.valid.wrong == selected["candidates"][0]["wrong"]
    assert fit.recipe.learning_rate == selected["candidates"][0]["varied"]["learning_rate"]
    told = result("evaluate", Path("s") / "run", "--split", "valid", cwd=place)
    assert told["valid"]["wrong"] == selected["candidates"][0]["wrong"]
    again = epochal("resume", Path("s") / "run", "--json", cwd=place, XDG_DATA_HOME=str(place / "data"))
    assert json.loads(again.stdout)["test"] is None, "the test split stays closed"


def test_the_ledger_counts_over_processes_commands_and_runs(place, selected):
    home = {"XDG_DATA_HOME": str(place / "ledgers")}
    counts = []
    train = ("train", "--epochs", 1, "--out", "first")
    for words in (train, ("evaluate", Path("s") / "run"), ("train", "--epochs", 1), ("resume", "first")):
        counts.append(epochal(*words, cwd=place, **home).stdout)
    told = result(*GRID[:4], "0.1", "--epochs", 1, "--open-test", cwd=place, **home)
    assert "never opened before" in counts[0]
    assert "opened once before" in counts[1]
    assert "opened 2 times before" in counts[2]
    assert "never opened before" in counts[3], "its own opening, and those since, do not count as before it"
    assert told["test_opened_before"] == 3
    assert told["test"]["of"] == 299


def test_two_runs_are_compared_on_the_same_rows(place, selected):
    first, second = Path("s") / "run", "other"
    result("train", "--model", "logistic", "--epochs", 1, "--no-open-test", "--out", second, cwd=place)
    told = result("compare", first, second, cwd=place)
    fits = [load_run(place / path) for path in (first, second)]
    assert [told["first"]["wrong"], told["second"]["wrong"]] == [fit.best.valid.wrong for fit in fits]
    assert told["both"] + told["first_alone"] == told["first"]["wrong"]
    assert told["both"] + told["second_alone"] == told["second"]["wrong"]
    assert 0 <= told["p"] <= 1
    opened = epochal("compare", first, second, "--open-test", cwd=place, XDG_DATA_HOME=str(place / "compared"))
    assert "test " in opened.stdout
    assert "never opened before" in opened.stdout
    result(
        "train", "--model", "logistic", "--epochs", 1, "--split-seed", 5, "--no-open-test", "--out", "far", cwd=place
    )
    refused = epochal("compare", first, "far", cwd=place)
    assert refused.returncode == 2
    assert f"{first} and far: were trained on different data" in refused.stderr


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (("--learning-rate", "1e-4..1e-1"), "is a range; say how many draws with --trials"),
        (("--learning-rate", "fast"), "learning_rate: must be a finite number, got 'fast'"),
        (("--hidden", "10,0"), "hidden: every width must be at least 1"),
        (("--model", "forest"), "model: must be one of logistic"),
        (("--model", "lenet", "--kernel-size", "big"), "kernel_size: must be a whole number"),
        (("--optuna", "sqlite:///x.db"), "--optuna STORAGE and --study NAME go together"),
        (("--trials", "0"), "trials: must be a whole number from 1 to 100,000, got 0"),
        (("--trials", "1e20"), "trials: must be a whole number from 1 to 100,000, got 100,000,000,000,000,000,000"),
        (
            ("--optimizer", "sgd,adam", "--momentum", "0.5,0.9"),
            "momentum: 0.5,0.9 is not read by the optimizer sgd; give",
        ),
        (("--optimizer", "foo", "--momentum", "0.5,0.9"), "optimizer: must be one of sgd"),
        (("--model", "logistic", "--hidden", "5..9", "--trials", 3), "hidden: 5..9 is not read by the model logistic"),
        (
            ("--optuna-batch", 3),
            "optuna_batch: 3 is not read without --optuna; give that as well, or leave --optuna-batch out",
        ),
        (("--factor", 3), "factor: 3 is not read without --halving"),
        (("--search-seed", 0), "search_seed: 0 is not read without --trials"),
        (("--refit-steps", "0"), "refit_steps: must be at least 1, got 0"),
    ],
)
def test_bad_input_is_named(tmp_path, words, told):
    done = epochal("select", *words, cwd=tmp_path)
    assert done.returncode == 2, done.stderr
    assert told in done.stderr
    assert "Traceback" not in done.stderr


def test_candidates_that_differ_in_what_they_do_not_read_are_one(tmp_path):
    words = ("--model", "logistic,mlp", "--hidden", "4,8", "--optimizer", "sgd,momentum", "--momentum", "0.5,0.9")
    done = epochal("select", *words, "--epochs", 1, "--out", "s", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    for note in (
        "note: hidden is not read by the model logistic and momentum is not read by the optimizer sgd: "
        "4 candidates are one",
        "note: hidden is not read by the model logistic: 4 candidates are 2",
        "note: momentum is not read by the optimizer sgd: 4 candidates are 2",
        "note: patience of 10,000 steps cannot run out in 1 epoch of 63 steps (63 steps): only the epochs end this "
        "training; a smaller --patience-steps lets the validation end it",
    ):
        assert done.stderr.count(note + "\n") == 1, note
    found = rows_of(tmp_path / "s" / "results.csv")
    told = {(row["model"], row["hidden"], row["optimizer"], row["momentum"]) for row in found}
    hidden = [("logistic", ""), ("mlp", "4"), ("mlp", "8")]
    moving = [("sgd", ""), ("momentum", "0.5"), ("momentum", "0.9")]
    assert told == {(*model, *optimizer) for model in hidden for optimizer in moving}
    assert len(found) == 9
    sgd = next(line for line in done.stdout.splitlines() if "logistic" in line and "sgd" in line)
    assert sgd.split()[1:5] == ["logistic", "–", "sgd", "–"]


def test_random_draws_and_optuna_leave_out_what_is_not_read(tmp_path):
    words = ("select", "--model", "logistic", "--optimizer", "sgd,adamw", "--weight-decay", "1e-5..1e-2", "--epochs", 1)
    searches = [("--trials", 6)]
    if importlib.util.find_spec("optuna"):
        searches.append(
            ("--trials", 6, "--optuna", f"sqlite:///{tmp_path / 'x.db'}", "--study", "x", "--optuna-batch", 3)
        )
    for search in searches:
        found = [one["varied"] for one in result(*words, *search, cwd=tmp_path)["candidates"]]
        assert len(found) == 6
        assert {one["optimizer"] for one in found} == {"sgd", "adamw"}
        assert all(("weight_decay" in one) == (one["optimizer"] == "adamw") for one in found)
        if len(search) == 2:
            assert [one["optimizer"] for one in found].count("sgd") == 1, "no candidate twice"


def test_class_weights_are_compared_by_semicolons(tmp_path):
    told = result("select", "--class-weight", "balanced;3=2,4=0.5", "--epochs", 1, "--hidden", 4, cwd=tmp_path)
    assert {one["varied"]["class_weight"] for one in told["candidates"]} == {"balanced", "3=2,4=0.5"}


SLOW = (*GRID[:-1], 60, "--seeds", 2, "--checkpoint-seconds", 0)


def _begun(place: Path, out: str) -> subprocess.Popen[str]:
    words = [sys.executable, "-m", "epochal", *map(str, SLOW), "--out", out]
    process = subprocess.Popen(words, cwd=place, stdout=-1, stderr=-1, text=True, env=os.environ.copy())
    progress = place / out / "progress"
    while not (progress.is_dir() and any(progress.glob("checkpoint-*"))):
        assert process.poll() is None, process.communicate()
        time.sleep(0.02)
    return process


def test_a_killed_and_an_interrupted_selection_end_with_the_same_table(place):
    whole = result(*SLOW, "--out", "whole", cwd=place)
    assert whole["ways"] == ["by seed"], "by the rule, without a clock"
    killed = _begun(place, "killed")
    killed.kill()
    killed.communicate()
    stopped = _begun(place, "stopped")
    stopped.send_signal(signal.SIGINT)
    _, err = stopped.communicate(timeout=600)
    assert stopped.returncode == 130, err
    assert err.rstrip().endswith("epochal resume stopped")
    for out in ("killed", "stopped"):
        assert not (place / out / "results.csv").exists(), "it must have been ended before its end"
        told = result("resume", out, cwd=place)
        assert (place / out / "results.csv").read_text() == (place / "whole" / "results.csv").read_text()
        assert told["parameters_sha256"] == whole["parameters_sha256"]
        assert not any((place / out / "progress").iterdir())


def _flip(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[-3] ^= 1
    path.write_bytes(content)


@pytest.mark.thorough
@pytest.mark.parametrize(("count", "told"), [(1, "an older checkpoint is used"), (2, "no checkpoint is whole; the")])
def test_damaged_checkpoints_of_trials_in_training_are_told_and_passed_over(place, count, told):
    whole = result(*SLOW, "--out", f"whole-{count}", cwd=place)
    killed = _begun(place, f"damaged-{count}")
    progress = place / f"damaged-{count}" / "progress"
    while len(list(progress.glob("checkpoint-*[0-9].safetensors"))) < 2:
        assert killed.poll() is None, killed.communicate()
    killed.kill()
    killed.communicate()
    found = sorted(progress.glob("checkpoint-*[0-9].safetensors"))
    for path in found[-count:] if count == 1 else found:
        _flip(path)
    done = epochal("resume", f"damaged-{count}", cwd=place)
    assert told in done.stderr
    assert done.returncode == 0, done.stderr
    table = "results.csv"
    assert (place / f"damaged-{count}" / table).read_text() == (place / f"whole-{count}" / table).read_text()
    assert whole["run"]


def test_models_of_ones_own_are_compared_and_a_changed_file_is_told(tmp_path):
    text = """
import jax
from epochal import Model


def flat(width):
    def init(key, example_shape, classes):
        return {"w": jax.random.normal(key, (example_shape[0] * example_shape[1], classes)) / width}

    return Model(init, lambda params, x: x.reshape(x.shape[0], -1) @ params["w"])


small, large = flat(10), flat(100)
"""
    (tmp_path / "own.py").write_text(text)
    (tmp_path / "below").mkdir()
    models = "../own.py:small,../own.py:large,logistic"
    told = result(
        "select", "--model", models, "--learning-rate", "0.1,0.3", "--epochs", 2, "--out", "s", cwd=tmp_path / "below"
    )
    assert len(told["candidates"]) == 6
    assert {c["varied"]["model"] for c in told["candidates"]} == set(models.split(","))
    (tmp_path / "own.py").write_text(text + "\n")
    done = epochal("resume", "s", cwd=tmp_path / "below")
    assert done.returncode == 0, done.stderr
    assert "own.py has changed since: its SHA-256 was" in done.stderr


def test_a_damaged_trial_is_done_again_and_a_torn_line_is_cut(place, selected):
    path = place / "s"
    table = (path / "results.csv").read_text()
    result("evaluate", path / "run", cwd=place)
    openings = (path / "run" / "test-ledger.jsonl").read_text()
    victim = sorted((path / "trials").iterdir())[2]
    _flip(victim)
    with (path / "journal.jsonl").open("a") as file:
        file.write('{"decision": ["half')
    done = epochal("resume", "s", cwd=place)
    assert done.returncode == 0, done.stderr
    assert "the trial is done again" in done.stderr
    assert (path / "results.csv").read_text() == table
    assert (path / "run" / "test-ledger.jsonl").read_text() == openings, "the run stays, with its ledger"
    assert len(TrialStore(path).lines()) >= 2


OPTUNA = (
    "select", "--model", "logistic", "--learning-rate", "1e-3..1", "--epochs", 1, "--study", "one", "--optuna-batch", 2
)  # fmt: skip


def test_two_processes_share_a_study(tmp_path):
    needs.extra("optuna")
    storage = f"sqlite:///{tmp_path / 'study.db'}"
    words = [*map(str, OPTUNA), "--optuna", storage, "--trials", "4", "--json"]
    first = result(*words[:-1], "--out", "zero", cwd=tmp_path)  # the tables of the database are made
    both = [
        subprocess.Popen([sys.executable, "-m", "epochal", *words, "--out", out], cwd=tmp_path, stdout=-1, stderr=-1)
        for out in ("one", "two")
    ]
    told = []
    for process in both:
        out, err = process.communicate(timeout=300)
        assert process.returncode == 0, err.decode()
        told.append(json.loads(out))
    import optuna

    study = optuna.load_study(storage=storage, study_name="one")
    values = {round(t.params["learning_rate"], 12): t.value for t in study.trials}
    assert len(study.trials) == 12
    assert all(trial.state.name == "COMPLETE" for trial in study.trials)
    for candidate in (c for one in (first, *told) for c in one["candidates"]):
        assert values[round(candidate["varied"]["learning_rate"], 12)] == candidate["valid_percent"]
