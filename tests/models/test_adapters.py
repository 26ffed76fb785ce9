"""Modules of Flax and Equinox, those of docs/models.md, against plain loops of their own library."""

import os
import signal
import subprocess
import sys
import time
from dataclasses import replace
from functools import partial
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

import epochal
from agreement import drained, outcome, resumed_at_every_step, too_little
from commands import result
from conftest import blobs
from documented import files
from epochal.data.dataset import Dataset
from epochal.models import Variables, adapted, parameters
from epochal.system import user_file
from epochal.training import loop
from needs import extra, require

nnx = pytest.importorskip("flax.nnx")
eqx = pytest.importorskip("equinox")
RECIPE = epochal.Recipe(optimizer="momentum", learning_rate=0.05, batch_size=32, epochs=2)
PAGE = Path(__file__).parents[2] / "docs" / "models.md"
CNNS = ["flax_cnn.py:CNN", "equinox_cnn.py:CNN"]


@pytest.fixture(autouse=True)
def libraries_promote():
    """Flax and Equinox mix dtypes."""
    with jax.numpy_dtype_promotion("standard"):
        yield


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    folder = tmp_path_factory.mktemp("place")
    for name, text in files(PAGE.read_text(encoding="utf-8")).items():
        (folder / name).write_text(text)
    return folder


def images(rows: int, seed: int = 0):
    x, y = blobs(rows, 64, 3, seed)
    return np.clip(128 + 40 * x, 0, 255).astype(np.uint8).reshape(rows, 8, 8), y


@pytest.fixture(scope="module")
def pictures() -> Dataset:
    return epochal.load({"train": images(96), "valid": images(40, 1), "test": images(33, 2)})


def mean_loss(logits, y):
    return optax.softmax_cross_entropy_with_integer_labels(logits, y).mean()


def steps(data: Dataset, training):
    """x, y and the key of every step, as the documentation promises them."""
    stream, step = jax.random.fold_in(jax.random.key(RECIPE.seed), 0), 0
    for number in range(RECIPE.epochs):
        for rows in training.loop.plan.epoch(number)[0]:
            x = jnp.asarray(np.asarray(data.train.x)[rows] / np.float32(255))
            yield x, jnp.asarray(data.train.y[rows]), jax.random.fold_in(stream, step)
            step += 1


def same(found, expected) -> None:
    assert set(found) == set(expected)
    for name in expected:  # float32; convolutions are summed in another order inside a loop
        np.testing.assert_allclose(found[name], expected[name], rtol=1e-3, atol=2e-5, err_msg=name)


@pytest.mark.thorough
def test_a_flax_cnn_is_a_plain_loop_of_flax(place, pictures):
    CNN = user_file.fetch(f"{place}/flax_cnn.py:CNN").value
    cnn = CNN((8, 8), 3, nnx.Rngs(jax.random.key(RECIPE.seed)))
    training = epochal.train(CNN, pictures, RECIPE)
    optimizer = nnx.Optimizer(cnn, optax.sgd(RECIPE.learning_rate, RECIPE.momentum), wrt=nnx.Param)
    cnn.train()

    @nnx.jit  # operation by operation, it would compile hundreds of programs
    def step(cnn, optimizer, x, y, key):
        cnn.dropout.rngs.key.set_value(jax.random.fold_in(key, 0))
        cnn.dropout.rngs.count.set_value(jnp.uint32(0))
        optimizer.update(cnn, nnx.grad(lambda cnn: mean_loss(cnn(x), y))(cnn))

    for x, y, key in steps(pictures, training):
        step(cnn, optimizer, x, y, key)
    for _ in training:
        pass
    expected = {".".join(path): of.get_value() for path, of in nnx.to_flat_state(nnx.state(cnn, nnx.Param))}
    same(training.loop.state.params, expected)
    same(
        training.loop.state.model_state, {"norm.mean": cnn.norm.mean.get_value(), "norm.var": cnn.norm.var.get_value()}
    )
    check_scores(training.fit(), pictures, lambda module, x: module(x))


