"""Models that behave otherwise in training: dropout and batch statistics, against plain loops, stopped and resumed."""

import json
from dataclasses import replace
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

import epochal
from agreement import drained, outcome, resumed_at_every_step, too_little
from conftest import blobs
from epochal.data.dataset import Dataset
from epochal.models import Variables, parameters
from epochal.runs import checkpoint
from epochal.runs.run import resume
from epochal.training import loop

BASE = epochal.mlp(8, "tanh")


def dropped(params, x, key):
    """One hidden layer with half of its units dropped, the others doubled (Srivastava et al., JMLR 2014)."""
    h = jnp.tanh(x @ params["hidden0"]["W"].T + params["hidden0"]["b"])
    kept = jax.random.bernoulli(key, 0.5, h.shape)
    h = jnp.where(kept, 2 * h, 0)
    return h @ params["output"]["W"].T + params["output"]["b"], ()


DROPOUT = epochal.Model(BASE.init, BASE.logits, "dropout", forward=dropped)


def norm_init(key, example_shape, classes):
    params = BASE.init(key, example_shape, classes) | {"gain": jnp.ones(8), "shift": jnp.zeros(8)}
    return Variables(params, {"mean": jnp.zeros(8), "var": jnp.ones(8)})


def normed(params, x, mean, var):
    h = x @ params["hidden0"]["W"].T + params["hidden0"]["b"]
    mean, var = (mean, var) if mean is not None else (h.mean(0), h.var(0))
    h = jnp.tanh(params["gain"] * (h - mean) / jnp.sqrt(var + 1e-5) + params["shift"])
    return h @ params["output"]["W"].T + params["output"]["b"], mean, var


def norm_logits(variables, x):
    return normed(variables.params, x, variables.model_state["mean"], variables.model_state["var"])[0]


def norm_forward(variables, x, key):
    logits, mean, var = normed(variables.params, x, None, None)
    old = variables.model_state
    return logits, {"mean": 0.9 * old["mean"] + 0.1 * mean, "var": 0.9 * old["var"] + 0.1 * var}


NORM = epochal.Model(norm_init, norm_logits, "norm", forward=norm_forward)
RECIPE = epochal.Recipe(optimizer="momentum", learning_rate=0.05, batch_size=32, epochs=2)
WHOLE = replace(RECIPE, drop_last=True)


@pytest.fixture
def single_steps(monkeypatch):
    monkeypatch.setattr(loop, "STRETCH_SECONDS", 0)


@pytest.mark.parametrize("chunked", [False, True], ids=["resident", "chunked"])
@pytest.mark.parametrize(("model", "recipe"), [(DROPOUT, RECIPE), (NORM, WHOLE)], ids=["dropout", "norm"])
def test_a_run_resumes_at_every_step_to_the_same_bits(small, single_steps, model, recipe, chunked):
    memory_bytes = too_little(model, small, recipe) if chunked else None
    training = epochal.train(model, small, recipe, memory_bytes=memory_bytes)
    training.loop.placed.close()
    assert training.residency.kind == ("chunked" if chunked else "resident")
    assert resumed_at_every_step(model, small, recipe, memory_bytes) == 2 * training.loop.plan.steps


@pytest.mark.parametrize(("model", "recipe"), [(DROPOUT, RECIPE), (NORM, WHOLE)], ids=["dropout", "norm"])
def test_chunks_have_the_bits_of_resident_rows(small, model, recipe):
    resident, chunked = drained(model, small, recipe), drained(model, small, recipe, too_little(model, small, recipe))
    assert chunked.residency.kind == "chunked"
    assert outcome(chunked) == outcome(resident)


def plain(model, data: Dataset, recipe: epochal.Recipe):
    """Parameters and statistics after a loop of single steps, with the keys that the documentation promises."""
    training = epochal.train(model, data, recipe)
    plan, x, y = training.loop.plan, np.asarray(data.train.x), data.train.y
    params, model_state = jax.tree.map(jnp.copy, (training.loop.state.params, training.loop.state.model_state))
    optimizer = optax.sgd(recipe.learning_rate, recipe.momentum)
    slots, step, stream = optimizer.init(params), 0, jax.random.fold_in(jax.random.key(recipe.seed), 0)

    def loss(params, model_state, rows, key):
        variables = Variables(params, model_state) if model_state else params
        logits, model_state = model.forward(variables, jnp.asarray(x[rows]), key)
        labels = jnp.asarray(y[rows])
        return optax.softmax_cross_entropy_with_integer_labels(logits, labels).mean(), model_state

    for number in range(recipe.epochs):
        for rows in plan.epoch(number)[0]:
            key = jax.random.fold_in(stream, step)
            gradient, model_state = jax.grad(loss, has_aux=True)(params, model_state, rows, key)
            updates, slots = optimizer.update(gradient, slots, params)
            params, step = optax.apply_updates(params, updates), step + 1
    return params, model_state, training.loop.state


@pytest.mark.parametrize("model", [DROPOUT, NORM], ids=["dropout", "norm"])
def test_a_run_is_a_plain_loop_of_the_same_steps(small, model):
    params, model_state, start = plain(model, small, WHOLE)
    state = drained(model, small, WHOLE).loop.state
    compare = partial(np.testing.assert_allclose, rtol=2e-5, atol=1e-6)  # float32, summed in another order
    jax.tree.map(compare, state.params, params)
    jax.tree.map(compare, state.model_state, model_state)
    for leaf, first in zip(jax.tree.leaves(state.model_state), jax.tree.leaves(start.model_state), strict=True):
        assert np.abs(np.asarray(leaf) - np.asarray(first)).max() > 0.01


