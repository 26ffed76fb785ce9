"""Exported models beside epochal's own answers: built-in models, tables of all kinds, and a model an operation."""

import csv
import io
import json
import subprocess
import sys
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pandas as pd
import pytest
from jax import lax

import epochal
from campaigns import cases
from commands import epochal as command
from commands import result
from epochal.export import columns, export
from epochal.system import extras
from needs import extra

FORMATS = ("onnx", "stablehlo", "numpy")
WITHOUT = "import sys, runpy; sys.modules |= {n: None for n in ('jax', 'jaxlib', 'epochal', 'sklearn', 'scipy')};"


@pytest.fixture(scope="module")
def images():
    generator = np.random.default_rng(0)
    x, y = generator.integers(0, 256, (90, 8, 8, 2), dtype=np.uint8), np.arange(90) % 3
    return epochal.load((x, y))


def fitted(logits, images, **recipe):
    """A fit of a model with some parameters, one epoch from its start."""

    def init(key, example_shape, classes):
        keys = jax.random.split(key, 4)
        return {
            "k": jax.random.normal(keys[0], (3, 3, 2, 4)),
            "w": jax.random.normal(keys[1], (8 * 8 * 2, classes)) / 10,
            "v": jax.random.normal(keys[2], (4, classes)),
            "s": jax.random.normal(keys[3], (2,)),
        }

    return epochal.fit(epochal.Model(init, logits), images, epochal.Recipe(epochs=1, learning_rate=0.01, **recipe))


def conv(x, k, **more):
    how = {"window_strides": (1, 1), "padding": "SAME", "dimension_numbers": ("NHWC", "HWIO", "NHWC")} | more
    return lax.conv_general_dilated(x, k, **how)


def flat(x):
    return x.reshape(x.shape[0], -1)


def attention(p, x):
    h = x.reshape(x.shape[0], 16, 8)
    scores = jax.nn.softmax(jnp.einsum("nqd,nkd->nqk", h, h) / np.float32(8**0.5), axis=-1)
    return flat(jnp.einsum("nqk,nkd->nqd", scores, h)) @ p["w"]


def batch_norm(p, x):
    h = (x - jnp.float32(0.4)) * lax.rsqrt(p["s"] ** 2 + np.float32(1e-5)) * p["s"]
    return flat(h) @ p["w"]


def layer_norm(p, x):
    h = flat(x)
    h = (h - h.mean(axis=1, keepdims=True)) / jnp.sqrt(h.var(axis=1, keepdims=True) + np.float32(1e-5))
    return h @ p["w"]


def pieces(p, x):
    a, b = jnp.split(x, 2, axis=1)
    padded = jnp.pad(a[:, 1:3], ((0, 0), (1, 1), (0, 0), (0, 0)), constant_values=0.5)
    h = jnp.concatenate([b[:, ::-1], padded], axis=1)
    h = h + x[:, :1] + jnp.take(x, np.array([0, 3, 3, 1, 2, 7, 6, 5]), axis=2) + x[:, ::2].sum(axis=1, keepdims=True)
    return flat(h) @ p["w"]


def activations(p, x):
    h = flat(x) @ p["w"]
    out = jnp.zeros((), h.dtype)
    nn = jax.nn
    for f in (nn.gelu, nn.silu, nn.softplus, nn.elu, nn.selu, nn.leaky_relu, nn.relu6, nn.hard_swish, nn.sigmoid):
        out = out + f(h)
    for f in (jnp.sin, jnp.square, jnp.floor, jnp.round, jnp.exp2, jnp.abs):
        out = out + f(h)
    return out + jax.nn.gelu(h, approximate=False) + jnp.where(h > 0, h**3, -h) + jnp.clip(h, -1, 1)


def reductions(p, x):
    h = x.reshape(x.shape[0], 64, 2)
    best = jax.nn.one_hot(h[:, :, 0].argmax(axis=1) % 3, 3)
    found = h.max(axis=1) * h.min(axis=1) + jnp.cumsum(h, axis=1)[:, -1] + (h > 0).any(axis=1)
    return best + found @ p["v"][:2] + jnp.prod(h[:, :3], axis=1) @ p["v"][2:]


def pooled(reduce, start, **how):
    return lambda p, x: conv(lax.reduce_window(x, start, reduce, (1, 3, 3, 1), **how), p["k"]).mean((1, 2)) @ p["v"]


