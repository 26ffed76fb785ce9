"""Run folders and selections of strangers: what lies in them is taken as what it is, and nothing else is touched."""

import json
import os
import shutil
import struct
import subprocess
import sys
from hashlib import sha256
from pathlib import Path

import pytest
import safetensors.numpy

from campaigns import cases
from commands import epochal as command
from commands import process, result
from epochal.system import checksummed
from epochal.system.lock import Lock
from needs import extra
from sealing import rechain, reseal, told_by

RUN = ("--model", "logistic", "--epochs", "2", "--quiet")
SEARCH = ("--model", "logistic", "--learning-rate", "0.01,0.1", "--epochs", "2", "--quiet")


@pytest.fixture(scope="module")
def kept(tmp_path_factory):
    """A run whose test split was opened once, another one, and a selection; to be copied."""
    place = tmp_path_factory.mktemp("kept")
    result("train", "digits", *RUN, "--out", "run", cwd=place)
    result("train", "digits", *RUN, "--seed", "7", "--out", "other", cwd=place)
    result("select", "digits", *SEARCH, "--out", "selection", cwd=place)
    return place


@pytest.fixture
def place(kept, tmp_path):
    shutil.copytree(kept, tmp_path / "x")
    return tmp_path / "x"


def refused(place: Path, *words: object, told: str, code: int = 2, **environment: str) -> str:
    done = command(*words, cwd=place, **environment)
    assert done.returncode == code, done.stderr
    assert told in done.stderr
    assert "Traceback" not in done.stderr
    assert len(done.stderr.splitlines()) <= 3, done.stderr
    return done.stderr


def contents(folder: Path) -> dict[str, str]:
    """Digests of all files below a folder; links by what they name."""
    return {
        str(path.relative_to(folder)): str(path.readlink())
        if path.is_symlink()
        else sha256(path.read_bytes()).hexdigest()
        for path in sorted(folder.rglob("*"))
        if path.is_symlink() or path.is_file()
    }


def unfinished(selection: Path) -> None:
    """As a kill between the run and the outcome leaves it."""
    reseal(selection / "selection.json", told_by(selection / "selection.json") | {"outcome": None})


# A3


def test_a_selection_whose_trials_are_a_link_deletes_nothing_there(place):
    (place / "models").mkdir()
    (place / "models" / "llama.safetensors").write_bytes(b"mine")
    shutil.copy(place / "run" / "best.safetensors", place / "models" / "0-0-0.safetensors")
    before = contents(place / "models")
    for name in ("trials", "progress"):
        shutil.rmtree(place / "selection" / name)
        (place / "selection" / name).symlink_to("../models")
        refused(place, "resume", "selection", told=f"{name}: is a link", code=1)
        assert contents(place / "models") == before
        (place / "selection" / name).unlink()


def test_a_selection_renames_damaged_trials_and_leaves_what_is_not_its_own(place):
    trials = place / "selection" / "trials"
    unfinished(place / "selection")
    (trials / "0-0-0.safetensors").write_bytes(b"damaged")
    (trials / "llama.safetensors").write_bytes(b"mine")
    (trials / "1-0-0.safetensors").unlink()
    (trials / "1-0-0.safetensors").symlink_to("../../run/best.safetensors")
    before = contents(place / "run")
    done = command("resume", "selection", cwd=place)
    assert done.returncode == 0, done.stderr
    assert "it is called 0-0-0.safetensors.damaged now, and the trial is done again" in done.stderr
    assert "1-0-0.safetensors: is no regular file; it is called 1-0-0.safetensors.damaged now" in done.stderr
    assert (trials / "0-0-0.safetensors.damaged").read_bytes() == b"damaged"
    assert (trials / "llama.safetensors").read_bytes() == b"mine"
    assert (trials / "1-0-0.safetensors.damaged").is_symlink()
    assert contents(place / "run") == before