def test_every_step_and_every_seed_drops_other_units(small):
    first = drained(DROPOUT, small, RECIPE)
    assert outcome(drained(DROPOUT, small, RECIPE)) == outcome(first)

    def fixed(params, x, key):
        return dropped(params, x, jax.random.key(0))

    def by_step(params, x, key):
        return dropped(params, x, jax.random.fold_in(key, 1))

    for other in (fixed, by_step):
        assert outcome(drained(replace(DROPOUT, forward=other), small, RECIPE))[0] != outcome(first)[0]


def test_evaluation_drops_nothing(small):
    fit = drained(DROPOUT, small, RECIPE).fit()
    logits = np.asarray(BASE.logits(fit.params, jnp.asarray(small.valid.x)))
    assert fit.best.valid.wrong == int((logits.argmax(1) != small.valid.y).sum())
    np.testing.assert_allclose(fit.predict_proba(small.valid.x), jax.nn.softmax(logits), rtol=1e-5, atol=1e-7)


def test_predicting_uses_the_running_statistics_of_the_best(small):
    training = drained(NORM, small, replace(WHOLE, epochs=12, learning_rate=0.3))
    fit = training.fit()
    assert fit.best.step < training.step, "the best must lie before the end for this test to say anything"
    assert isinstance(fit.params, Variables)
    assert (fit.params.model_state["mean"] != np.asarray(training.loop.state.model_state["mean"])).any()
    fresh = drained(NORM, small, replace(WHOLE, epochs=fit.best.epoch, learning_rate=0.3))
    jax.tree.map(np.testing.assert_array_equal, fresh.loop.state.variables, fit.params)
    model_state = fit.params.model_state
    logits = normed(fit.params.params, jnp.asarray(small.valid.x), model_state["mean"], model_state["var"])[0]
    np.testing.assert_allclose(fit.predict_proba(small.valid.x), jax.nn.softmax(logits), rtol=1e-5, atol=1e-6)
    alone = fit.predict_proba(small.valid.x[:1])
    np.testing.assert_allclose(alone, fit.predict_proba(small.valid.x)[:1], rtol=1e-5, atol=1e-6)


def test_the_digest_covers_the_statistics(small):
    fit = drained(NORM, small, WHOLE).fit()
    other = Variables(fit.params.params, fit.params.model_state | {"var": fit.params.model_state["var"] + 1})
    assert fit.parameters_sha256 == parameters.sha256(fit.params) != parameters.sha256(other)
    assert set(parameters.flatten(fit.params)) >= {"params.gain", "model_state.mean", "model_state.var"}


def test_a_folder_holds_the_statistics_and_is_opened_and_resumed(small, tmp_path):
    fit = epochal.fit(NORM, small, WHOLE, out=tmp_path / "run")
    snapshot, _ = checkpoint.newest(tmp_path / "run")
    assert {"model_state.mean", "model_state.var"} <= set(snapshot.state)
    assert "model_state.mean" in snapshot.best
    again = epochal.load_run(tmp_path / "run", small, model=NORM)
    assert again.parameters_sha256 == fit.parameters_sha256
    np.testing.assert_array_equal(again.predict_proba(small.test.x), fit.predict_proba(small.test.x))
    assert json.loads((tmp_path / "run" / "run.json").read_text())["parameters_sha256"] == fit.parameters_sha256
    assert resume(tmp_path / "run", small, model=NORM).fit().parameters_sha256 == fit.parameters_sha256


def test_a_smaller_last_minibatch_is_refused_where_statistics_would_take_it_in(small):
    with pytest.raises(
        epochal.RecipeError,
        match=r"batch_size: 101 train rows leave a last minibatch of 5, and the model's statistics \(batch "
        r"normalisation\) want whole ones; give drop_last=True",
    ):
        epochal.train(NORM, small, RECIPE)
    whole = epochal.load({"train": blobs(96), "valid": blobs(40, seed=1), "test": blobs(33, seed=2)})
    assert epochal.train(NORM, whole, RECIPE).loop.plan.steps == 3
    assert epochal.train(DROPOUT, small, RECIPE).loop.plan.steps == 4


def test_double_precision_is_kept_in_the_statistics():
    x, y = blobs(96)
    held = [(x.astype(np.float64) / 3, y) for x, y in (blobs(40, seed=1), blobs(33, seed=2))]
    data = epochal.load({"train": (x.astype(np.float64) / 3, y), "valid": held[0], "test": held[1]})
    training = drained(NORM, data, replace(WHOLE, dtype="float64"))
    assert {leaf.dtype for leaf in jax.tree.leaves(training.fit().params)} == {np.dtype(np.float64)}
    assert training.loop.state.model_state["mean"].dtype == np.float64


def test_statistics_may_count(small):
    """Whole numbers and truth values stay what they are: Equinox counts its minibatches."""

    def init(key, example_shape, classes):
        return Variables(BASE.init(key, example_shape, classes), {"seen": jnp.int32(0), "any": jnp.array(False)})

    def forward(variables, x, key):
        seen = variables.model_state["seen"] + 1
        return BASE.logits(variables.params, x), {"seen": seen, "any": jnp.array(True)}

    counting = epochal.Model(init, lambda variables, x: BASE.logits(variables.params, x), forward=forward)
    training = drained(counting, small, WHOLE)
    assert training.loop.state.model_state["seen"].dtype == np.int32
    assert int(training.loop.state.model_state["seen"]) == training.step == 6
    assert training.fit().params.model_state["any"].dtype == bool
    assert outcome(training)[0] == outcome(drained(counting, small, WHOLE, too_little(counting, small, WHOLE)))[0]
