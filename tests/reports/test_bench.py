"""`epochal bench`: what it measures, and what it says."""

import time

import pytest

from commands import result
from epochal import train
from epochal.cli import main
from epochal.errors import RecipeError
from epochal.reports import bench, roofline


def test_bench_tells_each_work_with_ceilings_and_versions(tmp_path):
    told = result("bench", "--work", "W1,w2", "--rows", 400, "--epochs", 1, "--repeats", 2, cwd=tmp_path)
    assert list(told["works"]) == ["W1", "W2"]
    assert told["rows"] == {"train": 400, "valid": 80}
    assert {"jax", "numpy", "epochal", "cores", "device"} <= set(told["versions"])
    assert all(told["ceilings"][name] > 0 for name in ("flops", "cache_bytes", "memory_bytes"))
    assert told["peak_bytes"] > 10**7
    first = told["works"]["W1"]
    assert len(first["epoch_seconds_all"]) == 2, "one timed epoch in each of two repeats"
    assert first["rows_per_second"] == pytest.approx(400 / first["epoch_seconds"])
    assert first["of_floor"] == pytest.approx(first["epoch_seconds"] / first["floor_seconds"])
    assert first["floor_seconds"] >= 400 * 2 * 2 * 7840 / told["ceilings"]["flops"] * 0.999
    assert first["compile_seconds"] > 0
    assert 0 <= first["valid_percent"] <= 100
    assert list(tmp_path.iterdir()) == [], "nothing is left behind"


def test_bench_prints_a_table(monkeypatch, capsys):
    monkeypatch.setattr(bench.roofline, "measure", lambda: roofline.Ceilings(2e11, 1e11, 3e10))
    assert main(["bench", "--work", "W1", "--rows", "100", "--epochs", "1", "--repeats", "1"]) == 0
    out = capsys.readouterr().out
    assert "W1 logistic, batch 600" in out
    assert "ceilings: products 200 GFLOP/s, copies 100 GB/s in cache and 30 GB/s in memory" in out
    assert "medians of 1 × 1 epochs" in out


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("--work", "W1,W9"), "work: must be of W1, W2, W3, W4, joined by commas, got 'W9'"),
        (("--rows", "9"), "rows: must be at least 10, one of each class, got 9"),
        (("--epochs", "0"), "epochs: must be at least 1, got 0"),
        (("--repeats", "0"), "repeats: must be at least 1, got 0"),
    ],
)
def test_what_cannot_be_measured_is_refused(capsys, words, message):
    assert main(["bench", *words]) == 2
    told = capsys.readouterr().err
    assert message in told
    assert "Traceback" not in told


def test_validation_is_timed_apart_and_the_run_is_the_same(small):
    recipe = bench.WORKS["W2"].recipe(3)
    plain = list(train(bench.mlp(8), small, recipe))
    training = train(bench.mlp(8), small, recipe)
    count = training.loop.program.count_errors

    def slow(*arguments):
        time.sleep(0.05)
        return count(*arguments)

    training.loop.program.count_errors = slow
    timed = list(bench.epochs(training))
    assert [(epoch.loss, epoch.wrong) for epoch in timed] == [(e.loss, e.valid.wrong) for e in plain]
    assert all(epoch.valid >= 0.05 for epoch in timed)
    assert all(epoch.train > 0 for epoch in timed)


def test_synthetic_rows_have_the_shape_and_can_be_learnt(monkeypatch):
    monkeypatch.setattr(bench.catalog, "find", lambda name: None)
    data = bench.data(1000)
    assert data.source == "synthetic rows of 28×28"
    assert (len(data.train), len(data.valid), data.example_shape) == (1000, 200, (28, 28))
    assert str(data.train.x.dtype) == "uint8"
    *_, last = train(bench.logistic(), data, bench.WORKS["W2"].recipe(5))
    assert last.valid.percent < 10
    with pytest.raises(RecipeError, match="must be at least 10"):
        bench.data(3)
