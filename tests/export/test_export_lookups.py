"""Embeddings and other lookups by computed indices in exported models: JAX itself says what each of them gives."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import epochal
from campaigns import cases
from epochal.export import export
from needs import extra

TABLE, COLUMNS = 7, 4


@pytest.fixture(scope="module")
def words():
    """Rows of whole numbers, many of them below 0 or beyond the table, as floats, and some far beyond int32."""
    generator = np.random.default_rng(0)
    x = generator.integers(-2 * TABLE, 2 * TABLE, (160, COLUMNS)).astype(np.float32)
    x[::5] = generator.integers(0, TABLE, (32, COLUMNS))
    x[1::5] += generator.random((32, COLUMNS), np.float32)
    x[2::40, :3] = [3e9, -3e9, 1e20]
    x = np.unique(x, axis=0)[generator.permutation(len(np.unique(x, axis=0)))][:150]
    return epochal.load((x, np.arange(150) % 3))


def ids(x):
    return x.astype(jnp.int32)


def summed(found):
    """[rows, ...] to logits [rows, 3], with NaN as a number, so that every value is compared."""
    found = jnp.where(jnp.isnan(found), jnp.float32(0.37), found).reshape(found.shape[0], -1)
    return found @ jnp.sin(jnp.arange(found.shape[1] * 3, dtype=found.dtype)).reshape(-1, 3)


MODELS = {
    "take": lambda p, x: jnp.take(p, ids(x), axis=0),
    "take clip": lambda p, x: jnp.take(p, ids(x), axis=0, mode="clip"),
    "take wrap": lambda p, x: jnp.take(p, ids(x), axis=0, mode="wrap"),
    "indexing": lambda p, x: p[ids(x)],
    "one column": lambda p, x: p[ids(x[:, 0])],
    "another axis": lambda p, x: jnp.moveaxis(jnp.take(p.T, ids(x), axis=1), 0, -1),
    "two axes": lambda p, x: p[ids(x[:, :2]), ids(x[:, 2:])],
    "two axes, filled": lambda p, x: p.at[ids(x[:, :2]), ids(x[:, 2:])].get(mode="fill"),
    "get with a value": lambda p, x: p.at[ids(x)].get(mode="fill", fill_value=-2.5),
    "get clipped": lambda p, x: p.at[ids(x)].get(mode="clip"),
    "negative indices not wrapped": lambda p, x: p.at[ids(x)].get(mode="fill", wrap_negative_indices=False),
    "by unsigned bytes": lambda p, x: p[x.astype(jnp.uint8)],
    "a row's own table": lambda p, x: jax.vmap(lambda row: p[ids(row[1])])(x),
    "whole numbers": lambda p, x: (10 * p).astype(jnp.int32).at[ids(x)].get(mode="fill", fill_value=9).astype(x.dtype),
    "bytes": lambda p, x: x.astype(jnp.uint8).astype(x.dtype) + x.astype(jnp.int8).astype(x.dtype),
    "fixed places": lambda p, x: jnp.take(x, np.array([3, 0, -1, 9]), axis=1),
    "one place beyond": lambda p, x: jnp.stack([jnp.take(x, 9, axis=1), x[:, 2], jnp.take(x, -1, axis=1)], axis=1),
    "two fixed axes": lambda p, x: x.reshape(x.shape[0], 2, 2)[:, np.array([0, 1, 1]), np.array([1, 0, 5])],
    "table of one": lambda p, x: jnp.take(p[:1], ids(x), axis=0),
}  # fmt: skip


def fitted(model, data):
    """A fit whose parameters are a table; it is trained by nothing, so that the table stays as it is."""

    def init(key, example_shape, classes):
        return jax.random.normal(key, (TABLE, 5))

    def logits(p, x):
        with jax.numpy_dtype_promotion("standard"):
            return summed(model(jnp.asarray(p), x))

    return epochal.fit(epochal.Model(init, logits), data, epochal.Recipe(epochs=1, learning_rate=1e-6))


@pytest.mark.parametrize("name", cases(MODELS, "take", "indexing", "two axes", "a row's own table", "one place beyond"))
def test_lookups_are_those_of_jax(name, words, tmp_path):
    extra("onnx", "onnxruntime")
    fit = fitted(MODELS[name], words)
    rows = words.train.x
    expected = np.asarray(jax.nn.softmax(fit.model.logits(fit.params, jnp.asarray(rows)), axis=-1))
    assert len(np.unique(expected.round(4), axis=0)) > 1, "the rows must differ, or nothing is compared"
    from epochal.export.numpy import folder as numpy_folder
    from epochal.export.onnx import model as onnx_model

    for format in ("onnx", "numpy"):
        assert export(fit, format, tmp_path / format).check.largest < 1e-5
    np.testing.assert_allclose(onnx_model.run(tmp_path / "onnx", {"x": rows})[0], expected, atol=1e-5)
    script = (tmp_path / "numpy/predict.py").read_bytes()
    np.testing.assert_allclose(numpy_folder.run(tmp_path / "numpy", script, rows), expected, atol=1e-5)


def test_an_answer_of_nan_is_exported_as_nan(tmp_path):
    extra("onnx", "onnxruntime")

    def logits(p, x):
        return jnp.take(p, ids(x), axis=0).sum(axis=1)[:, :3]

    x = np.array([[i, j] for i in range(TABLE) for j in range(TABLE)], np.float32)
    y = np.arange(len(x)) % 3
    data = epochal.load(((x[:30], y[:30]), (x[30:], y[30:]), (x[:20] + TABLE - 1.5, y[:20])))
    model = epochal.Model(lambda key, shape, classes: jax.random.normal(key, (TABLE, 5)), logits)
    fit = epochal.fit(model, data, epochal.Recipe(epochs=1))
    assert 0 < np.isnan(fit.predict_proba(data.test.x)).any(axis=1).sum() < 20
    for format in ("onnx", "numpy", "stablehlo"):
        assert export(fit, format, tmp_path / format).check.largest < 1e-5


def test_an_embedding_of_flax(words, tmp_path):
    extra("onnx", "onnxruntime", "flax")
    from flax import nnx

    class Words(nnx.Module):
        def __init__(self, example_shape, classes, rngs):
            self.embed = nnx.Embed(TABLE, 6, rngs=rngs)
            self.output = nnx.Linear(6 * example_shape[0], classes, rngs=rngs)

        def __call__(self, x):
            return self.output(self.embed(jnp.clip(x, 0, TABLE - 1).astype(jnp.int32)).reshape(x.shape[0], -1))

    fit = epochal.fit(Words, words, epochal.Recipe(epochs=2))
    for format in ("onnx", "numpy", "stablehlo"):
        check = export(fit, format, tmp_path / format).check
        assert check.differing == 0
        assert check.largest < 1e-5


@pytest.mark.parametrize(
    ("model", "why"),
    [
        (lambda p, x: jnp.take_along_axis(x, ids(jnp.clip(x, 0, 3)), axis=1), "each row looks up its own values"),
        (
            lambda p, x: jax.vmap(lambda row: jax.lax.dynamic_slice_in_dim(p, ids(row[0]), 2, 0))(x),
            "it takes windows at computed places",
        ),
        (lambda p, x: x - x[0], "a row's answer must not depend on other rows"),
        (lambda p, x: x[ids(x[:, 0])], "a row's answer must not depend on other rows"),
    ],
    ids=["along an axis", "windows", "the first row", "other rows"],
)
def test_a_refusal_names_what_is_not_taken(model, why, words, tmp_path):
    extra("onnx", "onnxruntime")
    fit = fitted(model, words)
    for format in ("onnx", "numpy"):
        with pytest.raises(epochal.RunError, match=why):
            export(fit, format, tmp_path / format)
