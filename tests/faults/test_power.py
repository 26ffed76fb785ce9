"""Power that is lost at any instant: every folder that may be there then is made, and gone on from."""

import random
from pathlib import Path

import pytest

import epochal
from campaigns import share
from disk import Disk, crashes
from epochal.runs import checkpoint
from epochal.system import atomic
from epochal.training import ledger
from epochal.training.score import Score
from kept_runs import assert_ends_like, saved_on_disk
from snapshots import assert_sound, snapshot_of

RESUMED = share("CRASHES", 30, short=6)


def made(place: Path, files: dict[Path, bytes], root: Path) -> Path:
    """The files of a crash, in a folder of their own."""
    place.mkdir(exist_ok=True)
    for path in place.iterdir():
        path.unlink()
    for path, content in files.items():
        (place / path.relative_to(root)).write_bytes(content)
    return place


def saved_by(disk: Disk, steps: list[int]) -> list[int]:
    """For each operation of several saves, the step that the last one that had ended was of."""
    last, told = 0, []
    for operation in disk.record:
        told.append(last)
        if operation.kind == "read":
            last = steps.pop(0)
    return [*told, last]


def test_after_a_power_loss_in_any_of_several_saves_the_last_one_that_had_ended_or_a_newer_one_loads(tmp_path):
    root, states = tmp_path / "root", 0
    root.mkdir()
    with Disk(root) as disk:
        for step in (1, 2, 3, 4):
            checkpoint.save(root, snapshot_of(step))
    ended = saved_by(disk, [1, 2, 3, 4])
    for done, files in crashes(disk.record, {}):
        place = made(tmp_path / "crash", files, root)
        states += 1
        if ended[done] == 0 and not checkpoint.paths(place):
            continue
        found, complaints = checkpoint.newest(place)
        assert_sound(found, range(max(1, ended[done]), 5))
        assert not complaints, "what has its name was flushed before"
    print(f"\n{len(disk.record)} operations, {states} states")
    assert states > 200


@pytest.mark.parametrize("broken", ["fsync of the file", "fsync of the folder"])
def test_the_simulation_sees_a_save_that_does_not_flush(tmp_path, monkeypatch, broken):
    """An oracle for the test above: without the flush, some crash leaves no whole checkpoint."""
    root = tmp_path / "root"
    root.mkdir()
    if broken == "fsync of the folder":
        monkeypatch.setattr(atomic, "sync_folder", lambda path: None)
    with Disk(root) as disk:
        for step in (1, 2, 3):
            checkpoint.save(root, snapshot_of(step))
    record = disk.record
    if broken == "fsync of the file":
        record = [done for done in record if done.kind != "fsync" or done.path == root]
    assert any(loses(made(tmp_path / "crash", files, root), done == len(record)) for done, files in crashes(record, {}))


def loses(place: Path, saved: bool) -> bool:
    try:
        found, complaints = checkpoint.newest(place)
    except epochal.RunError:
        return True
    return bool(complaints) or (saved and (found is None or found.metadata["step"] < 3))


@pytest.mark.campaign
def test_after_a_power_loss_anywhere_in_a_run_it_goes_on_to_the_same_bits(small, tmp_path):
    whole, disk, _ = saved_on_disk(small, tmp_path / "whole")
    states = list(crashes(disk.record, {}))
    generator = random.Random(0)
    resumed, count = 0, min(RESUMED, len(states))
    for state in generator.sample(states, count):
        place = made(tmp_path / "crash", state.files, tmp_path / "whole")
        if (place / "run.json").exists():
            resumed += 1
        assert_ends_like(whole, place, small)
    print(
        f"\n{len(disk.record)} operations, {len(states)} states, {resumed} of {count} resumed, the others begun again"
    )
    assert resumed > count // 4


def test_an_opening_of_the_test_split_that_was_told_is_in_the_ledger_after_a_power_loss(tmp_path):
    root = tmp_path / "root"
    root.mkdir()
    with Disk(root) as disk:
        for _ in range(2):
            ledger.record(root, ["0" * 64], Score(1, 2), "1" * 64)
    writes = [number for number, operation in enumerate(disk.record) if operation.kind == "write"]
    for done, files in crashes(disk.record, {}):
        place = made(tmp_path / "crash", files, root)
        assert len(ledger.entries(place)) >= (done >= writes[1]) + (done == len(disk.record))
        ledger.record(place, ["0" * 64], Score(1, 2), "1" * 64)  # what was cut short is no hindrance
