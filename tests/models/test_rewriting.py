"""Models of one's own keep their values and gradients when the slow operations are exchanged."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax import lax

import epochal
from epochal.device import compiled
from epochal.device.plan import Plan
from epochal.models.convolution.rewriting import rewritten
from epochal.training.program import Program


def filled(*shape: int, seed: int = 0) -> jax.Array:
    return jnp.asarray(np.random.default_rng(seed).normal(size=shape))


def pool(x, window, strides=None):
    return lax.reduce_window(x, -jnp.inf, lax.max, window, strides or window, "VALID")


CASES = {
    "NHWC": (("NHWC", "HWIO", "NHWC"), (5, 9, 8, 3), (3, 2, 3, 4), {}),
    "NCHW": (("NCHW", "OIHW", "NCHW"), (5, 3, 9, 8), (4, 3, 3, 2), {"window_strides": (2, 1), "padding": "SAME"}),
    "mixed": (("HWNC", "IOHW", "CNHW"), (9, 8, 5, 3), (3, 4, 3, 2), {"rhs_dilation": (2, 1)}),
    "sequence": (("NWC", "WIO", "NWC"), (5, 12, 3), (4, 3, 6), {"window_strides": (3,), "padding": ((2, 1),)}),
    "cropped": (("NHWC", "HWIO", "NHWC"), (5, 9, 8, 3), (3, 2, 3, 4), {"padding": ((-1, 0), (2, -2))}),
}
LEFT_ALONE = {
    "groups": (("NHWC", "HWIO", "NHWC"), (5, 9, 8, 4), (3, 2, 2, 4), {"feature_group_count": 2}),
    "transposed": (
        ("NHWC", "HWIO", "NHWC"),
        (5, 5, 5, 3),
        (3, 2, 3, 4),
        {"lhs_dilation": (2, 2), "padding": ((1, 1), (0, 1))},
    ),
    "volumes": (("NDHWC", "DHWIO", "NDHWC"), (2, 4, 5, 6, 3), (2, 2, 2, 3, 4), {}),
}


def convolution(numbers, options):
    options = {"window_strides": (1,) * (len(numbers[0]) - 2), "padding": "VALID"} | options
    return lambda x, kernel: lax.conv_general_dilated(x, kernel, dimension_numbers=numbers, **options)


def agree(function, *arguments):
    """Values and gradients of `function` and of what it is rewritten to."""
    expected, found = function(*arguments), rewritten(function)(*arguments)
    np.testing.assert_allclose(found, expected, rtol=1e-11, atol=1e-11)
    weight = filled(*expected.shape, seed=9)
    every = tuple(range(len(arguments)))
    gradients = [
        jax.grad(lambda *given, of=of: jnp.sum(of(*given) * weight), argnums=every)(*arguments)
        for of in (function, rewritten(function))
    ]
    for a, b in zip(*gradients, strict=True):
        np.testing.assert_allclose(b, a, rtol=1e-10, atol=1e-10)


def operations(function, *arguments) -> str:
    return str(jax.make_jaxpr(rewritten(function))(*arguments))


@pytest.fixture(autouse=True)
def _double():
    with jax.enable_x64(True):
        yield


@pytest.mark.parametrize("name", CASES)
def test_a_convolution_becomes_products_with_its_values_and_gradients(name):
    numbers, x, kernel, options = CASES[name]
    function = convolution(numbers, options)
    agree(function, filled(*x), filled(*kernel, seed=1))
    assert "custom_vjp_call" in operations(function, filled(*x), filled(*kernel))


@pytest.mark.parametrize("name", LEFT_ALONE)
def test_other_convolutions_stay_as_they_are(name):
    numbers, x, kernel, options = LEFT_ALONE[name]
    function = convolution(numbers, options)
    agree(function, filled(*x), filled(*kernel, seed=1))
    assert "custom_vjp_call" not in operations(function, filled(*x), filled(*kernel))


@pytest.mark.parametrize("window", [(1, 2, 2, 1), (1, 1, 3, 2), (2, 1, 1, 2)])
def test_disjoint_pooling_is_exchanged(window):
    x = filled(4, 6, 7, 4)
    agree(lambda x: pool(x, window), x)
    assert "custom_vjp_call" in operations(lambda x: pool(x, window), x)


def test_overlapping_pooling_stays_as_it_is():
    def function(x):
        return pool(x, (1, 3, 3, 1), (1, 2, 2, 1))

    agree(function, filled(4, 7, 7, 2))
    assert "custom_vjp_call" not in operations(function, filled(4, 7, 7, 2))


def test_what_lies_in_loops_branches_and_compiled_functions_is_exchanged():
    convolve = convolution(*[CASES["NHWC"][i] for i in (0, 3)])

    def function(x, kernel):
        y = jax.jit(convolve)(x, kernel)
        y, _ = lax.scan(lambda y, _: (jax.nn.relu(y) + convolve(x, kernel), None), y, None, length=2)
        return lax.cond(y.sum() > 0, lambda: pool(y, (1, 2, 2, 1)), lambda: pool(-y, (1, 2, 2, 1)))

    arguments = filled(5, 9, 8, 3), filled(3, 2, 3, 4, seed=1)
    agree(function, *arguments)
    agree(jax.vmap(lambda x, kernel: pool(convolve(x[None], kernel), (1, 2, 2, 1))[0], (0, None)), *arguments)
    assert operations(function, *arguments).count("name=convolve") == 2
    assert operations(function, *arguments).count("name=pooled") == 2


def test_a_function_without_such_operations_is_called_as_it_is():
    calls = []

    def function(x):
        calls.append(x)
        return epochal.models.conv2d(x, jnp.ones((2, 2, 1, 1))) * 2

    plain = jax.make_jaxpr(function)(filled(2, 3, 3, 1))
    assert operations(function, filled(2, 3, 3, 1)) == str(plain)


def test_a_models_own_convolution_is_no_slow_one_in_the_compiled_stretch(small_images):
    def init(key, example_shape, classes):
        return {"kernel": jax.random.normal(key, (3, 3, 1, 4)) / 3, "out": jnp.zeros((4 * 9, classes))}

    def logits(params, x):
        y = lax.conv_general_dilated(
            x[..., None], params["kernel"], (1, 1), "VALID", dimension_numbers=("NHWC", "HWIO", "NHWC")
        )
        return pool(jax.nn.relu(y), (1, 2, 2, 1)).reshape(len(x), -1) @ params["out"]

    model, recipe = epochal.Model(init, logits), epochal.Recipe(batch_size=10)
    with jax.enable_x64(False):
        plan, program = Plan(len(small_images.train), 10), Program(model, recipe, small_images.example_shape, 3)
        placed, _, _ = program.compile_and_place(small_images, plan)
        work = next(placed.work(0, 0, 1))
        text = compiled.run_steps.lower(program.step, program.start(plan), *work).compile().as_text()
    assert "convolution(" not in text.replace("metadata", "")
    assert "select-and-scatter" not in text


@pytest.fixture
def small_images():
    generator = np.random.default_rng(0)
    x, y = generator.integers(0, 256, (60, 8, 8), dtype=np.uint8), np.arange(60) % 3
    return epochal.load({"train": (x, y), "valid": (x[:20] // 2, y[:20]), "test": (255 - x[:20], y[:20])})
