"""The estimator against scikit-learn's own checks, against `epochal.fit`, and against its peers' accuracy."""

import inspect
import itertools
import pickle
import warnings
from concurrent.futures import ThreadPoolExecutor
from dataclasses import fields

import jax
import numpy as np
import pandas as pd
import polars as pl
import pytest
import sklearn.datasets
from scipy.sparse import csr_matrix
from sklearn.base import clone
from sklearn.exceptions import ConvergenceWarning, NotFittedError
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import GridSearchCV, train_test_split
from sklearn.neural_network import MLPClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.utils.estimator_checks import check_sample_weight_equivalence_on_dense_data, parametrize_with_checks

import epochal
from commands import process
from conftest import blobs
from epochal import Classifier
from epochal.estimator import inputs
from epochal.estimator.parameters import checked

QUICK = {"hidden": 8, "epochs": 10, "random_state": 0}
EXACT = {"batch_size": 1000, "shuffle": "none", "dtype": "float64"} | QUICK
"""Every epoch is one step over all rows: what holds on paper then holds up to rounding."""

EXPECTED = {
    "check_sample_weight_equivalence_on_dense_data": "a row of weight 2 is one row of a minibatch, a repeated row two; "
    "with all rows in one minibatch the check passes (test_weights_are_repetitions_…)"
}


@pytest.mark.thorough
@pytest.mark.filterwarnings("ignore:X. features range from")  # as some checks have them
@parametrize_with_checks([Classifier()], expected_failed_checks=lambda estimator: EXPECTED)
def test_scikit_learns_checks(estimator, check):
    check(estimator)


def test_weights_are_repetitions_where_all_rows_are_one_minibatch():
    check_sample_weight_equivalence_on_dense_data("Classifier", Classifier(**EXACT))
    x, y = blobs(30)
    weight = np.arange(30) % 4
    weighted = Classifier(**EXACT, learning_rate=0.5).fit(x, y, sample_weight=weight)
    repeated = Classifier(**EXACT, learning_rate=0.5).fit(x.repeat(weight, axis=0), y.repeat(weight))
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-9), weighted.params_, repeated.params_)
    np.testing.assert_allclose(weighted.loss_curve_, repeated.loss_curve_, rtol=1e-9)
    plain = Classifier(**EXACT, learning_rate=0.5).fit(x, y)
    assert not np.allclose(plain.params_["output"]["W"], weighted.params_["output"]["W"])


def test_its_parameters_are_the_recipes_with_the_recipes_defaults():
    given = {name: parameter.default for name, parameter in inspect.signature(Classifier).parameters.items()}
    architecture = {"hidden", "activation", "kernels", "kernel_size"}
    own = {"model", *architecture, "validation_fraction", "divisor", "memory", "random_state"}
    recipe = {knob.name: knob.default for knob in fields(epochal.Recipe) if knob.name != "seed"}
    assert {name: default for name, default in given.items() if name not in own} == recipe
    assert {given[name] for name in architecture} == {None}
    assert Classifier()._settings().model is epochal.mlp()


def test_with_validation_rows_it_is_epochal_fit_to_the_bit(small):
    told = {"learning_rate": 0.1, "epochs": 30, "patience_steps": 25, "patience_increase": 1.1, "l2": 1e-3}
    fit = epochal.fit(epochal.mlp(8), small, epochal.Recipe(**told, seed=3))
    made = Classifier(hidden=8, random_state=3, **told)
    made.fit(small.train.x, small.train.y, X_valid=small.valid.x, y_valid=small.valid.y)
    jax.tree.map(np.testing.assert_array_equal, made.params_, fit.params)
    assert fit.stopped == made.stopped_ == "patience"
    assert fit.best.epoch < len(fit.epochs), "the best must lie before the end for this test to say anything"
    assert (made.best_epoch_, made.best_validation_) == (fit.best.epoch, fit.best.valid)
    assert made.n_iter_ == len(fit.epochs)
    assert made.loss_curve_ == [epoch.loss for epoch in fit.epochs]
    rates = [epoch.valid.wrong / 40 if epoch.valid else np.nan for epoch in fit.epochs]
    np.testing.assert_array_equal(made.validation_curve_, rates)
    np.testing.assert_array_equal(made.predict(small.test.x), fit.predict(small.test.x))
    np.testing.assert_allclose(made.predict_proba(small.test.x), fit.predict_proba(small.test.x), rtol=1e-5)