@pytest.mark.thorough
def test_an_equinox_cnn_is_a_plain_loop_of_equinox(place, pictures):
    CNN = user_file.fetch(f"{place}/equinox_cnn.py:CNN").value
    cnn, state = eqx.nn.make_with_state(CNN)((8, 8), 3, jax.random.key(RECIPE.seed))
    training = epochal.train(CNN, pictures, RECIPE)
    optimizer = optax.sgd(RECIPE.learning_rate, RECIPE.momentum)
    slots = optimizer.init(eqx.filter(cnn, eqx.is_inexact_array))

    def objective(cnn, state, x, y, keys):
        logits, state = jax.vmap(cnn, axis_name="batch", in_axes=(0, None, 0), out_axes=(0, None))(x, state, keys)
        return mean_loss(logits, y), state

    @eqx.filter_jit
    def step(cnn, state, slots, x, y, key):
        gradient, state = eqx.filter_grad(objective, has_aux=True)(cnn, state, x, y, jax.random.split(key, len(x)))
        updates, slots = optimizer.update(gradient, slots)
        return eqx.apply_updates(cnn, updates), state, slots

    for x, y, key in steps(pictures, training):
        cnn, state, slots = step(cnn, state, slots, x, y, key)
    for _ in training:
        pass
    same(training.loop.state.params, parameters.flatten(eqx.filter(cnn, eqx.is_inexact_array)))
    mean, var = state.get(cnn.norm.batch_state_index)
    found = training.loop.state.model_state
    assert int(found.pop("norm.batch_counter")) == training.step == 6
    same(found, {"norm.batch_state_index.0": mean, "norm.batch_state_index.1": var})

    def called(whole, x):
        module, state = whole
        run = jax.vmap(lambda x: module(x, state, jax.random.key(0))[0], axis_name="batch")
        return run(x)

    check_scores(training.fit(), pictures, called)


def check_scores(fit, data: Dataset, call) -> None:
    """Scores and probabilities are those of the library's own module, in evaluation mode."""
    module = fit.model.module(fit.params)
    logits = call(module, jnp.asarray(data.valid.x / np.float32(255)))
    np.testing.assert_allclose(fit.predict_proba(data.valid.x), jax.nn.softmax(logits), rtol=1e-4, atol=1e-5)
    assert fit.best.valid.wrong == int((np.asarray(logits).argmax(1) != data.valid.y).sum())


def test_a_linen_module_is_a_plain_loop_of_linen(place, pictures):
    MLP = user_file.fetch(f"{place}/linen_mlp.py:MLP").value
    training = epochal.train(MLP, pictures, RECIPE)
    params, mlp = jax.tree.map(jnp.copy, training.loop.state.params), MLP(3)
    optimizer = optax.sgd(RECIPE.learning_rate, RECIPE.momentum)
    slots = optimizer.init(params)

    @jax.jit
    def step(params, slots, x, y, key):
        def loss(params):
            return mean_loss(mlp.apply({"params": params}, x, train=True, rngs={"dropout": key}), y)

        updates, slots = optimizer.update(jax.grad(loss)(params), slots)
        return optax.apply_updates(params, updates), slots

    for x, y, key in steps(pictures, training):
        params, slots = step(params, slots, x, y, key)
    for _ in training:
        pass
    same(parameters.flatten(training.loop.state.params), parameters.flatten(params))
    assert "Dense_0.kernel" in parameters.flatten(params)
    check_scores(training.fit(), pictures, lambda module, x: module(x, train=False))


@pytest.mark.parametrize("name", CNNS)
def test_a_cnn_resumes_and_streams_to_the_same_bits(place, pictures, name, monkeypatch):
    monkeypatch.setattr(loop, "STRETCH_SECONDS", 0)
    model, recipe = f"{place}/{name}", replace(RECIPE, epochs=1, augment="shift")
    assert resumed_at_every_step(model, pictures, recipe) == 3
    recipe = replace(recipe, batch_size=16)
    chunked = drained(model, pictures, recipe, too_little(model, pictures, recipe))
    assert chunked.residency.kind == "chunked"
    assert outcome(chunked) == outcome(drained(model, pictures, recipe))


@pytest.mark.parametrize("name", CNNS)
def test_a_cnn_is_one_model_for_one_class_and_compiled_once(place, pictures, name, compilations):
    given = f"{place}/{name}"
    first = adapted(given, (8, 8), 3)
    assert adapted(given, (8, 8), 3) is first
    assert adapted(first, (8, 8), 3) is first
    drained(given, pictures, RECIPE)
    compilations.clear()
    drained(given, pictures, replace(RECIPE, seed=3, learning_rate=0.01))
    assert not {"jit(run_steps)", "jit(sum_rows)"} & set(compilations)