def test_a_trial_of_another_selection_is_not_taken(place):
    result("select", "digits", *SEARCH, "--seed", "3", "--out", "second", cwd=place)
    unfinished(place / "selection")
    shutil.copy(place / "second" / "trials" / "0-0-0.safetensors", place / "selection" / "trials")
    done = command("resume", "selection", cwd=place)
    assert done.returncode == 0
    assert "0-0-0.safetensors: is a trial of another selection; it is called" in done.stderr


# A4


def test_a_lock_is_not_followed_nor_is_that_of_somebody_else_written_to(place):
    (place / "thesis.txt").write_text("my thesis")
    (place / "run" / "lock").unlink()
    (place / "run" / "lock").symlink_to("../thesis.txt")
    refused(place, "resume", "run", told="run: the run folder cannot be made: is a link", code=1)
    assert (place / "thesis.txt").read_text() == "my thesis"
    (place / "run" / "lock").unlink()
    os.link(place / "thesis.txt", place / "run" / "lock")
    refused(place, "resume", "run", told="lock: is no lock of epochal's, and stays as it is")
    assert (place / "thesis.txt").read_text() == "my thesis"


@pytest.mark.parametrize("words", [("train", *RUN), ("select", "digits", *SEARCH)], ids=["train", "select"])
def test_a_folder_that_is_refused_stays_as_it_was(place, words):
    (place / "project").mkdir()
    (place / "project" / "main.c").write_text("x")
    refused(place, *words, "--out", "project", told="project: is not empty (it holds main.c)")
    assert list(contents(place / "project")) == ["main.c"], "no lock is left"
    (place / "project" / "lock").write_text("a file of mine that is called lock")
    refused(place, *words, "--out", "project", told="project: is not empty (it holds main.c)")
    (place / "project" / "main.c").unlink()
    refused(place, *words, "--out", "project", told="lock: is no lock of epochal's")
    assert (place / "project" / "lock").read_text() == "a file of mine that is called lock"


# A5


@pytest.mark.parametrize("link", [os.symlink, os.link], ids=["link", "hard link"])
def test_the_ledger_is_not_written_through_a_link(place, link):
    (place / "envfile").write_text("API_KEY=secret (no line end)")
    (place / "run" / "test-ledger.jsonl").unlink()
    link(place / "envfile", place / "run" / "test-ledger.jsonl")
    refused(place, "evaluate", "run", told="test-ledger.jsonl: cannot be written: ", code=1)
    assert (place / "envfile").read_text() == "API_KEY=secret (no line end)"


@pytest.mark.parametrize("tail", [b"API_KEY=secret", b"mine\nmore", b"\x7fELF" + bytes(100_000), b'mine\n{"tim'])
def test_a_ledger_whose_end_is_no_line_of_ours_is_not_cut(place, tail):
    path = place / "run" / "test-ledger.jsonl"
    path.write_bytes(tail)
    refused(place, "evaluate", "run", told="does not end in a line of epochal's, and stays as it is", code=1)
    assert path.read_bytes() == tail


# A8

LIMITED = """
import resource, signal, sys
resource.setrlimit(resource.RLIMIT_AS, (6 << 30, 6 << 30))
resource.setrlimit(resource.RLIMIT_CPU, (60, 60))
signal.alarm(300)
from epochal.__main__ import run
sys.argv[1:] = sys.argv[1:]
sys.exit(run())
"""


def bounded(place: Path, *words: str) -> subprocess.CompletedProcess[str]:
    """A command that is ended where it waits, or takes 6 GB of addresses."""
    return process("-c", LIMITED, *words, cwd=place)


@pytest.mark.parametrize("name", ["run.json", "history.jsonl", "best.safetensors", "rows.safetensors", "lock"])
@pytest.mark.parametrize("kind", cases(["FIFO", "/dev/zero", "folder"], "FIFO"))
def test_what_is_no_file_is_neither_waited_for_nor_read(place, name, kind):
    path = place / "run" / name
    path.unlink()
    if kind == "FIFO":
        os.mkfifo(path)
    elif kind == "folder":
        path.mkdir()
    else:
        path.symlink_to(kind)
    words = (
        ("resume", "run") if name in ("lock", "history.jsonl") else ("evaluate", "run", "digits", "--split", "valid")
    )
    done = bounded(place, *words)
    told = {"FIFO": "is a FIFO", "/dev/zero": "is a link", "folder": "is a folder"}[kind]
    assert done.returncode in (1, 2), done.stderr
    assert told in done.stderr
    assert "Traceback" not in done.stderr


