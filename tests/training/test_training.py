import jax
import numpy as np
import pytest
from test_patience import published

import epochal
from conftest import blobs
from epochal.data.dataset import Dataset, Split
from epochal.training.training import Training

RECIPE = epochal.Recipe(learning_rate=0.1, batch_size=20, epochs=12, patience_steps=60)


def test_the_best_parameters_are_those_of_a_fresh_run_of_that_many_epochs(small):
    fit = epochal.fit(epochal.mlp(8), small, RECIPE)
    assert fit.best.epoch < len(fit.epochs), "the best must lie before the end for this test to say anything"
    fresh = epochal.fit(epochal.mlp(8), small, epochal.Recipe.from_dict(RECIPE.to_dict() | {"epochs": fit.best.epoch}))
    assert fresh.best == fit.best
    jax.tree.map(np.testing.assert_array_equal, fresh.params, fit.params)
    assert fresh.parameters_sha256 == fit.parameters_sha256


def test_records_agree_with_each_other_and_with_numpy(small):
    fit = epochal.fit(epochal.mlp(8), small, RECIPE)
    assert [epoch.epoch for epoch in fit.epochs] == list(range(1, len(fit.epochs) + 1))
    wrongs = [wrong for epoch in fit.epochs for _, wrong in epoch.validations]
    assert fit.best.valid.wrong == min(wrongs)
    first = next(epoch for epoch in fit.epochs if min(w for _, w in epoch.validations) == min(wrongs))
    assert first.epoch == fit.best.epoch
    assert first.best
    assert fit.score(small.valid) == fit.best.valid
    assert fit.test().wrong == int((fit.predict(small.test.x) != small.test.y).sum())
    assert fit.test().of == 33
    np.testing.assert_allclose(fit.predict_proba(small.test.x).sum(1), 1, rtol=1e-5)