def test_without_validation_the_last_parameters_are_kept(small):
    made = Classifier(**QUICK, patience_steps=1).fit(small.train.x, small.train.y)
    recipe = epochal.Recipe(epochs=10)
    training = epochal.train(epochal.mlp(8), small, recipe)
    list(training)
    jax.tree.map(np.testing.assert_array_equal, made.params_, training.variables())
    assert (made.n_iter_, made.stopped_) == (10, "epochs")
    assert made.best_epoch_ is made.best_validation_ is None
    assert np.isnan(made.validation_curve_).all()


def test_rows_are_held_out_stratified_and_by_seed(monkeypatch):
    seen = []
    hold_out = inputs.hold_out
    monkeypatch.setattr(inputs, "hold_out", lambda *given: seen.append(hold_out(*given)) or seen[-1])
    x, y = blobs(90)
    for seed in (0, 0, 1):
        Classifier(**QUICK | {"epochs": 1, "random_state": seed}, validation_fraction=0.2).fit(x, y)
    for train, valid in seen:
        assert np.bincount(valid.y).tolist() == [6, 6, 6]
        both = np.concatenate([train.x, valid.x])
        np.testing.assert_array_equal(np.unique(both, axis=0), np.unique(x, axis=0))
    np.testing.assert_array_equal(seen[0][1].x, seen[1][1].x)
    assert not np.array_equal(seen[0][1].x, seen[2][1].x)


@pytest.mark.parametrize(("rows", "held"), [(9_999, None), (10_000, 1_000)])
def test_auto_holds_out_a_tenth_where_there_are_enough_rows(rows, held):
    split = inputs.portion(*blobs(rows), None, 1.0)
    train, valid = inputs.hold_out(split, "auto", 0)
    assert (len(train), valid and len(valid)) == (rows - (held or 0), held)


@pytest.mark.parametrize("validated", [True, False])
def test_partial_fit_of_the_same_rows_is_fit(small, validated):
    rows = small.train.x, small.train.y
    valid = {"X_valid": small.valid.x, "y_valid": small.valid.y} if validated else {}
    told = QUICK | {"optimizer": "momentum", "schedule": "inverse_time", "decay": 0.1, "l1": 1e-4}
    whole = Classifier(**told).fit(*rows, **valid)
    parts = Classifier(**told)
    for call in range(10):
        parts.partial_fit(*rows, classes=[0, 1, 2] if call == 0 else None, **valid)
        if call == 4:
            parts = pickle.loads(pickle.dumps(parts))
    jax.tree.map(np.testing.assert_array_equal, parts.params_, whole.params_)
    assert parts.loss_curve_ == whole.loss_curve_
    np.testing.assert_array_equal(parts.validation_curve_, whole.validation_curve_)
    assert (parts.n_iter_, parts.best_epoch_) == (10, whole.best_epoch_)
    assert parts.best_validation_ == whole.best_validation_


def test_partial_fit_counts_patience_over_calls_and_then_changes_nothing(small):
    valid = {"X_valid": small.valid.x, "y_valid": small.valid.y}
    made = Classifier(**QUICK, patience_steps=40, patience_increase=1.0)
    calls = 0
    while calls == 0 or made.stopped_ is None:
        sizes = slice(0, 101 - calls % 3)  # portions of several sizes
        made.partial_fit(small.train.x[sizes], small.train.y[sizes], classes=range(3), **valid)
        calls += 1
        assert calls < 50
    # The calls end with the updates 6, 11, 16, 22, 27, 32, 38, 43, and 40 <= 43 - 1, as in the published loop.
    assert (calls, made.stopped_, made.n_iter_) == (8, "patience", 8)
    params, wrong = made.params_, made.validation_curve_[made.best_epoch_ - 1]
    assert wrong == min(made.validation_curve_)
    assert np.mean(made.predict(small.valid.x) != small.valid.y) == wrong
    made.partial_fit(small.train.x, small.train.y, **valid)
    assert made.params_ is params
    assert made.n_iter_ == 8


def test_partial_fit_goes_on_from_fit(small):
    fitted = Classifier(**QUICK).fit(small.train.x, small.train.y)
    loss = fitted.loss_curve_[-1]
    fitted.partial_fit(small.train.x, small.train.y, X_valid=small.valid.x, y_valid=small.valid.y)
    assert fitted.n_iter_ == fitted.best_epoch_ == 11
    assert fitted.loss_curve_[-1] < 1.2 * loss
    assert fitted.loss_curve_[-1] < 0.8 * fitted.loss_curve_[0]


