"""Checkpoints that are damaged in every way: none is loaded for what it is not, and the one before is used.

EPOCHAL_DAMAGES damages are tried.
"""

import random

import numpy as np
import pytest

import epochal
from campaigns import share
from epochal.runs import checkpoint
from epochal.runs.options import CheckpointOptions
from epochal.runs.run import resume
from epochal.runs.writer import RunWriter
from epochal.system import checksummed
from epochal.training.snapshot import Snapshot
from kept_runs import RECIPE, drain, outcome
from snapshots import assert_same, snapshot_of

PAGE = 4096


def of_run(run: str, step: int) -> Snapshot:
    snapshot = snapshot_of(step, size=5000)
    return snapshot._replace(metadata=snapshot.metadata | {"run": run})


def flipped(sound: bytes, before: bytes, chance: random.Random) -> bytes:
    damaged = bytearray(sound)
    for _ in range(chance.choice((1, 1, 1, 5))):
        place = chance.choice((chance.randrange(len(sound)), chance.randrange(300)))  # the header is small
        damaged[place] ^= 1 << chance.randrange(8)
    return bytes(damaged)


def cut_short(sound: bytes, before: bytes, chance: random.Random) -> bytes:
    return sound[: chance.randrange(len(sound))]


def zeroed_page(sound: bytes, before: bytes, chance: random.Random) -> bytes:
    begin = chance.randrange(0, len(sound), PAGE)
    return sound[:begin] + bytes(len(sound[begin : begin + PAGE])) + sound[begin + PAGE :]


def zeroed_tail(sound: bytes, before: bytes, chance: random.Random) -> bytes:
    begin = chance.randrange(len(sound))
    return sound[:begin] + bytes(len(sound) - begin)


def swapped_tails(sound: bytes, before: bytes, chance: random.Random) -> bytes:
    begin = chance.choice((PAGE * chance.randrange(1, 5), chance.randrange(len(sound))))
    return chance.choice((sound[:begin] + before[begin:], before[:begin] + sound[begin:]))


def overwritten(sound: bytes, before: bytes, chance: random.Random) -> bytes:
    begin = chance.randrange(len(sound))
    return sound[:begin] + chance.randbytes(min(40, len(sound) - begin)) + sound[begin + 40 :]


def longer(sound: bytes, before: bytes, chance: random.Random) -> bytes:
    return sound + chance.choice((bytes(1), chance.randbytes(9), sound))


def foreign(sound: bytes, before: bytes, chance: random.Random) -> bytes:
    others = (before, b"", b"{}", b"PK\3\4" + sound, chance.randbytes(500), *FOREIGN)
    return chance.choice(others)


DAMAGES = (flipped, cut_short, zeroed_page, zeroed_tail, swapped_tails, overwritten, longer, foreign)
FOREIGN: list[bytes] = []


@pytest.mark.campaign
def test_random_damage_is_never_loaded_and_the_one_before_is_used(tmp_path):
    chance, harmless = random.Random(0), 0
    other = tmp_path / "other"
    other.mkdir()
    checkpoint.save(other, of_run("another", 2))
    checksummed.write(other / "best.safetensors", {"W": np.ones(3, np.float32)}, {"epoch": 1, "step": 2, "valid": 3})
    FOREIGN[:] = [path.read_bytes() for path in sorted(other.iterdir())]
    place = tmp_path / "run"
    place.mkdir()
    for step in (1, 2):
        checkpoint.save(place, of_run("this", step))
    path, before = checkpoint.path_of(place, 2), checkpoint.path_of(place, 1).read_bytes()
    sound = path.read_bytes()
    for number in range(share("DAMAGES", 2000, short=300)):
        damage = DAMAGES[number % len(DAMAGES)]
        damaged = damage(sound, before, chance)
        path.write_bytes(damaged)
        found, complaints = checkpoint.newest(place, "this")
        assert found is not None
        if found.metadata["step"] == 2:  # nothing that counts has changed
            harmless += damaged != sound
            assert_same(found, of_run("this", 2))
            assert not complaints
        else:
            assert_same(found, of_run("this", 1))
            assert list(complaints) == [path], damage.__name__
            assert str(path) in complaints[path]
    print(f"\n{number + 1:,} damages, none loaded but {harmless} that changed nothing that is read")
    path.write_bytes(b"foreign")
    checkpoint.path_of(place, 1).unlink()
    with pytest.raises(epochal.RunError, match=r"none of its 1 checkpoints is whole: .*; train anew"):
        checkpoint.newest(place)


