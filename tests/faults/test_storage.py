"""Disks that fill up or fail, and processes that end, before every single operation of a save and of a whole run."""

import errno
import itertools
import os
import shutil
import sys
from pathlib import Path

import pytest

import epochal
from campaigns import share, some
from commands import process
from disk import Disk, Gone
from epochal.errors import StorageError
from epochal.runs import checkpoint, writer
from epochal.runs.options import CheckpointOptions
from epochal.runs.writer import RunWriter
from epochal.system import atomic, jsonl
from epochal.training import loop
from kept_runs import SHORT, Inline, assert_ends_like, outcome, saved_on_disk
from snapshots import assert_sound, snapshot_of

OPERATIONS = share("OPERATIONS", 10_000, short=12)  # of a run, before which something happens: all of them, or so many
FAULTS = {"full": errno.ENOSPC, "quota": errno.EDQUOT, "failing": errno.EIO, "read-only": errno.EROFS}


def failing(code: int):
    def fault():
        raise OSError(code, "injected")

    return fault


def operations_of_a_save(place: Path) -> list[str]:
    """What a save does where there are two checkpoints already."""
    place.mkdir()
    for step in (1, 2):
        checkpoint.save(place, snapshot_of(step))
    with Disk(place) as disk:
        checkpoint.save(place, snapshot_of(3))
    return [operation.kind for operation in disk.record]


def test_a_save_writes_flushes_renames_flushes_reads_back_and_only_then_prunes(tmp_path):
    done = operations_of_a_save(tmp_path / "save")
    assert done == ["create", "write", "fsync", "replace", "open", "fsync", "read", "unlink"]


@pytest.mark.parametrize("kind", FAULTS)
def test_a_save_that_fails_at_any_operation_leaves_a_whole_checkpoint_and_no_rubbish(tmp_path, kind):
    count = len(operations_of_a_save(tmp_path / "save"))
    for at in range(count):
        place = tmp_path / str(at)
        operations_of_a_save(place)
        with Disk(place, at, failing(FAULTS[kind])) as disk, pytest.raises(StorageError) as caught:
            checkpoint.save(place, snapshot_of(4))
        assert disk.at == -1, "the fault was met"
        message = str(caught.value)
        assert "checkpoint-000000000004.safetensors: the checkpoint cannot be saved: " in message
        assert "injected" in message
        assert message.endswith("; it needs 204 bytes")
        found, complaints = checkpoint.newest(place)
        assert_sound(found, (3, 4))
        assert not complaints
        assert not list(place.glob(".*")), "a living writer leaves nothing behind"
        checkpoint.save(place, snapshot_of(5))  # the disk is well again
        assert [step for step, _ in checkpoint.paths(place)][-1] == 5
        assert len(checkpoint.paths(place)) == 2
    checkpoint.save(tmp_path / "save", snapshot_of(4))  # one operation more than there are: nothing fails


def test_a_disk_that_writes_something_else_is_found_out_by_the_read_back(tmp_path, monkeypatch):
    checkpoint.save(tmp_path, snapshot_of(1))
    real = atomic.write
    monkeypatch.setattr(atomic, "write", lambda path, content: real(path, content[:-1] + b"?"))
    with pytest.raises(StorageError, match=r"cannot be saved: .*its SHA-256 is not the one"):
        checkpoint.save(tmp_path, snapshot_of(2))
    assert [step for step, _ in checkpoint.paths(tmp_path)] == [1]


ENDING = """
import os, sys
from pathlib import Path
sys.path += sys.argv.pop().split(os.pathsep)
from disk import Disk
from epochal.runs import checkpoint
from snapshots import snapshot_of
place, at = Path(sys.argv[1]), int(sys.argv[2])
with Disk(place, at, lambda: os._exit(9)):
    checkpoint.save(place, snapshot_of(3 + at))
"""


def test_a_process_that_ends_before_any_operation_of_a_save_leaves_a_whole_checkpoint(tmp_path):
    place = tmp_path / "save"
    count = len(operations_of_a_save(place))
    for at in itertools.count():
        done = process("-c", ENDING, place, at, os.pathsep.join(sys.path), cwd=tmp_path)
        found, complaints = checkpoint.newest(place)
        assert_sound(found, range(2, 4 + at))
        assert not complaints
        if done.returncode == 0:
            break
        assert done.returncode == 9
    assert at >= count
    assert found.metadata["step"] == 3 + at
    writer.sweep(place)
    assert not list(place.glob(".*"))
    assert len(checkpoint.paths(place)) == 2


@pytest.mark.campaign
def test_a_run_whose_process_ends_before_any_operation_goes_on_to_the_same_bits(small, tmp_path):
    whole, disk, _ = saved_on_disk(small, tmp_path / "whole")
    assert {operation.kind for operation in disk.record} > {"create", "write", "fsync", "replace", "read", "unlink"}
    for at in some(len(disk.record), OPERATIONS):
        place = tmp_path / f"run{at}"
        _, _, error = saved_on_disk(small, place, at)
        assert isinstance(error, Gone), at
        assert_ends_like(whole, place, small)


@pytest.mark.campaign
def test_a_run_outlives_a_failure_of_any_operation_or_goes_on_to_the_same_bits(small, tmp_path):
    whole, disk, _ = saved_on_disk(small, tmp_path / "whole")
    outlived, codes, tried = 0, list(FAULTS.values()), some(len(disk.record), OPERATIONS)
    for at in tried:
        place = tmp_path / f"run{at}"
        run, _, error = saved_on_disk(small, place, at, failing(codes[at % len(codes)]))
        assert not list(place.glob(".*")), "a living writer leaves nothing behind"
        if error is None:
            outlived += 1
            assert outcome(run) == outcome(whole)
        assert_ends_like(whole, place, small)
    beginning = next(n for n, done in enumerate(disk.record) if "checkpoint" in done.path.name)
    assert outlived > sum(at >= beginning for at in tried) // 2, "a disk that fails once ends no run that is under way"


def test_no_checkpoint_counts_epochs_that_the_history_could_not_take(small, tmp_path, monkeypatch, caplog):
    """The lines are written once there is room; what is saved until then is of the epochs before."""
    whole, _, _ = saved_on_disk(small, tmp_path / "whole")
    monkeypatch.setattr(writer, "Saver", Inline)
    monkeypatch.setattr(loop, "STRETCH_SECONDS", 0)
    run = epochal.train(epochal.logistic(), small, SHORT)
    with RunWriter.create(tmp_path / "run", run, CheckpointOptions(checkpoint_seconds=0)) as kept:
        progress = kept.progress()
        with monkeypatch.context() as patch:
            patch.setattr(jsonl, "append", lambda *args: failing(errno.ENOSPC)())
            while run.step < 3:
                next(progress)
            assert len(run.epochs) == 1
            assert not (tmp_path / "run" / "history.jsonl").read_text()
            shutil.copytree(tmp_path / "run", tmp_path / "killed")
        for _ in progress:
            pass
    assert "history.jsonl: cannot be written: injected; the run goes on and tries again" in caplog.text
    assert outcome(run) == outcome(whole)
    for name in ("killed", "run"):
        assert_ends_like(whole, tmp_path / name, small)
