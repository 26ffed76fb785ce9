"""Options of tables on the command line: given, kept in a run's recipe, inherited by other commands, refused."""

import json
import re
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from commands import epochal, result

ROWS = 120
FAST = ("--model", "logistic", "--epochs", 2)


@pytest.fixture(scope="module")
def place(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("options")
    rng = np.random.default_rng(0)
    frame = pd.DataFrame({
        "x": rng.normal(size=ROWS).round(3), "a, b": rng.integers(0, 9, ROWS), "zip": rng.integers(0, 3, ROWS) * 1000,
        "note": rng.choice(["good\nbad", "very long text with no end to it", "\x1b[31mred"], ROWS),
        "y": rng.choice(["p", "q", ""], ROWS, p=[0.45, 0.45, 0.1]),
    })  # fmt: skip
    frame.to_csv(folder / "comma.csv", sep=";", decimal=",", encoding="latin-1")
    frame.drop(columns="y").to_parquet(folder / "new.parquet")
    frame.to_csv(folder / "point.csv", index=False)
    rows = "".join(f"{i % 7 + i / 1e4},{i // 2}\n" for i in range(6000))
    (folder / "prices.csv").write_text("a,price\n" + rows)
    return folder


def test_a_run_keeps_how_its_table_was_read(place):
    words = ("--label", "y", "--decimal", ",", "--skip-unlabelled", "--categorical", "zip", "--encoding", "latin-1")
    told = result("train", "comma.csv", *words, "--drop", "a, b", "--drop", "note", *FAST, "--out", "run", cwd=place)
    missing = int(pd.read_csv(place / "point.csv").y.isna().sum())
    done = epochal("inspect", "comma.csv", *words, "--drop", "a, b,note", cwd=place)
    assert done.returncode == 2, "joined by a comma, its parts are names"
    assert "there is no column 'a' (--drop)" in done.stderr
    done = epochal("inspect", "comma.csv", *words, "--drop", "a, b", "--drop", "note", cwd=place)
    assert done.returncode == 0, done.stderr
    assert f"note: {missing} of {ROWS} rows have no label in column 'y' (it is empty), and are left out" in done.stdout
    assert re.search(r"^x +number", done.stdout, re.M)
    assert re.search(r"^zip +category +3 values", done.stdout, re.M)
    assert re.search(r"^a, b +left out", done.stdout, re.M)
    assert result("evaluate", told["run"], cwd=place)["test"] == told["test"]
    scored = result("evaluate", told["run"], "comma.csv", "--split", "all", cwd=place)
    assert scored["all"]["of"] == ROWS - missing
    assert epochal("predict", told["run"], "new.parquet", cwd=place).stdout.count("\n") == ROWS + 1, "no text table"
    refused = epochal("predict", told["run"], "new.parquet", "--decimal", ";", cwd=place)
    assert refused.returncode == 2
    assert "--decimal ';': is for text tables (CSV), and new.parquet is a table in Parquet or Arrow form" in (
        refused.stderr
    )
    again = result("train", "--config", "run/recipe.toml", "--out", "again", cwd=place)
    assert again["parameters_sha256"] == told["parameters_sha256"]


def test_messages_name_the_options_of_the_command_line(place):
    for words, told in (
        (("point.csv",), "is it --label y?"),
        (("point.csv", "--label", "y"), "leave such rows out with --skip-unlabelled"),
        (("comma.csv", "--label", "y"), "say so with --encoding latin-1"),
        (("digits", "--decimal", ","), "--decimal ,: is for text tables"),
        (("digits", "--skip-unlabelled"), "--skip-unlabelled: is for tables"),
        (("point.csv", "--label", "y", "--drop", "x", "--drop", "nothing"), "there is no column 'nothing' (--drop)"),
    ):
        done = epochal("inspect", *words, cwd=place)
        assert done.returncode == 2
        assert told in done.stderr or "latin-1" in told, done.stderr
        assert "Traceback" not in done.stderr


def test_inspect_shows_texts_of_a_file_in_one_line(place):
    done = epochal("inspect", "point.csv", "--label", "y", "--skip-unlabelled", cwd=place)
    assert done.returncode == 0, done.stderr
    [line] = [line for line in done.stdout.splitlines() if line.startswith("note ")]
    assert r"\x1b[31mred, good\nbad, very long text with…" in line
    assert "\x1b" not in done.stdout


def test_inspect_of_a_regression_target_is_short(place):
    done = epochal("inspect", "prices.csv", "--label", "price", cwd=place)
    assert done.returncode == 0, done.stderr
    assert "note: prices.csv: the labels are 3,000 classes" in done.stdout
    assert "regression target" in done.stdout
    assert done.stdout.count("\n") < 50
    assert "Warning" not in done.stderr


def test_help_shows_the_options(place):
    done = epochal("train", "--help", cwd=place)
    for name in ("decimal", "thousands", "missing", "known-missing", "categorical", "encoding", "skip-unlabelled"):
        assert f"--{name}" in done.stdout
    assert "--empty-" not in done.stdout
    assert json.loads(epochal("inspect", "digits", "--json", cwd=place).stdout)["classes"]
