import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax import lax

import epochal

KEY = jax.random.key(0)


def test_equal_arguments_give_one_model_so_that_programs_are_found_again():
    assert epochal.mlp(500) is epochal.mlp(hidden=(500,))
    assert epochal.mlp(500) is not epochal.mlp(400)
    assert epochal.lenet([20, 50]) is epochal.lenet()


def test_logistic_regression_starts_at_zero():
    params = epochal.logistic().init(KEY, (3, 4), 5)
    assert params["W"].shape == (5, 12)
    assert not params["W"].any()
    assert not params["b"].any()


@pytest.mark.parametrize(
    ("activation", "bound"), [("tanh", np.sqrt(6 / 800)), ("sigmoid", 4 * np.sqrt(6 / 800)), ("relu", np.sqrt(6 / 300))]
)
def test_hidden_layers_start_uniform_within_the_published_bound(activation, bound):
    weights = np.asarray(epochal.mlp(500, activation).init(KEY, (300,), 10)["hidden0"]["W"])
    assert weights.shape == (500, 300)
    assert 0.999 * bound < np.abs(weights).max() <= bound
    assert np.std(weights) == pytest.approx(bound / np.sqrt(3), rel=0.01)


def test_the_mlp_is_what_numpy_computes():
    model = epochal.mlp((7, 5), "tanh")
    params = jax.tree.map(lambda p: np.asarray(p) + 0.1, model.init(KEY, (4, 2), 3))
    x = np.random.default_rng(0).normal(size=(6, 4, 2)).astype(np.float32)
    h = x.reshape(6, -1)
    for layer in ("hidden0", "hidden1"):
        h = np.tanh(h @ params[layer]["W"].T + params[layer]["b"])
    expected = h @ params["output"]["W"].T + params["output"]["b"]
    np.testing.assert_allclose(model.logits(params, jnp.asarray(x)), expected, rtol=1e-5, atol=1e-6)


def _bare_convolution(params, x):
    y = lax.conv_general_dilated(x[..., None], params["W"], (1, 1), "VALID", dimension_numbers=("NHWC", "HWIO", "NHWC"))
    return y.mean(axis=(1, 2))


OWN = epochal.Model(lambda key, shape, classes: {"W": jnp.ones((2, 2, 1, classes))}, _bare_convolution, "lenet")


@pytest.mark.parametrize("model", [epochal.lenet((2, 3), 4, 2), OWN], ids=["built in", "of the same name"])
def test_no_bare_convolution_runs_inside_the_compiled_loop_on_a_cpu(model):
    from epochal.data.dataset import Split
    from epochal.device import compiled
    from epochal.device.plan import Plan
    from epochal.device.residency import place
    from epochal.training.program import Program

    recipe = epochal.Recipe(batch_size=2)
    program = Program(model, recipe, (8, 8), 2)
    plan = Plan(4, 2)
    placed = place(Split(np.zeros((4, 8, 8), np.float32), np.zeros(4, np.int32)), "float32", 4, plan, 2)
    work = next(placed.work(0, 0, 1))
    text = compiled.run_steps.lower(program.step, program.start(plan), *work).compile().as_text()
    assert "while" in text
    assert "convolution(" not in text.replace("metadata", "")


@pytest.mark.parametrize("shape", [(28, 28), (28, 28, 1), (784,), (32, 20, 3)])
def test_lenet_takes_images_of_any_shape_that_fits(shape):
    model = epochal.lenet((3, 4), 6)
    params = model.init(KEY, shape, 10)
    assert model.logits(params, jnp.zeros((2, *shape))).shape == (2, 10)


@pytest.mark.parametrize(
    ("shape", "words"),
    [((10,), r"got examples of shape \[10\] \(10 features\); use the model mlp"),
     ((15, 15), "too small for two 5×5 convolutions, which need 16×16"), ((2, 2, 2, 2), "use the model mlp")],
)  # fmt: skip
def test_lenet_refuses_what_is_no_image_or_too_small(shape, words):
    with pytest.raises(epochal.RecipeError, match=words):
        epochal.lenet().init(KEY, shape, 10)


def test_lenet_takes_the_smallest_image_that_its_message_names():
    assert epochal.lenet().init(KEY, (16, 16), 10)


@pytest.mark.parametrize(
    ("make", "words"),
    [(lambda: epochal.mlp(0), "width must be at least 1, got"), (lambda: epochal.mlp(()), "logistic"),
     (lambda: epochal.mlp(3, "softplus"), "must be one of tanh, relu, sigmoid, got 'softplus'"),
     (lambda: epochal.lenet((1, 2, 3)), "two kernel counts"), (lambda: epochal.lenet(hidden=0), "at least 1")],
)  # fmt: skip
def test_an_impossible_model_is_refused(make, words):
    with pytest.raises(epochal.RecipeError, match=words):
        make()