def test_a_module_that_is_there_starts_from_its_own_parameters(place, pictures):
    CNN = user_file.fetch(f"{place}/flax_cnn.py:CNN").value
    cnn = CNN((8, 8), 3, nnx.Rngs(7))
    state = epochal.train(cnn, pictures, RECIPE).loop.state
    np.testing.assert_array_equal(state.params["conv1.kernel"], cnn.conv1.kernel.get_value())
    Equinox = user_file.fetch(f"{place}/equinox_cnn.py:CNN").value
    key = jax.random.key(7)
    whole = eqx.nn.make_with_state(Equinox)((8, 8), 3, key)
    for given in (whole, lambda: whole, partial(Equinox, (8, 8), 3, key), Equinox((8, 8), 3, key)):
        state = epochal.train(given, pictures, RECIPE).loop.state
        np.testing.assert_array_equal(state.params["conv1.weight"], whole[0].conv1.weight)
        assert "norm.batch_counter" in state.model_state


def test_other_forms_that_users_of_the_libraries_know(pictures):
    class Own(nnx.Module):
        """Streams of keys and the switch come as arguments, and a variable counts the calls."""

        def __init__(self, classes, key):
            self.layers = nnx.List([nnx.Linear(64, 8, rngs=nnx.Rngs(key)), nnx.Linear(8, classes, rngs=nnx.Rngs(key))])
            self.calls = nnx.Variable(jnp.int32(0))

        def __call__(self, x, train, rngs=None):
            self.calls.set_value(self.calls.get_value() + 1)
            h = nnx.relu(self.layers[0](x.reshape(len(x), -1)))
            if train:
                h = h * jax.random.bernoulli(rngs.dropout(), 0.5, h.shape)
            return self.layers[1](h)

    training = drained(Own, pictures, RECIPE)
    assert set(training.loop.state.params) == {f"layers.{i}.{name}" for i in (0, 1) for name in ("bias", "kernel")}
    assert int(training.loop.state.model_state["calls"]) == 6
    assert training.loop.state.model_state["calls"].dtype == np.int32

    def sequential(key):
        return eqx.nn.Sequential([eqx.nn.Lambda(jnp.ravel), eqx.nn.Linear(64, 3, key=key), eqx.nn.Dropout(0.5)])

    fit = drained(sequential, pictures, RECIPE).fit()
    assert set(fit.params) == {"layers.1.bias", "layers.1.weight"}

    class Renamed(eqx.Module):
        norm: eqx.nn.BatchNorm
        out: eqx.nn.Linear

        def __init__(self, classes, *, key):
            self.norm = eqx.nn.BatchNorm(64, axis_name="rows", mode="ema")
            self.out = eqx.nn.Linear(64, classes, key=key)

        def __call__(self, x, state):
            x, state = self.norm(x.ravel(), state)
            return self.out(x), state

    fit = drained(lambda classes, key: Renamed(classes, key=key), pictures, RECIPE).fit()
    assert isinstance(fit.params, Variables)
    assert fit.params.model_state["norm.ema_first_time_index"].dtype == bool


@pytest.mark.parametrize(
    ("given", "words"),
    [
        (3, r"model int: must be an epochal\.Model, a module of .*, or a function or .*, got 3"),
        (
            lambda: 3,
            r"model lambda of line \d+ of test_adapters\.py: is or makes int, expected an epochal\.Model or a",
        ),
        (lambda width, key: 3, r"wants width, but it is given example_shape, classes, key or rngs by name"),
        (lambda key: 1 / 0, r"fails: ZeroDivisionError: division by zero \(.*test_adapters\.py, line \d+\); mend it"),
    ],
)
def test_what_is_no_model_is_named(pictures, given, words):
    with pytest.raises(epochal.RecipeError, match=words):
        epochal.train(given, pictures, RECIPE)


