"""What a user types first from Python: models by name, data that are none, objects that are printed."""

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

import epochal
from epochal import selection

RECIPE = epochal.Recipe(epochs=2)


def test_a_built_in_model_is_taken_by_name_as_the_estimator_takes_it(small):
    by_name = epochal.fit("logistic", small, RECIPE)
    assert by_name.model is epochal.logistic()
    assert by_name.parameters_sha256 == epochal.fit(epochal.logistic(), small, RECIPE).parameters_sha256
    assert epochal.train("mlp", small, RECIPE).model is epochal.mlp()
    selected = epochal.select(["logistic", "mlp"], small, RECIPE)
    assert {standing.candidate.varied["model"] for standing in selected.standings} == {"logistic", "mlp"}
    with pytest.raises(
        epochal.RecipeError, match=r"model: must be one of logistic, mlp, lenet, FILE.py:NAME, or a model"
    ):
        epochal.fit("forest", small, RECIPE)


@pytest.mark.parametrize(
    ("data", "told"),
    [
        (
            pd.DataFrame({"a": [1, 2]}),
            r"data: must be a Dataset, got DataFrame; make one with epochal.load\(data, label=…",
        ),
        (np.zeros((3, 2)), r"got ndarray; make one with epochal.load\(data\)"),
        ("digits", r"got str; make one with epochal.load\('digits'\)"),
    ],
)
@pytest.mark.parametrize("door", [epochal.fit, epochal.train, epochal.select])
def test_data_that_are_no_dataset_are_refused_with_the_call_that_makes_one(door, data, told):
    with pytest.raises(epochal.DataError, match=told):
        door("mlp", data, RECIPE)


def test_what_a_notebook_shows_of_a_fit_is_short_and_says_what_one_asks_first(small, tmp_path):
    fit = epochal.fit("logistic", small, RECIPE)
    best = f"best validation {fit.best.valid} at epoch {fit.best.epoch} of 2"
    assert repr(fit) == f"Fit(logistic(), {best}, stopped by epochs, test not opened)"
    fit.test()
    assert repr(fit).endswith("test opened once)")
    kept = epochal.fit("logistic", small, replace(RECIPE, seed=1), out=tmp_path / "run")
    assert repr(kept).endswith(f"test not opened, in {tmp_path / 'run'})")
    kept.test()
    kept.test()
    assert "test opened 2 times" in str(kept)


def test_a_training_and_a_selection_are_as_short(small, tmp_path):
    training = epochal.train("logistic", small, RECIPE)
    assert repr(training) == "Training(logistic(), 0 of at most 2 epochs, going on)"
    list(training)
    assert f"2 of at most 2 epochs, best validation {training.best.valid} at epoch" in repr(training)
    assert repr(training).endswith(", epochs)")
    recipes = [RECIPE, replace(RECIPE, learning_rate=0.01)]
    selected = epochal.select("logistic", small, recipes, out=tmp_path / "s")
    place = f"validation {selected.chosen.score}, in {tmp_path / 's'}; print it for the table)"
    assert repr(selected) == f"Selected(2 candidates, chosen {selected.chosen.candidate}: {place}"
    diverged = epochal.select("logistic", small, replace(RECIPE, learning_rate=1e38, l2=1e3))
    assert repr(diverged) == "Selected(1 candidate, diverged)"


def test_messages_name_the_parameters_of_python(small, tmp_path):
    with pytest.raises(epochal.CapacityError, match=r"grant memory_bytes=\d+, or take a smaller batch_size=…"):
        epochal.fit("mlp", small, RECIPE, memory_bytes=10)
    epochal.select("logistic", small, RECIPE, out=tmp_path / "s")
    with pytest.raises(epochal.RunError) as caught:
        epochal.select("logistic", small, RECIPE, out=tmp_path / "s")
    assert f"go on with epochal.selection.resume('{tmp_path / 's'}'), or name another folder with out=…" in str(
        caught.value
    )
    assert selection.resume(tmp_path / "s", small).fit
