"""Files that are read while the training runs, and change under it."""

import os
import re
import time

import numpy as np
import pytest

import epochal
from commands import epochal as command
from conftest import blobs
from epochal.runs import writer
from epochal.runs.options import CheckpointOptions
from epochal.runs.run import resume
from epochal.runs.writer import RunWriter
from epochal.training import loop
from kept_runs import Inline, outcome, start

HOST, ROW_BYTES = 100_000, 80
RECIPE = epochal.Recipe(batch_size=100, epochs=4, learning_rate=0.01)


@pytest.fixture
def streamed(tmp_path):
    """x.npy, larger than the memory granted, and y.npy."""
    x, y = blobs(3000, features=20)
    np.save(tmp_path / "x.npy", x)
    np.save(tmp_path / "y.npy", y)
    return tmp_path / "x.npy"


def load(path):
    return epochal.load(path, labels_from=path.with_name("y.npy"), host_memory=HOST)


def truncate(path):
    os.truncate(path, path.stat().st_size // 2)


def replace(path):
    """Another file of the same size and time under the name, as `cp -p` and `mv` make it."""
    other = path.with_name("other")
    rewrite(path, other)
    other.replace(path)


def rewrite(path, to=None):
    """The last rows in another order, the time set back."""
    told, content = path.stat(), bytearray(path.read_bytes())
    begins = range(len(content) - 500 * ROW_BYTES, len(content), ROW_BYTES)
    rows = [content[begin : begin + ROW_BYTES] for begin in begins]
    content[-500 * ROW_BYTES :] = b"".join(reversed(rows))
    (to or path).write_bytes(content)
    os.utime(to or path, ns=(told.st_atime_ns, told.st_mtime_ns))


def append(path):
    with path.open("ab") as file:
        file.write(b"more")


def delete(path):
    path.unlink()


CHANGES = {
    truncate: r"changed while it was in use: it had [\d,]+ bytes, now [\d,]+; bring the old file back",
    append: r"changed while it was in use: it had [\d,]+ bytes, now [\d,]+; bring the old file back",
    replace: "changed while it was in use: its times are others; bring the old file back",
    rewrite: "changed while it was in use: its times are others; bring the old file back",
    delete: "cannot be read any more: No such file or directory; bring the file back",
}


@pytest.mark.parametrize("change", CHANGES, ids=lambda change: change.__name__)
def test_a_file_that_changes_under_a_run_ends_it_and_once_it_is_back_the_run_goes_on(
    streamed, tmp_path, monkeypatch, change
):
    monkeypatch.setattr(loop, "STRETCH_SECONDS", 0)
    monkeypatch.setattr(writer, "Saver", Inline)
    old = streamed.read_bytes()
    whole = epochal.train(epochal.logistic(), load(streamed), RECIPE, memory_bytes=45_000)
    assert whole.residency.kind == "chunked"
    for _ in whole:
        pass
    run = epochal.train(epochal.logistic(), load(streamed), RECIPE, memory_bytes=45_000)
    with RunWriter.create(tmp_path / "run", run, CheckpointOptions(checkpoint_seconds=0)) as kept:
        progress = kept.progress()
        while run.step < 30:
            next(progress)
        change(streamed)
        with pytest.raises(epochal.DataError, match=rf"x\.npy: .*{CHANGES[change]}"):
            for _ in progress:
                pass
        assert run.step < whole.step
    with pytest.raises(epochal.EpochalError, match=r"x\.npy"):  # not with other data
        resume(tmp_path / "run")
    streamed.write_bytes(old)
    resumed = resume(tmp_path / "run")
    assert 0 < resumed.folder.training.step <= run.step
    resumed.fit()
    assert outcome(resumed.folder.training) == outcome(whole)


def test_a_change_between_two_runs_is_found_by_the_fingerprint(streamed, tmp_path):
    run = epochal.train(epochal.logistic(), load(streamed), RECIPE, memory_bytes=45_000)
    with RunWriter.create(tmp_path / "run", run) as kept:
        next(kept.progress())
    rewrite(streamed)
    with pytest.raises(epochal.DataError, match=r"x\.npy: these are not the data of .*run: their fingerprint is"):
        resume(tmp_path / "run")


def test_a_read_that_fails_is_told(streamed, monkeypatch):
    data = load(streamed)

    def failing(*args):
        raise OSError(5, "Input/output error")

    monkeypatch.setattr(os, "preadv", failing)
    with pytest.raises(epochal.DataError, match=r"x\.npy: cannot be read any more: Input/output error; bring the file"):
        data.train.x[:5].gather(np.arange(3))


def test_a_file_cut_short_under_the_command_ends_it_with_a_message_and_no_crash(streamed, tmp_path):
    old = streamed.read_bytes()
    words = ["train", "x.npy", "--labels-from", "y.npy", "--host-memory", str(HOST), "--memory", "30kB", "--out", "run"]
    words += ["--model", "logistic", "--epochs", "100000", "--patience-steps", "100000000", "--checkpoint-seconds", "0"]
    process = start(words, cwd=tmp_path, stderr=-1)
    while not list(tmp_path.glob("run/checkpoint-*")):
        assert process.poll() is None, process.communicate()
        time.sleep(0.01)
    truncate(streamed)
    _, err = process.communicate(timeout=600)
    assert process.returncode == 2, err
    assert re.search(r"x\.npy: the file has changed while it was in use: it had 240,128 bytes, now 120,064", err)
    assert err.endswith("once the data are back, go on with: epochal resume run\n")
    assert "Traceback" not in err
    done = command("resume", "run", cwd=tmp_path)
    assert done.returncode == 2
    assert "x.npy: byte 120,064: the array ends here" in done.stderr
    streamed.write_bytes(old)
    resumed = resume(tmp_path / "run")
    resumed.folder.close()
    assert resumed.folder.training.step > 0