def test_class_weights_are_sample_weights():
    x, y = blobs(60)
    names = np.array(["ash", "beech", "oak"])[y]
    by_class = Classifier(**QUICK, class_weight={"ash": 4, "oak": 0.5}).fit(x, names)
    by_row = Classifier(**QUICK).fit(x, names, sample_weight=np.array([4, 1, 0.5])[y] * 7)
    for a, b in zip(jax.tree.leaves(by_class.params_), jax.tree.leaves(by_row.params_), strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-6)
    assert (by_class.predict(x) == "ash").sum() > (Classifier(**QUICK).fit(x, names).predict(x) == "ash").sum()
    few = np.flatnonzero((y != 0) | (np.arange(60) % 6 == 0))
    balanced = Classifier(**EXACT, class_weight="balanced").fit(x[few], y[few])
    counts = np.bincount(y[few])
    rows = Classifier(**EXACT).fit(x[few], y[few], sample_weight=(1 / counts)[y[few]])
    np.testing.assert_allclose(balanced.predict_proba(x), rows.predict_proba(x), rtol=1e-5)


def test_equal_weights_are_none_and_a_class_without_weight_is_left_out():
    x, y = blobs(40)
    plain, weighted = Classifier(**QUICK).fit(x, y), Classifier(**QUICK).fit(x, y, sample_weight=np.full(40, 3))
    jax.tree.map(np.testing.assert_array_equal, plain.params_, weighted.params_)
    left = Classifier(**QUICK, class_weight={2: 0}).fit(x, y)
    assert left.classes_.tolist() == [0, 1, 2]
    assert 2 not in left.predict(x)


@pytest.mark.parametrize(
    "kind",
    [str, bool, np.int64, np.uint8, object, "pandas", "polars", "categorical"],
    ids=str,
)
def test_labels_of_any_kind_come_back_as_they_were(kind):
    x, y = blobs(60, classes=2)
    names = np.array(["no", "yes"])[y]
    given = {
        "pandas": pd.Series(names), "polars": pl.Series(names), "categorical": pd.Series(names, dtype="category"),
        str: names, object: names.astype(object),
    }.get(kind)  # fmt: skip
    given = y.astype(kind) if given is None else given
    made = Classifier(**QUICK).fit(x, given)
    predicted = made.predict(x)
    assert set(predicted.tolist()) == set(np.asarray(given).tolist())
    assert np.mean(predicted == np.asarray(given)) > 0.7
    assert made.score(x, given) == np.mean(predicted == np.asarray(given))


@pytest.mark.parametrize("frame", [pd.DataFrame, pl.DataFrame])
def test_frames_bring_feature_names_which_are_checked(frame):
    x, y = blobs(60)
    table = frame({name: x[:, i] for i, name in enumerate("abcdef")})
    made = Classifier(**QUICK).fit(table, y)
    assert made.feature_names_in_.tolist() == list("abcdef")
    assert made.n_features_in_ == 6
    np.testing.assert_array_equal(made.predict(table), made.predict_proba(table).argmax(1))
    with pytest.raises(ValueError, match=r"(?s)feature names should match.*order"):
        made.predict(table[list("bacdef")])
    with pytest.raises(ValueError, match=r"(?s)Feature names seen at fit time, yet now missing"):
        made.fit(table, y, X_valid=table[list("abcde")], y_valid=y)


def test_images_go_to_lenet_as_they_are():
    digits = sklearn.datasets.load_digits()
    images = np.repeat(np.repeat(digits.images[:40], 2, axis=1), 2, axis=2)
    made = Classifier(epochal.lenet((2, 3), 8, 3), divisor=16, epochs=1, random_state=0).fit(images, digits.target[:40])
    assert made.predict(images[:8]).shape == (8,)
    assert made.n_features_in_ == 16
    with pytest.raises(ValueError, match=r"X: examples have shape \[16, 15\], but they had shape \[16, 16\] in fit"):
        made.predict(images[:, :, 1:])


def test_pixels_stay_uint8_on_the_device():
    digits = sklearn.datasets.load_digits()
    pixels, y = digits.data[:60].astype(np.uint8), digits.target[:60]
    made, scaled = Classifier(**QUICK, divisor=16).fit(pixels, y), Classifier(**QUICK).fit(pixels / 16, y)
    jax.tree.map(np.testing.assert_array_equal, made.params_, scaled.params_)
    np.testing.assert_array_equal(made.predict_proba(pixels), scaled.predict_proba(pixels / 16))
    assert made._checked(pixels, "no_validation", (64,)).dtype == np.uint8