def test_files_are_read_with_a_bound(place):
    os.truncate(place / "run" / "test-ledger.jsonl", 20 << 30)
    done = bounded(place, "evaluate", "run")
    assert (done.returncode, "has 21,474,836,480 bytes, more than" in done.stderr) == (1, True), done.stderr
    os.truncate(place / "run" / "run.json", 20 << 30)
    done = bounded(place, "evaluate", "run")
    assert (done.returncode, "run.json: cannot be read: has 21,474,836,480 bytes" in done.stderr) == (2, True)
    for text in ("[" * 100_000, '{"a":' * 100_000, "1" * 100_000, '{"format": NaN}', "[1," * 10, "\udcff", '"\\ud800"'):
        (place / "run" / "run.json").write_bytes(text.encode(errors="surrogateescape"))
        refused(place, "predict", "run", "digits", told="run.json: ")


# A12, A14


def test_best_parameters_of_another_run_are_refused_by_name(place):
    shutil.copy(place / "other" / "best.safetensors", place / "run")
    for words in (("evaluate", "run"), ("predict", "run", "digits"), ("export", "run", "--format", "safetensors")):
        refused(place, *words, told="best.safetensors: belongs to another run, of another model, recipe or data: ")


def test_an_older_best_of_the_same_run_is_not_what_it_ended_with(place):
    path = place / "run" / "best.safetensors"
    arrays, told = checksummed.read(path)
    changed = {name: array + 1 for name, array in arrays.items()}
    checksummed.write(path, changed, told)
    refused(place, "evaluate", "run", told="is not the file that this run ended with: the parameters have the SHA-256")


def test_rows_of_another_run_are_refused_by_name(place):
    result("train", "digits", *RUN, "--split-seed", "5", "--out", "third", cwd=place)
    shutil.copy(place / "third" / "rows.safetensors", place / "run")
    refused(place, "evaluate", "run", "digits", "--split", "all", told="rows.safetensors: is that of another run")


def test_a_changed_digit_of_a_run_is_refused(place):
    path = place / "run" / "run.json"
    text = path.read_text()
    for old, new in (('"divisor": 16.0', '"divisor": 17.0'), ('"seed": 0', '"seed": 1'), ('"steps": ', '"steps": 1')):
        assert old in text
        path.write_text(text.replace(old, new, 1))
        refused(place, "predict", "run", "digits", told="run.json: cannot be read: its SHA-256 is ")
    path.write_text(json.dumps(json.loads(text), indent=7, sort_keys=True))  # the same in other words
    assert command("predict", "run", "digits", cwd=place).returncode == 0


def test_a_changed_or_a_lacking_opening_is_refused(place):
    path = place / "run" / "test-ledger.jsonl"
    assert command("evaluate", "run", cwd=place).returncode == 0
    first, second = path.read_bytes().splitlines(keepends=True)
    wrong = json.loads(first)["test"]["wrong"]
    path.write_bytes(first.replace(b'"wrong": %d' % wrong, b'"wrong": 1') + second)
    refused(place, "resume", "run", "--quiet", told="test-ledger.jsonl: cannot be read: line 1: its SHA-256 is ")
    for lines in (second, first + first, second + first):
        path.write_bytes(lines)
        refused(place, "resume", "run", "--quiet", told="it does not follow the line before it")
    path.write_bytes(first)
    rechain(path, lambda text: text.replace(f'"wrong": {wrong}', '"wrong": 1'))
    refused(place, "resume", "run", "--quiet", told="line 1.test.percent must be ")