@pytest.mark.parametrize("patience", [7, 25, 60, 61, 400])
def test_a_run_stops_where_the_published_loop_stops(small, patience):
    recipe = epochal.Recipe.from_dict(RECIPE.to_dict() | {"patience_steps": patience, "epochs": 40})
    fit = epochal.fit(epochal.logistic(), small, recipe)
    frequency = min(6, patience // 2)
    # The published loop needs the whole curve: a run without patience to lose gives it.
    long = epochal.Recipe.from_dict(recipe.to_dict() | {"patience_increase": 1e6})
    curve = _curve(small, long, frequency)
    best_step, best_wrong, done, validated = published(curve, 6, 40, patience, 2.0, 0.995)
    assert (fit.best.step, fit.best.valid.wrong, fit.steps) == (best_step, best_wrong, done)
    assert [step for epoch in fit.epochs for step, _ in epoch.validations] == validated
    assert fit.stopped == ("patience" if done < 240 else "epochs")


def _curve(data, recipe, frequency):
    training = Training(epochal.logistic(), data, recipe)
    state, wrongs = training.loop.program.start(training.loop.plan), []
    valid = training.loop.program.place(data.valid)
    for number in range(recipe.epochs):
        for step in range(6):
            state, _ = training.loop.program.run_steps(
                state, training.loop.placed, training.loop.plan, number, step, step + 1
            )
            if (number * 6 + step + 1) % frequency == 0:
                wrongs.append(training.loop.program.count_errors(state.params, valid)[0].wrong)
    return wrongs


def test_a_stop_in_the_middle_of_an_epoch_is_recorded_as_it_was(small):
    fit = epochal.fit(epochal.logistic(), small, epochal.Recipe(patience_steps=7, patience_increase=1, batch_size=20))
    assert fit.steps == 8
    assert fit.epochs[-1].step == 8
    assert fit.epochs[-1].epoch == 2
    assert fit.stopped == "patience"


def test_an_epoch_that_ends_before_its_first_validation_has_no_score(small):
    recipe = epochal.Recipe(patience_steps=12, patience_increase=1, batch_size=20, improvement_threshold=1e-9)
    last = epochal.fit(epochal.logistic(), small, recipe).epochs[-1]
    assert (last.step, last.epoch, last.valid, last.validations, last.best) == (13, 3, None, (), False)
    assert "valid" not in str(last)


def test_a_run_compiles_the_stretch_once_and_the_count_once(small, compilations):
    model = epochal.Model(epochal.mlp(8).init, epochal.mlp(8).logits)  # a new object: nothing is compiled for it yet
    epochal.fit(model, small, RECIPE)
    assert compilations.count("jit(run_steps)") == 1
    assert compilations.count("jit(sum_rows)") == 1
    compilations.clear()
    for changed in ({"learning_rate": 0.3}, {"seed": 5}, {"epochs": 3}, {"patience_steps": 9}):
        epochal.fit(model, small, epochal.Recipe.from_dict(RECIPE.to_dict() | changed))
    assert not {"jit(run_steps)", "jit(sum_rows)"} & set(compilations), "a new number must not mean a new program"
    moving = RECIPE.to_dict() | {"optimizer": "momentum"}
    epochal.fit(model, small, epochal.Recipe.from_dict(moving))
    compilations.clear()
    epochal.fit(model, small, epochal.Recipe.from_dict(moving | {"momentum": 0.5}))
    assert not {"jit(run_steps)", "jit(sum_rows)"} & set(compilations), "a new number must not mean a new program"


def test_the_plan_follows_seed_and_epoch_not_the_run(small):
    hashes = {epochal.fit(epochal.mlp(8), small, RECIPE).parameters_sha256 for _ in range(2)}
    other = epochal.Recipe.from_dict(RECIPE.to_dict() | {"seed": 1})
    assert len(hashes) == 1
    assert epochal.fit(epochal.mlp(8), small, other).parameters_sha256 not in hashes


def test_the_test_rows_are_never_touched_by_training(small):
    class Sealed(Split):
        def __getattribute__(self, name):
            if name in ("x", "y"):
                raise AssertionError("the test split was opened")
            return super().__getattribute__(name)

    sealed = Dataset(small.train, small.valid, Sealed(small.test.x, small.test.y), small.classes)
    fit = epochal.fit(epochal.logistic(), sealed, RECIPE)
    assert fit.predict(small.valid.x).shape == (40,)
    with pytest.raises(AssertionError, match="was opened"):
        fit.test()


def test_iterating_and_stopping_early_keeps_the_best_so_far(small):
    training = epochal.train(epochal.mlp(8), small, RECIPE)
    for epoch in training:
        if epoch.epoch == 3:
            break
    fit = training.fit()
    assert (fit.stopped, len(fit.epochs), fit.steps) == ("caller", 3, 18)
    assert next(training).epoch == 4


def test_a_diverging_loss_stops_names_the_step_and_keeps_the_best(small):
    training = epochal.train(epochal.mlp(8), small, epochal.Recipe(learning_rate=1e30, batch_size=20))
    with pytest.raises(
        epochal.DivergedError, match=r"step \d+: the loss is (nan|inf); (hidden0|output)\.[Wb] is not finite; take"
    ):
        list(training)
    assert training.stopped == "diverged"


def exploding(logits, y):
    """The smaller, the larger the first logit: every step multiplies it, until it is infinite after some epochs."""
    return -logits[:, 0] - logits[:, 0] ** 2


@pytest.mark.parametrize("kept", [False, True], ids=["in memory", "in a folder"])
def test_a_fit_that_diverges_hands_over_its_best(small, tmp_path, kept):
    model, recipe = epochal.logistic(), epochal.Recipe(learning_rate=0.5, batch_size=20, epochs=50, loss=exploding)
    with pytest.raises(epochal.DivergedError) as raised:
        epochal.fit(model, small, recipe, out=tmp_path / "run" if kept else None)
    fit = raised.value.fit
    assert fit.stopped == "diverged"
    assert fit.best.epoch >= 1
    assert fit.score(small.valid) == fit.best.valid
    assert fit.folder == (tmp_path / "run" if kept else None)
    if kept:
        assert epochal.load_run(tmp_path / "run", recipe=recipe).parameters_sha256 == fit.parameters_sha256
    training = epochal.train(model, small, recipe)
    with pytest.raises(epochal.DivergedError) as again:
        list(training)
    assert again.value.fit.parameters_sha256 == fit.parameters_sha256


def test_a_fit_that_diverges_before_any_validation_has_none(small):
    with pytest.raises(epochal.DivergedError) as raised:
        epochal.fit(epochal.mlp(8), small, epochal.Recipe(learning_rate=3e38, l2=10, batch_size=101, epochs=1))
    assert raised.value.fit is None


def test_a_pair_of_functions_is_a_model(small):
    logistic, recipe = epochal.logistic(), epochal.Recipe(epochs=2)
    fit = epochal.fit((logistic.init, logistic.logits), small, recipe)
    assert fit.parameters_sha256 == epochal.fit(logistic, small, recipe).parameters_sha256
    first, again = (epochal.train((logistic.init, logistic.logits), small, recipe) for _ in range(2))
    assert first.model is again.model


def test_nan_never_becomes_the_best(small):
    # The first update makes the parameters infinite, and nothing but the validation sees it.
    recipe = epochal.Recipe(learning_rate=3e38, l2=10, batch_size=101, epochs=1)
    training = epochal.train(epochal.mlp(8), small, recipe)
    with pytest.raises(epochal.DivergedError, match=r"step 1: hidden0\.W is not finite"):
        list(training)
    assert training.best is None


def test_a_model_whose_answers_are_nan_is_wrong_on_every_row(small):
    """Finite parameters may overflow in products; the first class would then be predicted, and often be right."""
    program = epochal.train(epochal.logistic(), small, RECIPE).loop.program
    answers = {"W": np.zeros((3, 6), np.float32), "b": np.array([0, np.nan, 1], np.float32)}
    assert [score.wrong for score in program.count_errors(answers, program.place(small.valid))] == [40]
    assert int(epochal.zero_one_loss([[np.nan, 1.0], [2.0, 1.0]], [0, 0])) == 1


def test_float64_is_computed_in_float64_and_leaves_the_process_alone(small):
    recipe = epochal.Recipe.from_dict(RECIPE.to_dict() | {"dtype": "float64"})
    fit = epochal.fit(epochal.mlp(8), small, recipe)
    assert {leaf.dtype for leaf in jax.tree.leaves(fit.params)} == {np.dtype(np.float64)}
    assert fit.predict_proba(small.valid.x).dtype == np.float64
    assert jax.numpy.ones(1).dtype == np.float32
    single = epochal.fit(epochal.mlp(8), small, RECIPE)
    assert fit.epochs[0].loss != single.epochs[0].loss


def test_writing_to_ones_own_array_afterwards_does_not_reach_the_device():
    x, y = blobs(101)
    data = epochal.load({"train": (x, y), "valid": blobs(40, seed=1), "test": blobs(33, seed=2)})
    training = epochal.train(epochal.logistic(), data, RECIPE)
    x[:] = np.nan
    assert np.isfinite(list(training)[-1].loss)


def test_a_batch_larger_than_train_is_one_minibatch_or_refused(small):
    assert epochal.fit(epochal.logistic(), small, epochal.Recipe(batch_size=500, epochs=2)).steps == 2
    with pytest.raises(epochal.RecipeError, match="500 is more than the 101 train rows"):
        epochal.train(epochal.logistic(), small, epochal.Recipe(batch_size=500, drop_last=True))


def test_too_little_memory_is_refused_before_anything_runs(small):
    with pytest.raises(
        epochal.CapacityError, match=r"(?s)20 rows of 28 bytes and .* 1\.0 kB are .*grant memory_bytes=\d+"
    ):
        epochal.train(epochal.logistic(), small, RECIPE, memory_bytes=1000)


def test_predicting_checks_the_shape_and_takes_no_rows(small):
    fit = epochal.fit(epochal.logistic(), small, epochal.Recipe(epochs=1))
    assert fit.predict(np.zeros((0, 6), np.float32)).shape == (0,)
    with pytest.raises(epochal.DataError, match=r"examples have shape \[7\], but the model was trained on \[6\]"):
        fit.predict(np.zeros((2, 7), np.float32))