def test_float64_is_kept_or_stored_as_float32_as_dtype_says():
    x, y = blobs(60)
    fine = x.astype(np.float64) + 1e-12
    probabilities = {dtype: Classifier(**QUICK, dtype=dtype).fit(fine, y).predict_proba(fine) for dtype in
                     ("float32", "float64")}  # fmt: skip
    assert {dtype: p.dtype.name for dtype, p in probabilities.items()} == {name: name for name in probabilities}
    assert not np.array_equal(probabilities["float32"], probabilities["float64"])
    with pytest.raises(ValueError, match="too large for dtype"):
        Classifier(**QUICK).fit(np.where(fine > 0, 1e300, fine), y)


def test_a_grid_search_over_a_pipeline_compiles_once_a_shape(compilations):
    x, y = sklearn.datasets.load_breast_cancer(return_X_y=True)
    x, y = x[:480], y[:480]  # every fold has 320 rows to train with
    model = epochal.Model(epochal.mlp(16).init, epochal.mlp(16).logits)  # a new object: nothing is compiled for it yet
    pipeline = make_pipeline(StandardScaler(), Classifier(model, epochs=10, random_state=0))
    grid = {"classifier__learning_rate": [1e-4, 0.1], "classifier__l2": [1e-4, 1e-3]}
    search = GridSearchCV(pipeline, grid, cv=3, error_score="raise").fit(x, y)
    assert search.best_params_["classifier__learning_rate"] == 0.1
    assert search.best_score_ > 0.94
    # One shape for the 12 fits of folds, one for the last with all rows.
    assert compilations.count("jit(run_steps)") == 2
    assert compilations.count("jit(sum_rows)") == 1
    assert compilations.count("jit(map_rows)") == 1
    compilations.clear()
    for rows in (1, 2, 3, 4, 5, 130, 150, 159):
        assert search.predict(x[:rows]).shape == (rows,)
    assert compilations.count("jit(map_rows)") == 5, "1 to 5; the others are rounded up to 160, as above"


@pytest.mark.slow
def test_a_grid_search_in_two_processes_finds_the_same():
    x, y = blobs(60)
    searches = [
        GridSearchCV(Classifier(epochal.mlp(8), epochs=3, random_state=0), {"learning_rate": [1e-3, 0.1]}, cv=2,
                     n_jobs=jobs, error_score="raise").fit(x, y) for jobs in (None, 2)
    ]  # fmt: skip
    alone, parallel = (search.cv_results_["mean_test_score"] for search in searches)
    np.testing.assert_array_equal(alone, parallel)


@pytest.mark.parametrize("name", ["iris", "wine", "breast_cancer", "digits"])
def test_it_is_about_as_good_as_its_peers(name):
    x, y = getattr(sklearn.datasets, f"load_{name}")(return_X_y=True)
    x, x_test, y, y_test = train_test_split(x, y, test_size=0.3, random_state=0, stratify=y)
    ours = Classifier(hidden=50, epochs=60, random_state=0)
    peers = [MLPClassifier(50, max_iter=60, learning_rate_init=0.01, random_state=0), LogisticRegression()]
    accuracy = []
    for estimator in (ours, *peers):
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", ConvergenceWarning)
            accuracy.append(make_pipeline(StandardScaler(), estimator).fit(x, y).score(x_test, y_test))
    assert accuracy[0] > max(accuracy[1:]) - 0.04, accuracy