MODELS = {
    "strides and padding": lambda p, x: conv(x, p["k"], window_strides=(2, 1)).mean((1, 2)) @ p["v"],
    "dilation": lambda p, x: conv(x, p["k"], rhs_dilation=(2, 2), padding="VALID").max((1, 2)) @ p["v"],
    "groups": lambda p, x: conv(x, p["k"][:, :, :1], feature_group_count=2).mean((1, 2)) @ p["v"],
    "channels first": lambda p, x: (
        conv(x.transpose(0, 3, 1, 2), p["k"], dimension_numbers=("NCHW", "HWIO", "NCHW")).mean((2, 3)) @ p["v"]
    ),
    "maximum over windows": pooled(lax.max, -np.inf, window_strides=(1, 2, 2, 1), padding="SAME"),
    "sum over windows": pooled(lax.add, 0.0, window_strides=(1, 2, 2, 1), padding="SAME"),
    "attention": attention,
    "batch norm": batch_norm,
    "layer norm": layer_norm,
    "pieces": pieces,
    "activations": activations,
    "reductions": reductions,
    "by platform": lambda p, x: lax.platform_dependent(flat(x), cpu=lambda x: x * 1, default=lambda x: x + 0) @ p["w"],
    "constant for all rows": lambda p, x: jnp.broadcast_to(p["s"].sum() * p["v"][0], (x.shape[0], 3)) * x.mean((1, 2, 3))[:, None],  # noqa: E501
}  # fmt: skip


@pytest.mark.parametrize("name", cases(MODELS, "strides and padding", "attention", "batch norm", "pieces"))
def test_every_operation_gives_the_same_numbers(name, images, tmp_path):
    extra("onnx", "onnxruntime")
    with jax.numpy_dtype_promotion("standard"):
        fit = fitted(MODELS[name], images)
        for format in FORMATS:
            check = export(fit, format, tmp_path / format).check
            assert check.rows == len(images.test)
            assert check.differing == 0
            assert check.largest < 2e-5, f"{format}: {check}"


@pytest.mark.parametrize("dtype", cases(["float32", "float64"], "float32"))
@pytest.mark.parametrize(
    "model",
    [
        epochal.logistic(),
        epochal.mlp([9, 7], "sigmoid"),
        epochal.lenet((3, 4), 9, 2, "tanh"),
        epochal.lenet((3, 4), 9, 2),
    ],
    ids=["logistic", "mlp", "lenet-tanh", "lenet"],
)
def test_the_built_in_models(model, dtype, images, tmp_path):
    extra("onnx", "onnxruntime")
    fit = epochal.fit(model, images, epochal.Recipe(epochs=2, dtype=dtype))
    for format in FORMATS:
        check = export(fit, format, tmp_path / format).check
        assert check.differing == 0
        single = dtype == "float32" or (format == "onnx" and model.name == "lenet")  # its convolutions are in 32 bits
        assert check.largest < (1e-6 if single else 1e-14)


def test_onnx_takes_stored_rows_and_names_the_classes(tmp_path):
    extra("onnx", "onnxruntime")
    import onnxruntime

    told = result("train", "--epochs", 3, "--model", "mlp", "--hidden", 20, "--out", "run", cwd=tmp_path)
    done = result("export", "run", "--format", "onnx", cwd=tmp_path)
    assert done["check"]["rows"] == told["test"]["of"]
    assert done["check"]["differing"] == 0
    session = onnxruntime.InferenceSession(tmp_path / "run/export/model.onnx")
    assert session.get_inputs()[0].type == "tensor(uint8)"
    data = epochal.load("digits")
    labels, p = session.run(["label", "probabilities"], {"x": data.test.x})
    wrong = sum(label != data.classes[y] for label, y in zip(labels, data.test.y, strict=True))
    assert wrong == told["test"]["wrong"]
    assert p.shape == (len(data.test), 10)
    metadata = session.get_modelmeta().custom_metadata_map
    assert json.loads(metadata["classes"]) == list(data.classes)
    assert json.loads(metadata["parameters_sha256"]) == told["parameters_sha256"]
    assert len(list((tmp_path / "run").glob("test-ledger.jsonl"))) == 1
    assert len((tmp_path / "run/test-ledger.jsonl").read_text().splitlines()) == 1, "an export opens no test split"