def test_a_damaged_history_stops_what_needs_it_and_nothing_else(place):
    path = place / "run" / "history.jsonl"
    path.write_text(path.read_text().replace('"epoch": 1', '"epoch": 4', 1))
    for words in (("evaluate", "run"), ("predict", "run", "digits"), ("export", "run", "--format", "safetensors")):
        done = command(*words, cwd=place)
        assert done.returncode == 0, done.stderr
        assert "history.jsonl: cannot be read: its SHA-256 is not the one that was noted" in done.stderr
    refused(place, "resume", "run", told="history.jsonl: cannot be read: ")


def test_a_changed_selection_is_refused(place):
    path = place / "selection" / "selection.json"
    text = path.read_text()
    path.write_text(text.replace('"seeds": 1', '"seeds": 2'))
    refused(place, "resume", "selection", told="selection.json: cannot be read: its SHA-256 is ")
    reseal(path, told_by(path) | {"memory_bytes": "much"})
    refused(place, "resume", "selection", told="selection.json: is no selection of this version: memory_bytes must be")
    path.write_text(text)
    lines = place / "selection" / "journal.jsonl"
    lines.write_text(lines.read_text().replace("0.01", "0.02", 1))
    refused(place, "resume", "selection", told="journal.jsonl: cannot be read: line 1: its SHA-256 is ")


# A18


@pytest.mark.parametrize("dtype", ["F8_E4M3", "F8_E5M2", "F4", 7, None, ["F32"]])
def test_numbers_that_epochal_never_writes_are_refused(place, dtype):
    header = {
        "__metadata__": {"values": "{}", "sha256": "x"},
        "W": {"dtype": dtype, "shape": [4], "data_offsets": [0, 4]},
    }
    text = json.dumps(header).encode()
    (place / "run" / "best.safetensors").write_bytes(struct.pack("<Q", len(text)) + text + b"1234")
    refused(place, "predict", "run", "digits", told="best.safetensors: cannot be read: ")


def test_what_the_library_writes_is_what_is_read(place):
    path = place / "run" / "best.safetensors"
    arrays, _ = checksummed.read(path)
    other = safetensors.numpy.load_file(path)
    assert {name: array.tobytes() for name, array in arrays.items()} == {n: a.tobytes() for n, a in other.items()}


HIDDEN = [2**63 - 1, 2**62, 2**31, [2**31 - 1] * 3, [5] * 2000, 0, "many", [[1]], None]


@pytest.mark.parametrize("hidden", cases(HIDDEN, 2**63 - 1, "many"))
def test_sizes_that_no_machine_holds_do_not_abort(place, hidden):
    path = place / "run" / "run.json"
    told = told_by(path)
    told["model"] = {"name": "mlp", "settings": {"hidden": hidden}, "built_in": True}
    reseal(path, told)
    refused(place, "predict", "run", "digits", told="run")


# A19, A24


def test_a_database_that_a_folder_names_is_opened_by_its_own_user_alone(tmp_path):
    extra("optuna")
    words = ("--trials", "2", "--optuna", "sqlite:///study.db", "--study", "s", "--out", "s")
    result(
        "select", "digits", "--model", "logistic", "--learning-rate", "1e-3..1", "--epochs", "2", *words, cwd=tmp_path
    )
    assert told_by(tmp_path / "s/selection.json")["search"]["storage"] == f"sqlite:///{tmp_path}/study.db"
    (tmp_path / "elsewhere").mkdir()
    result("resume", "../s", cwd=tmp_path / "elsewhere")
    assert not list((tmp_path / "elsewhere").iterdir())
    theirs = {"XDG_DATA_HOME": str(tmp_path / "theirs")}
    refused(tmp_path, "resume", "s", told="the database sqlite:///", **theirs)
    told = told_by(tmp_path / "s/selection.json")
    planted = told | {"search": told["search"] | {"storage": f"sqlite:///{tmp_path}/made.db"}}
    reseal(tmp_path / "s/selection.json", planted)
    err = refused(tmp_path, "resume", "s", told="is not as this user's run has signed it")
    assert "nothing was opened; --trust opens it" in err
    refused(tmp_path, "resume", "s", "--trust", told="made.db is not there, which this selection has asked before")
    assert not (tmp_path / "made.db").exists()
    reseal(tmp_path / "s/selection.json", told)
    result("resume", "s", "--trust", cwd=tmp_path, **theirs)
    result("resume", "s", cwd=tmp_path, **theirs)  # it is signed now