class Frozen(nnx.Module):
    """A body with two normalisations, and a head."""

    def __init__(self, classes, rngs, width=8, frozen=False):
        self.body = nnx.Linear(64, width, rngs=rngs)
        self.norm = nnx.BatchNorm(width, use_running_average=frozen, rngs=rngs)
        self.other = nnx.BatchNorm(width, rngs=rngs)
        self.head = nnx.Linear(width, classes, rngs=rngs)

    def __call__(self, x):
        return self.head(nnx.relu(self.other(self.norm(self.body(x.reshape(x.shape[0], -1))))))


def moved(training) -> set[str]:
    """Which statistics training has moved."""
    model_state = training.loop.state.model_state
    starts = {name: np.full_like(array, "var" in name) for name, array in model_state.items()}
    return {name for name in model_state if (np.asarray(model_state[name]) != starts[name]).any()}


def test_a_module_that_is_given_stays_as_it_was_and_what_is_frozen_in_it_stays_frozen(pictures):
    cnn = Frozen(3, nnx.Rngs(0))
    assert moved(drained(cnn, pictures, RECIPE)) == {"norm.mean", "norm.var", "other.mean", "other.var"}
    assert {cnn.norm.use_running_average, cnn.other.use_running_average} == {False}, "its mode is its user's"
    cnn.norm.use_running_average = True
    training = drained(cnn, pictures, RECIPE)
    assert moved(training) == {"other.mean", "other.var"}
    assert (cnn.norm.use_running_average, cnn.other.use_running_average) == (True, False)
    fit = training.fit()
    warm = fit.model.module(fit.params)
    assert warm.other.use_running_average, "it comes in evaluation mode"
    again = drained(warm, pictures, RECIPE)
    np.testing.assert_array_equal(again.loop.state.model_state["norm.mean"], fit.params.model_state["norm.mean"])
    assert (again.loop.state.model_state["other.mean"] != fit.params.model_state["other.mean"]).any()
    cnn.eval()
    assert len(moved(drained(cnn, pictures, RECIPE))) == 4, "a module that was only looked at is trained"
    assert moved(drained(partial(Frozen, frozen=True), pictures, RECIPE)) == {"other.mean", "other.var"}


def test_a_module_that_its_user_has_changed_starts_from_what_it_is_now(pictures):
    cnn = Frozen(3, nnx.Rngs(0))
    before = adapted(cnn, (8, 8), 3)
    assert adapted(cnn, (8, 8), 3) is before
    cnn.head.bias.set_value(jnp.ones(3))
    state = epochal.train(cnn, pictures, RECIPE).loop.state
    np.testing.assert_array_equal(state.params["head.bias"], np.ones(3))


class FrozenEquinox(eqx.Module):
    norm: eqx.nn.BatchNorm
    other: eqx.nn.BatchNorm
    head: eqx.nn.Linear

    def __init__(self, classes, key, frozen=False):
        self.norm = eqx.nn.BatchNorm(64, axis_name="batch", mode="batch", inference=frozen)
        self.other = eqx.nn.BatchNorm(64, axis_name="batch", mode="batch")
        self.head = eqx.nn.Linear(64, classes, key=key)

    def __call__(self, x, state):
        x, state = self.norm(x.ravel(), state)
        x, state = self.other(x, state)
        return self.head(x), state


def test_the_inference_of_equinox_stays_where_its_user_has_set_it(pictures):
    def counted(given):
        model_state = drained(given, pictures, RECIPE).loop.state.model_state
        return {name.split(".")[0]: int(array) for name, array in model_state.items() if "counter" in name}

    assert counted(FrozenEquinox) == {"norm": 6, "other": 6}
    assert counted(partial(FrozenEquinox, frozen=True)) == {"norm": 0, "other": 6}
    whole = eqx.nn.make_with_state(FrozenEquinox)(3, jax.random.key(0))
    part = (eqx.tree_at(lambda of: of.norm.inference, whole[0], True), whole[1])
    assert counted(part) == {"norm": 0, "other": 6}
    fit = drained(part, pictures, RECIPE).fit()
    module, state = fit.model.module(fit.params)
    assert module.other.inference
    assert counted((module, state))["norm"] == 0
    assert counted((eqx.nn.inference_mode(whole[0]), whole[1])) == {"norm": 6, "other": 6}


