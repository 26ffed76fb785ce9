"""`predict --out`: where predictions go, and what they never take the place of."""

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from commands import epochal, result
from epochal.cli import predictions
from epochal.errors import RecipeError, StorageError


@pytest.fixture(scope="module")
def place(tmp_path_factory) -> Path:
    place = tmp_path_factory.mktemp("places")
    rows = "".join(f"{n % 7},{['=1+1', '-x', '-1', 'cat'][n % 4]}\n" for n in range(80))
    (place / "t.csv").write_text("a,y\n" + rows)
    result("train", "t.csv", "--label", "y", "--model", "logistic", "--epochs", 1, "--out", "run", cwd=place)
    (place / "folder.csv").mkdir()
    (place / "mine.csv").write_text("id,note\n1,mine\n")
    (place / "mine.jsonl").write_text('{"id": 1}\n')
    (place / "mine.npz").write_bytes(b"PK mine")
    (place / "link.csv").symlink_to("mine.csv")
    (place / "hard.csv").hardlink_to(place / "t.csv")
    (place / "linked").symlink_to(".")
    os.mkfifo(place / "pipe.csv")
    return place


REFUSED = {
    "nowhere/p.csv": "cannot be written: there is no folder nowhere",
    "folder.csv": "is a folder",
    "t.csv": "is the file that the rows come from",
    "hard.csv": "is the file that the rows come from",
    "linked/t.csv": "is the file that the rows come from",
    "link.csv": "is a link",
    "pipe.csv": "is a named pipe",
    "mine.csv": "holds no predictions of epochal's",
    "mine.jsonl": "holds no predictions of epochal's",
    "mine.npz": "holds no predictions of epochal's",
    "x" * 300 + ".csv": "File name too long",
    "p.txt": "must end in one of .csv, .jsonl, .npz",
}


@pytest.mark.parametrize("out", REFUSED, ids=lambda out: out[:20])
def test_a_place_that_cannot_be_is_refused_before_anything_is_computed(place, out):
    before = {path.name: path.read_bytes() for path in place.iterdir() if path.is_file() and not path.is_fifo()}
    done = epochal("predict", "run", "t.csv", "--out", out, cwd=place)
    assert done.returncode == 2, done.stderr
    assert REFUSED[out] in done.stderr
    assert len(done.stderr.splitlines()) == 1, "a note says that rows were read"
    assert before == {p.name: p.read_bytes() for p in place.iterdir() if p.is_file() and not p.is_fifo()}
    assert (place / "link.csv").is_symlink()
    assert (place / "pipe.csv").is_fifo()


@pytest.mark.parametrize("form", predictions.FORMS)
def test_predictions_replace_predictions_and_an_empty_file(place, form):
    out = place / f"again{form}"
    out.touch()
    for _ in range(3):
        assert epochal("predict", "run", "t.csv", "--out", out.name, cwd=place).returncode == 0
    assert out.stat().st_size


def test_a_full_disk_is_one_line_and_leaves_nothing(place, tmp_path):
    limited = f"ulimit -f 1; cd {place}; exec python -m epochal predict run t.csv --out {tmp_path}/p.csv"
    python = Path(sys.executable).parent
    done = subprocess.run(
        ["bash", "-c", limited], capture_output=True, text=True, check=False,
        env=os.environ | {"PATH": f"{python}:{os.environ['PATH']}", "JAX_ENABLE_COMPILATION_CACHE": "0"},
    )  # fmt: skip
    assert done.returncode == 1, done.stderr
    assert "p.csv: cannot be written: File too large; nothing is left there" in done.stderr.splitlines()[-1]
    assert "Traceback" not in done.stderr
    assert not list(tmp_path.iterdir())


def test_formulas_are_kept_from_a_spreadsheet_on_request(place):
    exact = epochal("predict", "run", "t.csv", cwd=place).stdout
    assert ",'" not in exact
    assert "p(=1+1)" in exact.splitlines()[0]
    p = np.eye(6)
    names = ["=1+1", "-x", "-1", "cat", "@SUM(1)", "+a"]
    lines = predictions._csv(p, names, escape_formulas=True).splitlines()[1:]
    assert [line.split(",")[1] for line in lines] == ["'=1+1", "'-x", "-1", "cat", "'@SUM(1)", "'+a"]
    done = epochal("predict", "run", "t.csv", "--escape-formulas", "--out", "p.npz", cwd=place)
    assert done.returncode == 2
    assert "--escape-formulas: is of CSV alone" in done.stderr


def test_failures_have_their_kinds(tmp_path, monkeypatch):
    with pytest.raises(RecipeError, match="there is no folder"):
        predictions.check_place(tmp_path / "a" / "p.csv", ())

    def full(path, content):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("epochal.system.atomic.write", full)
    with pytest.raises(StorageError, match="No space left on device"):
        predictions.write(tmp_path / "p.csv", np.eye(2), ["a", "b"])
