"""Convolution by products of patches, against the library's convolution and its windows."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from jax import lax

import epochal
from epochal.errors import RecipeError
from epochal.models import conv2d, conv_pool, max_pool
from epochal.models.convolution import _by_library, products
from epochal.models.convolution.geometry import Geometry, geometry
from epochal.models.convolution.products import convolve

PAIRS = st.tuples(st.integers(1, 3), st.integers(1, 3))


@st.composite
def convolutions(draw):
    """A geometry, rows, channels in and out; and a size of the blocks that the rows do not always fill."""
    image = draw(st.tuples(st.integers(3, 12), st.integers(3, 12)))
    kernel = draw(st.tuples(st.integers(1, 5), st.integers(1, 5)))
    pads = st.tuples(st.integers(-1, 2), st.integers(-1, 2))
    padding = draw(st.sampled_from(["VALID", "SAME"]) | st.tuples(pads, pads))
    dilation = draw(st.just((1, 1)) | PAIRS)
    try:
        found = geometry(image, kernel, draw(PAIRS), padding, dilation, draw(PAIRS))
    except RecipeError:
        assume(False)
    return found, draw(st.integers(1, 9)), draw(st.integers(1, 3)), draw(st.sampled_from([1, 3, 33]))


def arrays(found: Geometry, rows: int, channels: int, out: int, dtype: str):
    generator = np.random.default_rng(0)
    x, kernel, weights = (
        jnp.asarray(generator.normal(size=shape), dtype)
        for shape in ((rows, *found.image, channels), (*found.kernel, channels, out), (rows, *found.out, out))
    )
    return x, kernel, weights


def both(found: Geometry, x, kernel, weights):
    """Value and gradients of the same weighted sum of outputs by products and by the library, as one list each."""

    def all_of(function):
        y, back = jax.vjp(function, x, kernel)
        return [y, *back(weights)]

    ours = jax.jit(lambda: all_of(lambda x, kernel: convolve(x, kernel, found)))()
    return ours, jax.jit(lambda: all_of(lambda x, kernel: _by_library(x, kernel, found, 1)))()


def assert_agree(ours, theirs, tolerance):
    for a, b in zip(ours, theirs, strict=True):
        assert (a.shape, a.dtype) == (b.shape, b.dtype)
        size = float(jnp.abs(b).max(initial=0)) or 1
        np.testing.assert_allclose(np.asarray(a, np.float64), np.asarray(b, np.float64), rtol=0, atol=tolerance * size)


@pytest.mark.parametrize(
    ("dtype", "tolerance"), [("float32", 1e-5), pytest.param("float64", 1e-12, marks=pytest.mark.slow)]
)
@settings(max_examples=15)
@given(drawn=convolutions(), block=st.sampled_from([1, 2000, 10**6]))
def test_values_and_gradients_are_the_librarys(dtype, tolerance, drawn, block):
    found, rows, channels, out = drawn
    with pytest.MonkeyPatch.context() as patch, jax.enable_x64(dtype == "float64"):
        patch.setattr(products, "BLOCK", block)
        assert_agree(*both(found, *arrays(found, rows, channels, out, dtype)), tolerance)


@pytest.mark.parametrize(
    ("rows", "image", "channels", "kernel", "out"), [(43, 28, 1, 5, 20), (61, 12, 20, 5, 50), (3, 16, 64, 3, 64)]
)
def test_layers_of_usual_size_agree_too(rows, image, channels, kernel, out):
    found = geometry((image, image), (kernel, kernel), 1, "VALID", 1, 2)
    assert_agree(*both(found, *arrays(found, rows, channels, out, "float32")), 1e-5)


def test_half_precision_keeps_its_dtype_and_sums_in_single():
    found = geometry((12, 12), (3, 3), 1, "SAME", 1, 2)
    x, kernel, weights = arrays(found, 500, 2, 3, "bfloat16")
    ours, _ = both(found, x, kernel, weights)
    exact, _ = both(found, *(a.astype(jnp.float32) for a in (x, kernel, weights)))
    assert [a.dtype for a in ours] == [jnp.bfloat16] * 3
    # A position may go to another maximum in half precision, so the gradients are compared where nothing is pooled.
    plain = geometry((12, 12), (3, 3), 1, "SAME", 1, 1)
    x, kernel, weights = arrays(plain, 500, 2, 3, "bfloat16")
    half, _ = both(plain, x, kernel, weights)
    exact, _ = both(plain, *(a.astype(jnp.float32) for a in (x, kernel, weights)))
    assert_agree([a.astype(jnp.float32) for a in half], exact, 0.01)


@pytest.mark.parametrize("out", [3, 40])
def test_of_equal_maxima_the_first_has_the_gradient_as_in_the_library(out):
    found = geometry((8, 8), (3, 3), 1, "VALID", 1, 3)
    x, kernel, weights = arrays(found, 5, 2, out, "float32")
    x, kernel = jnp.sign(x), jnp.sign(kernel)  # small whole numbers: ties in most windows, and exact sums
    for ours, theirs in zip(*both(found, x, kernel, weights), strict=True):
        np.testing.assert_allclose(ours, theirs, rtol=1e-5, atol=1e-5)
    pool = lambda x: lax.reduce_window(x, -jnp.inf, lax.max, (1, 3, 3, 1), (1, 3, 3, 1), "VALID")  # noqa: E731
    images = jnp.sign(jax.random.normal(jax.random.key(0), (4, 7, 10, 3)))
    y, back = jax.vjp(lambda x: max_pool(x, 3), images)
    expected, expected_back = jax.vjp(pool, images)
    np.testing.assert_array_equal(y, expected)
    np.testing.assert_array_equal(back(y)[0], expected_back(y)[0])


def test_pooling_takes_the_maximum_and_leaves_the_rest_out():
    x = np.random.default_rng(0).normal(size=(2, 7, 5, 3)).astype(np.float32)
    expected = np.array(
        [
            [[x[r, 2 * i : 2 * i + 2, 2 * j : 2 * j + 2].max((0, 1)) for j in range(2)] for i in range(3)]
            for r in range(2)
        ]
    )
    np.testing.assert_array_equal(max_pool(jnp.asarray(x), 2), expected)


def test_a_maximum_over_many_positions_finds_them_all():
    x = jnp.zeros((1, 20, 20, 1)).at[0, 19, 19, 0].set(1)
    gradient = jax.grad(lambda x: max_pool(x, 20).sum())(x)
    assert float(gradient[0, 19, 19, 0]) == 1
    assert float(jnp.abs(gradient).sum()) == 1


def test_groups_and_dilation_are_the_librarys_and_pooling_follows():
    x = jax.random.normal(jax.random.key(0), (3, 9, 9, 4))
    kernel = jax.random.normal(jax.random.key(1), (3, 3, 2, 6))
    expected = lax.conv_general_dilated(
        x, kernel, (1, 1), "SAME", rhs_dilation=(2, 2), dimension_numbers=("NHWC", "HWIO", "NHWC"),
        feature_group_count=2,
    )  # fmt: skip
    np.testing.assert_allclose(conv2d(x, kernel, padding="SAME", dilation=2, groups=2), expected, rtol=1e-6, atol=1e-6)
    pooled = conv_pool(x, kernel, 3, padding="SAME", dilation=2, groups=2)
    np.testing.assert_allclose(pooled, max_pool(expected, 3), rtol=1e-6, atol=1e-6)


def test_it_may_be_mapped_over_parameters_scanned_and_recomputed():
    found = geometry((9, 9), (3, 3), 1, "VALID", 1, 2)
    x, _, weights = arrays(found, 5, 2, 3, "float32")
    kernels = jax.random.normal(jax.random.key(0), (4, 3, 3, 2, 3))

    def loss(kernel):
        return jnp.sum(conv_pool(x, kernel) * weights)

    one_by_one = jnp.stack([jax.grad(loss)(kernel) for kernel in kernels])
    ways = {
        "vmap": jax.jit(jax.vmap(jax.grad(loss)))(kernels),
        "scan": jax.jit(lambda ks: lax.map(jax.grad(loss), ks))(kernels),
        "remat": jax.vmap(jax.grad(jax.checkpoint(loss)))(kernels),
    }
    for name, gradients in ways.items():
        np.testing.assert_allclose(gradients, one_by_one, rtol=1e-5, atol=1e-5, err_msg=name)


def test_no_gradient_is_computed_for_the_data_of_the_first_layer():
    """Counted as products in the compiled loop: one forward, one for the weights, and a third one for x if asked."""
    x = jnp.ones((6, 8, 8, 1))
    kernel = jnp.ones((3, 3, 1, 40))

    def products_in(argnums):
        def step(i, carry):
            gradients = jax.grad(lambda x, k: jnp.sum(conv_pool(x, k) ** 2), argnums)(*carry)
            taken = dict(zip(argnums, gradients, strict=True))
            return tuple(a - taken.get(i, 0) for i, a in enumerate(carry))

        compiled = jax.jit(lambda x, k: lax.fori_loop(0, 3, step, (x, k))).lower(x, kernel).compile()
        return sum(
            "op_name" in line and "/dot_general" in line and " dot(" in line for line in compiled.as_text().splitlines()
        )

    assert (products_in((1,)), products_in((0, 1))) == (2, 3)


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ({"kernel": (5, 5, 1, 2)}, "nothing comes out of an image of 4×4 with kernel 5×5"),
        ({"stride": 0}, "stride: needs one number or two, each at least 1, got 0"),
        ({"padding": "FULL"}, "padding: must be 'VALID', 'SAME' or"),
        ({"padding": (1, 1)}, "padding: must be 'VALID', 'SAME' or"),
        ({"kernel": (3, 3, 2, 2)}, r"got shapes \[2, 4, 4, 1\] and \[3, 3, 2, 2\] with groups=1"),
        ({"groups": 3}, "with groups=3"),
    ],
)
def test_what_does_not_fit_is_refused(arguments, words):
    kernel = jnp.ones(arguments.pop("kernel", (3, 3, 1, 2)))
    with pytest.raises(RecipeError, match=words):
        conv2d(jnp.ones((2, 4, 4, 1)), kernel, **arguments)


def test_lenet_learns_the_same_by_products_as_by_the_library(monkeypatch):
    """Twenty steps in float64 give the losses of the plain form, and the same rows wrong."""
    generator = np.random.default_rng(0)
    y = np.arange(120) % 3
    x = generator.normal(size=(120, 12, 12)) + np.cos(np.arange(144)).reshape(12, 12) * y[:, None, None] / 3
    data = epochal.load({"train": (x, y), "valid": (x[:60], y[:60]), "test": (x[60:] + 1e-3, y[60:])})
    recipe = epochal.Recipe(batch_size=12, epochs=2, learning_rate=0.05, dtype="float64")

    def trained():
        model = epochal.lenet((4, 33), 8, 3)
        epochs = list(epochal.train(epochal.Model(model.init, model.logits), data, recipe))
        return [epoch.loss for epoch in epochs], [epoch.valid for epoch in epochs]

    losses, errors = trained()
    from epochal.models import convolution

    monkeypatch.setattr(convolution, "convolve", lambda x, kernel, geometry: _by_library(x, kernel, geometry, 1))
    expected, expected_errors = trained()
    np.testing.assert_allclose(losses, expected, rtol=1e-10)
    assert errors == expected_errors
    assert losses[0] > losses[1]
