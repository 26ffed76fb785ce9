"""A table beyond the host's memory at the command line: trained, resumed, scored, predicted, inspected."""

import csv
import io
import os
import signal
import subprocess
import sys
import time

import numpy as np
import pytest

from commands import epochal, result

TRAIN = ("--label", "y", "--model", "logistic", "--learning-rate", 0.05, "--batch-size", 100, "--seed", 3)
LITTLE = ("--host-memory", "900kB", "--memory", "1MB")
ROWS = 30_000


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    folder = tmp_path_factory.mktemp("larger")
    generator = np.random.default_rng(0)
    y = generator.integers(0, 3, ROWS)
    x = generator.normal(size=(ROWS, 12)) + y[:, None] / 3
    with (folder / "big.csv").open("w") as file:
        table = csv.writer(file)
        table.writerow([*(f"c{i}" for i in range(12)), "y"])
        table.writerows([*(f"{value:.3f}" for value in row), "pqr"[label]] for row, label in zip(x, y, strict=True))
    return folder


@pytest.fixture(scope="module")
def environment(place):
    return {"EPOCHAL_CACHE": str(place / "cache")}


@pytest.fixture(scope="module")
def trained(place, environment):
    return result("train", "big.csv", *TRAIN, *LITTLE, "--epochs", 3, "--out", "run", cwd=place, **environment)


def test_it_trains_to_the_bits_of_memory(place, environment, trained):
    assert trained["residency"]["kind"] == "chunked"
    other = result("train", "big.csv", *TRAIN, "--epochs", 3, "--out", "plenty", cwd=place, **environment)
    assert (other["residency"]["kind"], other["parameters_sha256"]) == ("resident", trained["parameters_sha256"])
    assert (other["test"], other["best_validation"]) == (trained["test"], trained["best_validation"])


def test_it_says_where_the_rows_are_and_recommends_blocks(place, environment, trained):
    done = epochal("train", "big.csv", *TRAIN, *LITTLE, "--epochs", 1, "--out", "told", cwd=place, **environment)
    assert "big.csv: its columns take more than 900 kB, the memory granted for reading: kept in" in done.stderr
    assert (
        "note: the rows stay in the file; a full shuffle reads it row by row, --shuffle blocks in runs" in done.stderr
    )
    done = epochal(
        "train",
        "big.csv",
        *TRAIN,
        *LITTLE,
        "--epochs",
        1,
        "--shuffle",
        "blocks",
        "--out",
        "b",
        cwd=place,
        **environment,
    )
    assert "a full shuffle reads" not in done.stderr


def test_a_run_that_is_killed_is_resumed_to_the_same_bits(place, environment, trained):
    words = ["train", "big.csv", *TRAIN, *LITTLE, "--epochs", "3", "--out", "killed", "--checkpoint-seconds", "0"]
    command = [sys.executable, "-m", "epochal", *map(str, words), "--quiet"]
    child = subprocess.Popen(command, cwd=place, env=os.environ | environment, stderr=subprocess.PIPE)
    deadline = time.time() + 600
    while child.poll() is None and time.time() < deadline and not list(place.glob("killed/checkpoint-*")):
        time.sleep(0.01)
    child.send_signal(signal.SIGKILL)
    child.wait()
    assert child.stderr
    child.stderr.close()
    resumed = result("resume", "killed", cwd=place, **environment)
    assert resumed["parameters_sha256"] == trained["parameters_sha256"]


def test_evaluate_predict_and_inspect(place, environment, trained):
    told = result("evaluate", "run", *LITTLE[:2], cwd=place, **environment)
    assert told["test"] == trained["test"]
    told = result("evaluate", "run", "big.csv", "--split", "all", *LITTLE[:2], cwd=place, **environment)
    assert told["all"]["of"] == ROWS
    answers = []
    for little in ((), LITTLE[:2]):
        done = epochal("predict", "run", "big.csv", *little, cwd=place, **environment)
        assert done.returncode == 0, done.stderr
        answers.append(done.stdout)
    assert answers[0] == answers[1]
    assert len(list(csv.reader(io.StringIO(answers[0])))) == ROWS + 1
    inspected = [
        result("inspect", "big.csv", "--label", "y", *little, cwd=place, **environment) for little in ((), LITTLE[:2])
    ]
    for told in inspected:
        told.pop("notes")
        told.pop("residency")
    assert inspected[0] == inspected[1]
    done = epochal("inspect", "big.csv", "--label", "y", *LITTLE[:2], cwd=place, **environment)
    assert "standardised: mean" in done.stdout


def test_a_cache_without_room_ends_with_two(place, tmp_path):
    (tmp_path / "file").write_text("")
    done = epochal("train", "big.csv", *TRAIN, *LITTLE, cwd=place, EPOCHAL_CACHE=str(tmp_path / "file"))
    assert (done.returncode, "Traceback" in done.stderr) == (2, False)
    assert "name another folder with EPOCHAL_CACHE" in done.stderr
