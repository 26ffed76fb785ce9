"""The record of a run: read back as it was written, without JAX, and enough for a report."""

import json
import subprocess
import sys
from datetime import UTC, datetime, timedelta

import pytest

import epochal
from epochal.runs.schema import RunRecord, read_run
from epochal.system import json_file
from sealing import reseal

RECIPE = epochal.Recipe(batch_size=20, epochs=3)


def test_a_run_is_read_without_jax(small, tmp_path):
    fit = epochal.fit(epochal.logistic(), small, RECIPE, out=tmp_path / "run")
    for _ in range(2):
        fit.test()
    first, second = (entry["opened_before"] for entry in read_run(tmp_path / "run").openings)
    assert second == first + 1
    code = (
        "import sys, epochal.runs\n"
        "folder, record, epochs, openings = epochal.runs.read_run(sys.argv[1])\n"
        "assert not {'jax', 'optax'} & set(sys.modules)\n"
        "print(record.parameters_sha256, record.stopped, [e.epoch for e in epochs], len(openings))"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, tmp_path / "run"], capture_output=True, text=True, check=False
    )  # fmt: skip
    assert done.stdout == f"{fit.parameters_sha256} epochs [1, 2, 3] 2\n", done.stderr


def test_a_record_says_what_a_report_needs_and_is_read_back_as_it_was_written(small, tmp_path):
    fit = epochal.fit(epochal.logistic(), small, RECIPE, out=tmp_path / "run")
    folder, record, epochs, openings = read_run(tmp_path / "run")
    assert (folder, epochs, openings) == (tmp_path / "run", fit.epochs, [])
    assert (record.best, record.steps, record.steps_per_epoch) == (fit.best, fit.steps, fit.steps // 3)
    assert record.data.notes == small.notes
    assert record.data.rows == {name: len(getattr(small, name)) for name in ("train", "valid", "test")}
    assert {name: list(counts) for name, counts in record.data.class_counts.items()} == small.class_counts
    assert record.ended is not None
    assert timedelta(0) <= record.ended - record.begun < timedelta(hours=1)
    assert record.begun.tzinfo is UTC
    assert record.begun <= datetime.now(UTC)
    values = json.loads(json.dumps(record.to_json()))
    assert RunRecord.from_json(values, tmp_path) == record
    assert values | {"sha256": json_file.digest(values)} == json.loads((tmp_path / "run" / "run.json").read_text())


def test_a_run_that_goes_on_has_its_epochs_so_far_and_keeps_the_time_of_its_beginning(small, tmp_path):
    path = tmp_path / "run" / "run.json"
    epochal.fit(epochal.logistic(), small, RECIPE, out=tmp_path / "run")
    begun = "2026-01-31T12:00:00+00:00"
    values = json.loads(path.read_text()) | {"stopped": None, "ended": None, "begun": begun}
    reseal(path, values)
    assert len(read_run(tmp_path / "run").epochs) == 3
    epochal.runs.resume(tmp_path / "run", small).fit()
    record = read_run(tmp_path / "run").record
    assert (record.begun.isoformat(), record.ended is None) == (begun, False)


@pytest.mark.parametrize(
    ("key", "value", "words"),
    [("begun", "2026-01-31", "begun must be a time with its zone"), ("ended", "now", "ended must be a time"),
     ("steps_per_epoch", 0, "steps_per_epoch must be a whole number from 1"), ("best", {"epoch": 1}, "best.step must")],
)  # fmt: skip
def test_what_does_not_fit_is_named(small, tmp_path, key, value, words):
    path = tmp_path / "run" / "run.json"
    epochal.fit(epochal.logistic(), small, RECIPE, out=tmp_path / "run")
    reseal(path, json.loads(path.read_text()) | {key: value})
    with pytest.raises(epochal.RunError, match=f"is no run of this version: {words}"):
        read_run(tmp_path / "run")
