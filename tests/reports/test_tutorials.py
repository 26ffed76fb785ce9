"""The published figures, on the real data set, through the command line."""

import os
from pathlib import Path

import pytest

from commands import epochal, result


@pytest.fixture
def pickled_mnist() -> Path:
    for root in os.environ.get("EPOCHAL_DATA", "").split(os.pathsep):
        if root and (Path(root) / "mnist.pkl.gz").is_file():
            return Path(root).resolve() / "mnist.pkl.gz"
    pytest.skip("needs the tutorials' mnist.pkl.gz in the folder that EPOCHAL_DATA names")


@pytest.mark.data
def test_logistic_regression_gives_the_published_counts_after_74_epochs(pickled_mnist, tmp_path):
    told = result("reproduce", "logistic", pickled_mnist, cwd=tmp_path)
    valid, test = told["best_validation"], told["test"]
    assert (valid["wrong"], valid["of"], test["wrong"], test["of"]) == (720, 9600, 719, 9600)
    assert (told["epochs"], told["stopped"]) == (74, "patience")
    assert (told["whole_splits"]["valid"]["of"], told["whole_splits"]["test"]["of"]) == (10_000, 10_000)
    done = epochal("reproduce", "logistic", pickled_mnist, "--quiet", cwd=tmp_path)
    assert "720 / 9,600 = 7.500000 %" in done.stdout
    assert "7.489583 %   74 epochs, 1.94 epochs/s" in done.stdout


@pytest.mark.slow
@pytest.mark.data
def test_in_double_precision_too(pickled_mnist):
    import dataclasses

    import epochal
    from epochal.reports.tutorials import PUBLISHED

    published = PUBLISHED["logistic"]
    recipe = dataclasses.replace(published.recipe, dtype="float64")
    fit = epochal.fit(published.model, published.cut(epochal.load(pickled_mnist)), recipe)
    assert (fit.best.valid.wrong, fit.test().wrong, len(fit.epochs)) == (720, 719, 74)


@pytest.mark.data
@pytest.mark.slow
def test_the_mlp_is_below_2_5_percent_within_30_epochs(pickled_mnist, tmp_path):
    words = ["--model", "mlp", "--batch-size", 20, "--learning-rate", 0.01, "--l2", 1e-4, "--epochs", 30]
    assert result("train", pickled_mnist, *words, cwd=tmp_path)["best_validation"]["percent"] < 2.5


@pytest.mark.data
@pytest.mark.slow
def test_lenet_is_below_1_5_percent_within_10_epochs(pickled_mnist, tmp_path):
    words = ["--model", "lenet", "--batch-size", 500, "--learning-rate", 0.1, "--epochs", 10]
    assert result("train", pickled_mnist, *words, cwd=tmp_path)["best_validation"]["percent"] < 1.5