def test_a_partial_of_a_module_is_called_by_its_keywords_and_asks_for_the_rest(pictures):
    given = [partial(Frozen, width=width) for width in (2, 3)]
    for width, model in zip((2, 3), given, strict=True):
        training = epochal.train(model, pictures, RECIPE)
        assert training.model.name == f"Frozen(width={width})"
        assert training.loop.state.params["body.kernel"].shape == (64, width)
        training.loop.placed.close()
    selected = epochal.select(given, pictures, replace(RECIPE, epochs=1))
    names = {standing.candidate.varied["model"] for standing in selected.standings}
    assert names == {"Frozen(width=2)", "Frozen(width=3)"}


def test_models_of_one_name_are_told_apart(pictures):
    given = [lambda of=of: of for of in (epochal.logistic(), epochal.mlp(4))]
    selected = epochal.select(given, pictures, replace(RECIPE, epochs=1))
    names = {standing.candidate.varied["model"] for standing in selected.standings}
    assert len(names) == 2
    assert all(name.startswith("lambda of line ") and name[-3:] in (" #1", " #2") for name in names)


def test_a_module_of_another_library_is_named(pictures):
    Linear = type("Linear", (), {"__module__": "torch.nn", "__call__": lambda self, *of, **also: None})
    with pytest.raises(epochal.RecipeError, match=r"a module of Flax or Equinox, .*, got torch\.nn\.Linear"):
        epochal.train(Linear(), pictures, RECIPE)


def killed_and_resumed(place, name: str, data: str, *words: str) -> tuple[dict, dict]:
    """The outcomes of a run that is killed once it has a checkpoint, and then resumed, and of one that is not."""
    out = name.removesuffix(".py:CNN") + f"-{data}".replace(".npz", "")
    common = ["train", data, "--model", name, "--drop-last", "--augment", "shift", *words]
    whole = result(*common, "--out", f"{out}-whole", cwd=place)
    command = [sys.executable, "-m", "epochal", *common, "--out", out, "--checkpoint-seconds", "0", "--quiet"]
    process = subprocess.Popen(command, cwd=place, env=os.environ)
    while not list((place / out).glob("checkpoint-*[0-9].safetensors")):
        assert process.poll() is None, "it must be killed before it ends"
        time.sleep(0.01)
    process.send_signal(signal.SIGKILL)
    assert process.wait() == -signal.SIGKILL
    return result("resume", out, cwd=place), whole


def agreed(resumed: dict, whole: dict) -> None:
    for key in ("parameters_sha256", "best_validation", "test", "steps", "epochs"):
        assert resumed[key] == whole[key]


def counted_by_onnxruntime(place, run: str, data: Dataset) -> int:
    """The wrong rows of the exported model: run by onnxruntime on the rows as they are stored."""
    extra("onnx", "onnxruntime")
    import onnxruntime

    rows, told = data.test, result("export", run, "--format", "onnx", cwd=place)["check"]
    assert (told["rows"], told["differing"]) == (len(rows), 0)
    session = onnxruntime.InferenceSession(place / run / "export" / "model.onnx")
    batches = [session.run(["label"], {"x": rows.x[i : i + 500]})[0] for i in range(0, len(rows), 500)]
    return sum(label != data.classes[y] for label, y in zip(np.concatenate(batches), rows.y, strict=True))


@pytest.mark.parametrize("name", [CNNS[0], pytest.param(CNNS[1], marks=pytest.mark.slow)])
def test_killed_and_resumed_from_the_command_line(place, name):
    x, y = images(160)
    np.savez(place / "tiny.npz", x=x, y=y)
    options = ["--epochs", "150", "--batch-size", "16", "--patience-steps", "100000"]
    resumed, whole = killed_and_resumed(place, name, "tiny.npz", *options)
    agreed(resumed, whole)
    data = epochal.load(place / "tiny.npz")
    assert counted_by_onnxruntime(place, Path(resumed["run"]).name, data) == whole["test"]["wrong"]


@pytest.mark.slow
@pytest.mark.parametrize("name", CNNS)
def test_fashion_mnist_killed_and_resumed(place, name):
    require("fashion-mnist")
    options = ["--epochs", "2", "--batch-size", "100", "--optimizer", "adam"]
    resumed, whole = killed_and_resumed(place, name, "fashion-mnist", *options)
    agreed(resumed, whole)
    data = epochal.load("fashion-mnist")
    assert counted_by_onnxruntime(place, Path(resumed["run"]).name, data) == whole["test"]["wrong"]
    assert whole["test"]["percent"] < 20
