"""The models of docs/models.md in every form, and StableHLO of models that ask for the number of rows."""

import json
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import epochal
from campaigns import cases
from commands import epochal as command
from commands import result
from documented import files
from epochal.export import export
from needs import extra

PAGE = Path(__file__).parents[2] / "docs" / "models.md"
FILES = files(PAGE.read_text(encoding="utf-8"))
MODELS = {
    "pure.py:softmax": (),
    "flax_cnn.py:CNN": ("flax",),
    "linen_mlp.py:MLP": ("flax",),
    "equinox_cnn.py:CNN": ("equinox",),
    "frozen.py:Body": ("flax",),
}
AS_MANY_AS_ONE_LIKES = {"equinox_cnn.py:CNN", "frozen.py:Body"}
"""Models that ask for no number, or for `x.shape[0]`, which JAX can follow; `len(x)` it cannot."""


@pytest.fixture(scope="module")
def digits():
    return epochal.load("digits")


def test_these_are_the_models_of_the_page():
    named = {name.partition(":")[0] for name in MODELS}
    assert named == {name for name in FILES if f"--model {name}" in PAGE.read_text(encoding="utf-8")}


@pytest.mark.parametrize("model", cases(MODELS, "pure.py:softmax", "flax_cnn.py:CNN"))
def test_the_models_of_the_documents_are_exported_in_every_form(model, digits, tmp_path):
    extra("onnx", "onnxruntime", *MODELS[model])
    name = model.partition(":")[0]
    (tmp_path / name).write_text(FILES[name], encoding="utf-8")
    with jax.numpy_dtype_promotion("standard"):
        forms(epochal.fit(f"{tmp_path}/{model}", digits, epochal.Recipe(epochs=1, drop_last=True)), model, tmp_path)


def forms(fit, model, tmp_path):
    for format in ("onnx", "numpy", "stablehlo", "safetensors"):
        exported = export(fit, format, tmp_path / format)
        if format != "safetensors":
            assert exported.check.rows == 299
            assert exported.check.differing == 0
            assert exported.check.largest < 2e-5
        blocks_of_rows = format == "stablehlo" and model not in AS_MANY_AS_ONE_LIKES
        assert [note.partition(",")[0] for note in exported.notes] == (
            ["the program takes blocks of 256 rows"] if blocks_of_rows else []
        )


def linear(key, example_shape, classes):
    return jax.random.normal(key, (np.prod(example_shape), classes)) / 10


COUNTING = {
    "len": lambda p, x: x.reshape(len(x), -1) @ p,
    "a loop": lambda p, x: jnp.concatenate([(x[i : i + 64].reshape(-1, 64) @ p) for i in range(0, x.shape[0], 64)]),
    "arithmetic": lambda p, x: jnp.concatenate([jnp.ravel(x)] * 3)[: len(x) * 64].reshape(len(x), 64) @ p,
}


@pytest.mark.parametrize("name", cases(COUNTING, "len"))
def test_stablehlo_takes_models_that_ask_for_the_number_of_rows(name, digits, tmp_path):
    fit = epochal.fit(epochal.Model(linear, COUNTING[name]), digits, epochal.Recipe(epochs=1))
    exported = export(fit, "stablehlo", tmp_path / "hlo")
    assert exported.check.differing == 0
    assert exported.check.largest < 1e-5
    about = json.loads((tmp_path / "hlo/about.json").read_text())
    assert about["rows"]["block"] == 256
    program = jax.export.deserialize(bytearray((tmp_path / "hlo/model.jax_export").read_bytes()))
    assert program.in_avals[0].shape == (256, 8, 8)


def test_the_command_says_that_a_program_takes_blocks(tmp_path):
    (tmp_path / "pure.py").write_text(FILES["pure.py"], encoding="utf-8")
    result("train", "digits", "--model", "pure.py:softmax", "--epochs", 1, "--out", "run", cwd=tmp_path)
    done = command("export", "run", "--format", "stablehlo", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert "note: the program takes blocks of 256 rows" in done.stdout
    (note,) = result("export", "run", "--format", "stablehlo", cwd=tmp_path)["notes"]
    assert "x.shape[0] instead of len(x) may do" in note


def test_a_model_that_no_program_can_be_made_of_is_refused(digits, tmp_path):
    """One whose answer for a row depends on the rows beside it, which fill a block up."""
    fit = epochal.fit(
        epochal.Model(linear, lambda p, x: ((x - x.sum(axis=0) / len(x)).reshape(len(x), -1)) @ p),
        digits, epochal.Recipe(epochs=1),
    )  # fmt: skip
    with pytest.raises(epochal.RunError, match="depends on the other rows, so it has no answer for a row alone"):
        export(fit, "stablehlo", tmp_path / "hlo")
    assert not (tmp_path / "hlo").exists()