@pytest.fixture(scope="module")
def table(tmp_path_factory) -> Path:
    """A run on a table of all kinds: missing values, texts that need quotes, columns named like parts of a graph."""
    place = tmp_path_factory.mktemp("table")
    generator = np.random.default_rng(0)
    rows = 150
    frame = pd.DataFrame({
        "x": generator.normal(5, 3, rows).round(3), "label": generator.choice(["red", "blue, grün", 'a "b"'], rows),
        "old": generator.choice(["yes", "no"], rows), "add_0": generator.normal(-1e6, 1e3, rows),
        "y": generator.choice(["p", "q", "r"], rows), "full": generator.choice(["u", "v"], rows),
    })  # fmt: skip
    frame.loc[3:40, ["x", "label"]] = None
    frame.loc[50:60, "old"] = None
    frame.to_csv(place / "t.csv", index=False)
    result("train", "t.csv", "--label", "y", "--hidden", 8, "--epochs", 5, "--out", "run", cwd=place)
    return place


@pytest.mark.parametrize("format", FORMATS)
def test_a_table_goes_in_as_it_is(table, format):
    extra("onnx", "onnxruntime")
    done = result("export", "run", "--format", format, cwd=table)
    assert done["check"]["differing"] == 0
    assert done["check"]["largest"] < 1e-6
    assert done["check"]["rows"] == (25 if format == "stablehlo" else 150)


def test_values_that_no_training_row_had(table):
    extra("onnx", "onnxruntime")
    from epochal.export.numpy import folder as numpy_folder
    from epochal.export.onnx import model as onnx_model

    for format in ("onnx", "numpy"):
        result("export", "run", "--format", format, cwd=table)
    fit = epochal.load_run(table / "run")
    new = pd.read_csv(table / "t.csv", keep_default_na=False, na_values=[""]).drop(columns="y")
    new["label"] = ["purple", None] * 75
    new["old"] = [None, "yes", "no"] * 50
    new.to_csv(table / "new.csv", index=False)
    raw = epochal.data.loading.read(str(table / "new.csv"), epochal.Reading(), labelled=False).splits["train"].x
    expected = fit.predict_proba(fit.preprocessing.apply(raw, "new"))
    given, folder = columns(fit.preprocessing, raw, "new"), table / "run/export/numpy"
    np.testing.assert_allclose(onnx_model.run(table / "run/export/model.onnx", given)[0], expected, atol=1e-6)
    np.testing.assert_allclose(
        numpy_folder.run(folder, (folder / "predict.py").read_bytes(), given), expected, atol=1e-6
    )


def alone(folder: Path, *words: object) -> subprocess.CompletedProcess[str]:
    """`predict.py WORDS` where neither JAX nor epochal can be imported."""
    code = f"{WITHOUT} sys.argv = ['predict.py', *sys.argv[1:]]; runpy.run_path('predict.py', run_name='__main__')"
    words = [sys.executable, "-P", "-c", code, *map(str, words)]
    return subprocess.run(words, cwd=folder, capture_output=True, text=True, check=False)


def test_the_numpy_script_reads_a_table_and_says_what_epochal_says(table):
    result("export", "run", "--format", "numpy", cwd=table)
    done = alone(table / "run/export/numpy", "../../../t.csv")
    assert done.returncode == 0, done.stderr
    expected = command("predict", "run", "t.csv", cwd=table).stdout
    same_csv(done.stdout, expected)
    pd.read_csv(table / "t.csv").drop(columns="old").to_csv(table / "less.csv", index=False)
    done = alone(table / "run/export/numpy", "../../../less.csv")
    assert done.returncode == 1
    assert "has no column 'old'" in done.stderr
    assert "Traceback" not in done.stderr


def test_the_numpy_script_reads_arrays(tmp_path):
    told = ("--model", "lenet", "--kernels", "3x4", "--hidden", 9, "--kernel-size", 2)
    result("train", "--epochs", 1, *told, "--out", "run", cwd=tmp_path)
    result("export", "run", "--format", "numpy", "--out", "small", cwd=tmp_path)
    np.save(tmp_path / "new.npy", epochal.load("digits").test.x)
    words = ("predict", "run", "new.npy", "--divisor", 16)
    done = alone(tmp_path / "small", "../new.npy", "--out", "out.csv")
    assert done.returncode == 0, done.stderr
    same_csv((tmp_path / "small/out.csv").read_text(), command(*words, cwd=tmp_path).stdout)
    np.save(tmp_path / "other.npy", np.zeros((2, 7, 7)))
    done = alone(tmp_path / "small", "../other.npy")
    assert "rows have shape [7, 7], the model takes [8, 8]" in done.stderr