def test_it_is_pickled_into_another_process(tmp_path):
    x, y = blobs(40)
    made = Classifier(epochal.mlp([8]), epochs=2, random_state=0).partial_fit(x, y, classes=[0, 1, 2])
    assert pickle.loads(pickle.dumps(made.model)) is made.model
    (tmp_path / "made.pkl").write_bytes(pickle.dumps(made))
    np.save(tmp_path / "x.npy", x)
    code = (
        "import pickle, sys, numpy as np; made = pickle.load(open('made.pkl', 'rb')); x = np.load('x.npy')\n"
        "np.save('first.npy', made.predict_proba(x)); made.partial_fit(x, made.predict(x))\n"
        "np.save('second.npy', made.predict_proba(x))"
    )
    done = process("-c", code, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    np.testing.assert_array_equal(np.load(tmp_path / "first.npy"), made.predict_proba(x))
    made.partial_fit(x, made.predict(x))
    np.testing.assert_array_equal(np.load(tmp_path / "second.npy"), made.predict_proba(x))


def test_threads_fit_side_by_side():
    x, y = blobs(40)
    cases = itertools.product((0, 1), ("float32", "float64"))
    made = [Classifier(**QUICK | {"random_state": seed}, dtype=dtype) for seed, dtype in cases]
    with ThreadPoolExecutor(4) as pool:
        at_once = list(pool.map(lambda estimator: clone(estimator).fit(x, y).predict_proba(x), made))
    for found, estimator in zip(at_once, made, strict=True):
        np.testing.assert_array_equal(found, estimator.fit(x, y).predict_proba(x))


def test_a_clone_has_the_models_own_object_and_so_its_program():
    model = epochal.Model(epochal.logistic().init, epochal.logistic().logits)
    assert clone(Classifier(model)).model is model


def test_a_model_and_an_optimizer_of_ones_own(tmp_path):
    (tmp_path / "mine.py").write_text(
        "import optax, epochal\n"
        "def build(example_shape, classes): return epochal.mlp(4)\n"
        "def slow(): return optax.sgd(1e-3)\n"
    )
    told = {"model": f"{tmp_path}/mine.py:build", "optimizer": f"{tmp_path}/mine.py:slow", "epochs": 2}
    made = Classifier(**told, random_state=0).fit(X, Y)
    assert made.params_["hidden0"]["W"].shape == (4, 6)
    same = Classifier(hidden=4, learning_rate=1e-3, epochs=2, random_state=0).fit(X, Y)
    np.testing.assert_allclose(made.predict_proba(X), same.predict_proba(X), rtol=1e-5)


def test_random_state_is_the_recipes_seed_or_draws_one(monkeypatch):
    seeds = []
    monkeypatch.setattr(
        "epochal.estimator.classifier.checked", lambda given, seed: seeds.append(seed) or checked(given, seed)
    )
    for state in (7, np.int64(7), None, np.random.RandomState(1), np.random.RandomState(1)):
        Classifier("logistic", random_state=state)._settings()
    Classifier("logistic")._settings()
    assert seeds[:2] == [7, 7]
    assert seeds[3] == seeds[4]
    assert len(set(seeds)) == 4, "None must be another draw each time"


def test_names_and_widths_make_the_models():
    cases = (("logistic", None, 5), ("mlp", (np.int64(8), 4), "2kB"), ("lenet", 9, None))
    made = {
        name: Classifier(name, hidden=hidden, activation=hidden and "tanh", memory=memory)._settings()
        for name, hidden, memory in cases
    }
    assert made["logistic"].model is epochal.logistic()
    assert made["mlp"].model is epochal.mlp([8, 4], "tanh")
    assert made["lenet"].model is epochal.lenet(hidden=9, activation="tanh")
    assert [settings.memory_bytes for settings in made.values()] == [5, 2000, None]


X, Y = blobs(30)


@pytest.mark.parametrize(
    ("told", "given", "message"),
    [
        ({"model": "forest"}, {}, r"model: must be one of logistic, mlp, lenet, .*, got 'forest'"),
        ({"hidden": "8y4"}, {}, r"hidden: must be a whole number, or several, like 500 or \(500, 300\), got '8y4'"),
        ({"model": "lenet", "hidden": (8, 4)}, {}, r"hidden: lenet has one hidden layer, got \(8, 4\)"),
        ({"memory": "much"}, {}, r"memory: 'much' is no amount of memory"),
        ({"dtype": "float16"}, {}, r"dtype: must be one of float32, float64, got 'float16'"),
        ({"learning_rate": 0}, {}, r"learning_rate: must be above 0, got 0"),
        ({"random_state": -1}, {}, r"(?i)seed must be between 0 and"),
        ({"validation_fraction": 1}, {}, r"validation_fraction: must be above 0 and below 1, None, .* got 1"),
        ({"divisor": 0}, {}, r"divisor: must be a finite number above 0, got 0"),
        ({"class_weight": {"oak": 1}}, {}, r"class_weight: there is no class 'oak'; there are 0, 1, 2"),
        ({"class_weight": "even"}, {}, r"class_weight: must be balanced, or weights by class name .* got 'even'"),
        ({}, {"X": csr_matrix(X)}, r"Sparse data was passed for X.*toarray"),
        ({}, {"X": np.where(X > 1, np.nan, X)}, r"Input X contains NaN"),
        ({}, {"y": np.array(["oak"] * 30, object)}, r"y: has one class, 'oak', in all 30 rows that count"),
        ({}, {"y": np.ones(30)}, r"y: has one class, 1.0, in all 30 rows that count; a classifier needs two"),
        ({}, {"sample_weight": Y == 2}, r"y: has one class, 2, in all 10 rows that count"),
        ({}, {"y": X[:, 0]}, r"Unknown label type: continuous"),
        ({}, {"sample_weight": np.ones(7)}, r"sample_weight: has shape \[7\], but there are 30 rows"),
        ({}, {"sample_weight": -Y}, r"sample_weight: row 1 has weight -1.0; weights must be finite, and at least 0"),
        ({}, {"sample_weight": 0 * Y}, r"sample_weight: all 30 weights are zero"),
        ({}, {"X_valid": X}, r"X_valid, y_valid: only one of them was given"),
        ({}, {"X_valid": X, "y_valid": Y + 2}, r"y_valid: row 1 has label 3, but the classes are 0, 1, 2; fix it"),
        ({}, {"X_valid": X[:, 1:], "y_valid": Y}, r"X has 5 features, but Classifier is expecting 6"),
        ({"validation_fraction": 0.1}, {"X": X[:3], "y": [0, 1, 2]}, r"validation_fraction: of 3 rows none can"),
    ],
)  # fmt: skip
def test_what_cannot_be_used_is_refused_with_place_values_and_remedy(told, given, message):
    with pytest.raises((ValueError, TypeError), match=rf"(?s){message}"):
        Classifier(**told).fit(**{"X": X, "y": Y} | given)


def test_partial_fit_refuses_what_it_cannot_know():
    made = Classifier(**QUICK)
    with pytest.raises(ValueError, match=r"classes: the first call to partial_fit needs all classes; give classes="):
        made.partial_fit(X, Y)
    with pytest.raises(ValueError, match=r"class_weight: 'balanced' needs all rows, and partial_fit sees a portion"):
        Classifier(class_weight="balanced").partial_fit(X, Y, classes=[0, 1, 2])
    with pytest.raises(ValueError, match=r"y: row 2 has label 2, but the classes are 0, 1; fix it"):
        made.partial_fit(X, Y, classes=[0, 1])
    with pytest.raises(NotFittedError):
        made.predict(X)
    made.partial_fit(X[:1], Y[:1], classes=[0, 1, 2])
    with pytest.raises(ValueError, match=r"classes: are 0, 1, but were 0, 1, 2 before; leave them out, or fit again"):
        made.partial_fit(X, Y, classes=[0, 1])


def test_a_portion_that_diverges_leaves_the_estimator_as_it_was():
    made = Classifier(**QUICK, optimizer="momentum").partial_fit(X, Y, classes=[0, 1, 2])
    before, told = made.predict_proba(X), (made.n_iter_, list(made.loss_curve_))
    with pytest.raises(epochal.DivergedError, match=r"take a smaller learning rate, or scale the features"):
        made.partial_fit(np.sign(X) * 3e38, Y)
    np.testing.assert_array_equal(made.predict_proba(X), before)
    assert (made.n_iter_, made.loss_curve_) == told
    made.partial_fit(X, Y)
    twice = Classifier(**QUICK, optimizer="momentum").partial_fit(X, Y, classes=[0, 1, 2]).partial_fit(X, Y)
    np.testing.assert_array_equal(made.predict_proba(X), twice.predict_proba(X))


def test_a_portion_whose_validation_finds_infinite_parameters_is_not_counted():
    made = Classifier("logistic", random_state=0).partial_fit(X, Y, classes=[0, 1, 2], sample_weight=1e-30)
    before = made.predict_proba(X)
    # The loss, 3e38 times ln 3, is finite yet; the gradient is not, and nothing but the validation sees it.
    with pytest.raises(epochal.DivergedError, match=r"step 3: W is not finite"):
        made.partial_fit(10 * X[:1], Y[:1], sample_weight=3e38, X_valid=X, y_valid=Y)
    np.testing.assert_array_equal(made.predict_proba(X), before)
    assert made._partial_fit.member.step == 2
    made.partial_fit(X, Y, X_valid=X, y_valid=Y)
    assert (made.n_iter_, made.best_epoch_) == (2, 2)


def test_features_that_are_not_scaled_are_warned_of():
    x, y = sklearn.datasets.load_breast_cancer(return_X_y=True)
    with pytest.warns(epochal.DataWarning, match=r"X: features range from 0 to 4,254 and are not scaled"):
        Classifier(**QUICK).fit(x, y)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        make_pipeline(StandardScaler(), Classifier(**QUICK)).fit(x, y)