def interrupted(small, place, steps: int = 9):
    """A run of three epochs that has been stopped, with two checkpoints; and what it would have become."""
    whole = epochal.train(epochal.logistic(), small, RECIPE)
    for _ in whole:
        pass
    run = epochal.train(epochal.logistic(), small, RECIPE)
    with RunWriter.create(place, run, CheckpointOptions(checkpoint_seconds=1e9)) as folder:
        progress = folder.progress()
        while run.step < 3:
            next(progress)
        checkpoint.save(place, folder._snapshot())
        while run.step < steps:
            next(progress)
        progress.close()
    assert len(checkpoint.paths(place)) == 2
    return whole


def test_a_run_says_that_its_newest_checkpoint_is_damaged_and_goes_on_from_the_one_before(small, tmp_path):
    whole = interrupted(small, tmp_path / "run")
    (older, _), (_, path) = checkpoint.paths(tmp_path / "run")
    damaged = bytearray(path.read_bytes())
    damaged[-1] ^= 1
    path.write_bytes(damaged)
    resumed = resume(tmp_path / "run", small)
    (note,) = resumed.notes
    assert note == (
        f"{path}: its SHA-256 is not the one it was written with; the file is damaged; "
        f"it is called {path.name}.damaged now, and an older checkpoint is used"
    )
    assert resumed.folder.training.step == older
    drain(resumed.folder)
    assert outcome(resumed.folder.training) == outcome(whole)
    assert path.with_name(f"{path.name}.damaged").read_bytes() == damaged


def test_checkpoints_that_are_none_never_push_out_whole_ones(small, tmp_path):
    whole = interrupted(small, tmp_path / "run")
    for step in (900, 901):
        checkpoint.path_of(tmp_path / "run", step).write_bytes(b"damaged")
    checkpoint.path_of(tmp_path / "run", 902).mkdir()  # what is not ours is not removed
    resumed = resume(tmp_path / "run", small)
    assert len(resumed.notes) == 2
    for step in (903, 904):
        checkpoint.path_of(tmp_path / "run", step).write_bytes(b"damaged, and put there while the run goes on")
    drain(resumed.folder)
    assert outcome(resumed.folder.training) == outcome(whole)
    assert checkpoint.path_of(tmp_path / "run", 902).is_dir()
    again = resume(tmp_path / "run", small)
    again.folder.close()
    assert outcome(again.folder.training) == outcome(whole)


def test_a_checkpoint_of_another_run_is_not_taken(small, tmp_path):
    """Of the same model and the same shapes: only what the run is tells them apart."""
    whole = interrupted(small, tmp_path / "run")
    other = epochal.train(epochal.logistic(), small, epochal.Recipe.from_dict(RECIPE.to_dict() | {"seed": 7}))
    drain(RunWriter.create(tmp_path / "other", other))
    step, path = checkpoint.paths(tmp_path / "other")[-1]
    path.replace(checkpoint.path_of(tmp_path / "run", step))
    resumed = resume(tmp_path / "run", small)
    assert "is a checkpoint of another run" in resumed.notes[0]
    drain(resumed.folder)
    assert outcome(resumed.folder.training) == outcome(whole)


@pytest.mark.parametrize("damage", ["a changed number", "a lost line"])
def test_a_damaged_history_stops_a_resume(small, tmp_path, damage):
    interrupted(small, tmp_path / "run")
    path = tmp_path / "run" / "history.jsonl"
    text = path.read_text()
    path.write_text(text.replace('"epoch": 1', '"epoch": 4', 1) if damage == "a changed number" else "")
    with pytest.raises(epochal.RunError, match=r"history.jsonl: cannot be read: .*; the file is damaged"):
        resume(tmp_path / "run", small)
    path.write_text(text + '{"epoch": 2, "st')  # lost power in a line behind the checkpoint: no damage
    resume(tmp_path / "run", small).folder.close()
