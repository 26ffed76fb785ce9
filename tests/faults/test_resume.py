"""Stop anywhere, go on, and get the bits of the run that was never stopped."""

import json
import os

import pytest

import epochal
from commands import result
from epochal.runs.run import resume
from epochal.runs.writer import RunWriter
from epochal.training import loop
from kept_runs import RECIPE, outcome
from sealing import reseal


@pytest.fixture
def single_steps(monkeypatch):
    monkeypatch.setattr(loop, "STRETCH_SECONDS", 0)


@pytest.mark.parametrize("memory_bytes", [None, 5000], ids=["resident", "chunked"])
def test_a_run_resumed_at_every_step_and_twice_ends_with_the_same_bits(small, single_steps, memory_bytes):
    model = epochal.logistic()
    whole = epochal.train(model, small, RECIPE, memory_bytes=memory_bytes)
    snapshots = [(whole.snapshot(), ())]
    for _ in whole.progress():
        snapshots.append((whole.snapshot(), tuple(whole.epochs)))
    assert whole.residency.kind == ("chunked" if memory_bytes else "resident")
    assert len(snapshots) == 1 + whole.step == 19
    for step, (snapshot, epochs) in enumerate(snapshots):
        metadata = json.loads(json.dumps(snapshot.metadata))  # as a file would give it back
        again = epochal.train(model, small, RECIPE, memory_bytes=memory_bytes)
        again.load_snapshot(snapshot._replace(metadata=metadata), epochs)
        assert again.step == step
        progress = again.progress()
        if not again.stopped and step % 6 < 4:  # stopped once more, in the same epoch
            next(progress, None)
            second = epochal.train(model, small, RECIPE, memory_bytes=memory_bytes)
            second.load_snapshot(again.snapshot(), again.epochs)
            again.loop.placed.close()
            again, progress = second, second.progress()
        for _ in progress:
            pass
        assert outcome(again) == outcome(whole), f"resumed at step {step}"


def test_a_folder_goes_on_where_it_was_left_and_says_when_it_is_done(small, tmp_path):
    whole = epochal.fit(epochal.mlp(8), small, RECIPE, out=tmp_path / "whole")
    run = epochal.train(epochal.mlp(8), small, RECIPE)
    with RunWriter.create(tmp_path / "run", run) as folder:
        progress = folder.progress()
        while run.step < 8:
            next(progress)
        progress.close()
    resumed = resume(tmp_path / "run", small)
    assert resumed.folder.training.step == run.step
    fit = resumed.fit()
    assert (fit.parameters_sha256, fit.best, fit.steps) == (whole.parameters_sha256, whole.best, whole.steps)
    lines = [json.loads(line) for line in (tmp_path / "run" / "history.jsonl").read_text().splitlines()]
    assert [line["epoch"] for line in lines] == list(range(1, len(fit.epochs) + 1))
    again = resume(tmp_path / "run", small)
    assert again.folder.training.stopped == fit.stopped
    assert again.fit().parameters_sha256 == fit.parameters_sha256
    assert epochal.load_run(tmp_path / "run", small).test() == whole.test()


def test_what_differs_is_named(small, tmp_path):
    run = epochal.train(epochal.logistic(), small, RECIPE)
    RunWriter.create(tmp_path / "run", run).close()
    with pytest.raises(epochal.RunError, match=r"its recipe has batch_size = 20, got 7"):
        resume(tmp_path / "run", small, recipe=epochal.Recipe.from_dict(RECIPE.to_dict() | {"batch_size": 7}))
    other = epochal.Dataset(small.train[:100], small.valid, small.test, small.classes)
    with pytest.raises(epochal.DataError, match="these are not the data of"):
        resume(tmp_path / "run", other)
    told = json.loads((tmp_path / "run" / "run.json").read_text())
    told["versions"]["cores"] = "64"
    reseal(tmp_path / "run" / "run.json", told)
    with pytest.raises(
        epochal.RunError,
        match=rf"begun elsewhere: cores was 64, is {len(os.sched_getaffinity(0))}; .* without --strict",
    ):
        resume(tmp_path / "run", small, strict=True)
    resumed = resume(tmp_path / "run", small)
    resumed.folder.close()
    assert resumed.notes == (
        f"bits may differ from an uninterrupted run: cores was 64, is {len(os.sched_getaffinity(0))}",
    )


def test_a_resumed_run_keeps_its_memory_and_its_test_split_closed(tmp_path):
    words = ["--epochs", "3", "--memory", "400kB", "--no-open-test", "--out", "run"]
    told = result("train", *words, cwd=tmp_path)
    assert told["residency"]["kind"] == "chunked"
    again = result("resume", "run", cwd=tmp_path)
    assert (again["residency"]["kind"], again["test"]) == ("chunked", None)
    assert not (tmp_path / "run" / "test-ledger.jsonl").exists()