def test_tools_that_a_log_names_are_written_to_by_its_own_user_alone(place):
    extra("tensorboard")
    (place / "outside").mkdir()
    (place / "run" / "logs.json").write_text('{"id": "x", "tools": ["tensorboard", "mlflow"], "last": {}}')
    (place / "run" / "tensorboard").symlink_to("../outside")
    err = refused(place, "resume", "run", "--quiet", told="tensorboard and mlflow would be written to, which logs.json")
    assert "nothing was written; --trust writes to them" in err
    assert not (place / "mlflow.db").exists()
    (place / "run" / "logs.json").write_text('{"id": "x", "tools": ["tensorboard"], "last": {}}')
    refused(place, "resume", "run", "--quiet", "--trust", told="tensorboard: cannot be opened: ")
    assert not list((place / "outside").iterdir())
    (place / "run" / "tensorboard").unlink()
    assert command("resume", "run", "--quiet", "--trust", cwd=place).returncode == 0
    assert list((place / "run" / "tensorboard").iterdir())
    assert command("resume", "run", "--quiet", cwd=place).returncode == 0, "it is signed now"
    refused(place, "resume", "run", "--quiet", told="would be written to", XDG_DATA_HOME=str(place / "theirs"))


# A25


def test_a_selection_removes_nothing_of_its_run(place):
    for _ in range(2):
        assert command("evaluate", "selection/run", cwd=place).returncode == 0
    run = place / "selection" / "run"
    (run / "notes.txt").write_text("mine")
    (run / "export").mkdir()
    (run / "export" / "model.onnx").write_bytes(b"exported")
    unfinished(place / "selection")
    before = contents(run)
    held = Lock(run)
    refused(place, "resume", "selection", "--quiet", told="selection/run: is in use by process")
    held.close()
    result("resume", "selection", cwd=place)
    after = contents(run)
    assert set(before) <= set(after)
    assert all(after[name] == before[name] for name in ("notes.txt", "export/model.onnx", "test-ledger.jsonl"))
    assert "has been opened 3 times" in command("evaluate", "selection/run", cwd=place).stdout


def test_another_run_in_the_place_of_a_selections_own_is_set_aside(place):
    unfinished(place / "selection")
    shutil.rmtree(place / "selection" / "run")
    shutil.copytree(place / "other", place / "selection" / "run")
    before = contents(place / "other")
    done = command("resume", "selection", cwd=place)
    assert done.returncode == 0, done.stderr
    assert "is not the run of the chosen candidate; it is called run.aside now" in done.stderr
    assert contents(place / "selection" / "run.aside") == before
    unfinished(place / "selection")
    shutil.rmtree(place / "selection" / "run")
    (place / "selection" / "run").symlink_to("../other")
    refused(place, "resume", "selection", "--quiet", told="selection/run: is a link")
    assert contents(place / "other") == before


# A26


def test_a_file_that_may_not_be_read_is_neither_missing_nor_damaged(place, monkeypatch):
    if os.geteuid() == 0 and not shutil.which("setpriv"):
        pytest.skip("root may read anything")
    drop = ["setpriv", "--bounding-set=-dac_override,-dac_read_search"] if os.geteuid() == 0 else []
    (checkpoint,) = (
        path for path in (place / "run").glob("checkpoint-*") if path == max((place / "run").glob("check*"))
    )
    for name, words in ((checkpoint.name, "resume"), ("best.safetensors", "evaluate"), ("run.json", "evaluate")):
        path = place / "run" / name
        path.chmod(0)
        done = subprocess.run(
            [*drop, sys.executable, "-m", "epochal", words, "run"],
            cwd=place,
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 2, done.stderr
        assert f"{name}: may not be read: Permission denied; make it readable" in done.stderr
        path.chmod(0o600)
    assert not list((place / "run").glob("*.damaged"))