def same_csv(found: str, expected: str) -> None:
    a, b = (list(csv.reader(io.StringIO(text))) for text in (found, expected))
    assert a[0] == b[0]
    assert [row[:2] for row in a] == [row[:2] for row in b]
    p, q = (np.array([row[2:] for row in rows[1:]], float) for rows in (a, b))
    np.testing.assert_allclose(p, q, atol=2e-6)


def test_safetensors_hold_the_parameters_and_their_meaning(table):
    import safetensors

    result("export", "run", "--format", "safetensors", "--out", "out/m.safetensors", cwd=table)
    fit = epochal.load_run(table / "run")
    with safetensors.safe_open(table / "out/m.safetensors", "numpy") as file:
        told = {name: json.loads(value) for name, value in file.metadata().items()}
        found = file.get_tensor("hidden0.W")
    np.testing.assert_array_equal(found, fit.params["hidden0"]["W"])
    assert told["classes"] == ["p", "q", "r"]
    assert told["model"] == {"name": "mlp", "settings": {"hidden": [8], "activation": "relu"}}
    assert told["preprocessing"] == fit.preprocessing.to_json()


def test_what_cannot_be_exported_is_told(images, tmp_path, monkeypatch):
    extra("onnx", "onnxruntime")
    fit = fitted(lambda p, x: jnp.sort(flat(x), axis=1) @ p["w"], images)
    for format, name in (("onnx", "ONNX"), ("numpy", "NumPy")):
        with pytest.raises(epochal.RunError, match=f"uses 'sort' of jax.lax, which has no translation to {name}"):
            export(fit, format, tmp_path / format)
    assert export(fit, "stablehlo", tmp_path / "hlo").check.differing == 0
    with pytest.raises(epochal.RecipeError, match="has no run folder; say where to write"):
        export(fit, "numpy")
    (tmp_path / "file").write_text("")
    with pytest.raises(epochal.RunError, match="is a file, this format writes a folder"):
        export(fit, "numpy", tmp_path / "file")
    monkeypatch.setattr(extras, "find_spec", lambda name: None)
    with pytest.raises(epochal.RecipeError, match=r"pip install onnx onnxruntime"):
        export(fit, "onnx", tmp_path / "m.onnx")


def test_a_model_may_ask_for_the_number_of_rows(images, tmp_path):
    extra("onnx", "onnxruntime")
    fit = fitted(lambda p, x: jnp.tile(x.reshape(len(x), -1), (1, 1)) @ p["w"] + jnp.zeros((len(x), 3)), images)
    for format in ("onnx", "numpy"):
        assert export(fit, format, tmp_path / format).check.largest < 1e-6
    fit = fitted(lambda p, x: (x - x.sum(axis=0) / len(x)).reshape(len(x), -1) @ p["w"], images)
    with pytest.raises(epochal.RunError, match="cannot be traced for any number of rows"):
        export(fit, "onnx", tmp_path / "other.onnx")
    with pytest.raises(epochal.RunError, match="says of a row depends on the other rows"):
        export(fit, "stablehlo", tmp_path / "other")


def test_a_translation_that_is_wrong_is_noticed(images, tmp_path, monkeypatch):
    extra("onnx", "onnxruntime")
    from epochal.export.onnx import operations as onnx_operations

    fit = epochal.fit(epochal.mlp(9, "tanh"), images, epochal.Recipe(epochs=1))
    monkeypatch.setitem(onnx_operations._SAME, "tanh", "Sigmoid")
    with pytest.raises(epochal.RunError, match=r"is not the same model: .* predictions differ on the test split"):
        export(fit, "onnx", tmp_path / "m.onnx")


def test_a_numpy_export_needs_no_onnx(tmp_path):
    code = (
        "import sys; sys.modules |= {'onnx': None, 'onnxruntime': None}\n"
        "import epochal; from epochal.export import export\n"
        "fit = epochal.fit(epochal.logistic(), epochal.load('digits'), epochal.Recipe(epochs=1))\n"
        "sys.exit(export(fit, 'numpy', sys.argv[1]).check.differing)"
    )
    done = subprocess.run([sys.executable, "-c", code, tmp_path / "n"], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def test_a_run_on_arrays_is_exported_from_the_command_line_unchecked(images, tmp_path):
    fit = epochal.fit(epochal.logistic(), images, epochal.Recipe(epochs=1), out=tmp_path / "run")
    assert result("export", "run", "--format", "numpy", cwd=tmp_path)["check"] is None
    assert export(tmp_path / "run", "numpy", data=images).check.differing == 0
    assert export(fit, "numpy").check.differing == 0
