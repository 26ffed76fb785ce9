"""Objects of a program: frames of three libraries, pairs, mappings, Bunch, tensors; all as the same rows in a file."""

import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pytest
from sklearn import datasets

from epochal import load
from epochal.data.options import Reading
from epochal.data.preparation import Preparation, prepare
from epochal.data.sources import read
from refusals import refusal

ROWS = 40


def frame() -> pd.DataFrame:
    generator = np.random.default_rng(0)
    return pd.DataFrame({
        "x": generator.normal(size=ROWS), "n": generator.integers(0, 9, ROWS), "b": generator.random(ROWS) > 0.5,
        "c": generator.choice(["u", "v", "w"], ROWS), "y": generator.choice(["p", "q"], ROWS),
    })  # fmt: skip


FORMS = {
    "pandas": lambda f: f,
    "pandas with its own kinds": lambda f: f.astype({"c": "category", "n": "Int32", "b": "boolean", "y": "string"}),
    "pandas of objects": lambda f: f.astype({"c": object, "y": object}),
    "pandas with an index": lambda f: f.set_index(np.arange(ROWS)[::-1] * 7),
    "polars": pl.from_pandas,
    "polars in pieces": lambda f: pl.concat([pl.from_pandas(f[:7]), pl.from_pandas(f[7:])], rechunk=False),
    "polars with its own kinds": lambda f: pl.from_pandas(f).with_columns(pl.col("c").cast(pl.Categorical)),
    "pyarrow": lambda f: pa.Table.from_pandas(f, preserve_index=False),
    "a record batch": lambda f: pa.RecordBatch.from_pandas(f, preserve_index=False),
}


@pytest.mark.parametrize("name", FORMS)
def test_every_kind_of_frame_is_the_same_data(tmp_path, name):
    frame().to_csv(tmp_path / "t.csv", index=False)
    expected = load(tmp_path / "t.csv", label="y")
    data = load(FORMS[name](frame()), label="y")
    assert data.fingerprint == expected.fingerprint
    assert data.preprocessing == expected.preprocessing
    assert data.origin is None
    assert "frame: 2 numbers, 1 boolean, 1 category (c: 3 values)" in data.notes


@pytest.mark.parametrize("library", ["pandas", "polars", "pyarrow"])
def test_pairs_of_features_and_labels(library):
    expected = load(frame(), label="y").fingerprint
    whole = FORMS[library](frame())
    x = (
        whole.drop(columns="y")
        if library == "pandas"
        else whole.drop(["y"])
        if library == "pyarrow"
        else whole.drop("y")
    )
    y = whole["y"]
    for labels in (
        y,
        frame()[["y"]],
        y.to_pylist() if library == "pyarrow" else list(y),
        frame()["y"].astype("category"),
    ):
        assert load((x, labels)).fingerprint == expected
    assert load(x, labels_from=frame()["y"].to_numpy(dtype=str)).fingerprint == expected


@pytest.mark.filterwarnings("ignore:.*test rows? (are|is) identical")
def test_frames_of_the_splits():
    f = frame()
    one, two, three = f[:20], f[20:30], f[30:]
    expected = load({"train": one, "valid": two, "test": three}, label="y")
    assert [len(split) for split in expected] == [20, 10, 10]
    assert load((one, two, three), label="y").fingerprint == expected.fingerprint
    pairs = {name: (part.drop(columns="y"), part.y) for name, part in (("train", one), ("valid", two), ("test", three))}
    assert load(pairs).fingerprint == expected.fingerprint
    assert load(tuple(pairs.values())).fingerprint == expected.fingerprint
    assert [len(split) for split in load((f[:30], three), label="y")][2] == 10
    assert [len(split) for split in load([pl.from_pandas(f[:30]), pl.from_pandas(three)], label="y")][2] == 10


def test_options_are_those_of_files():
    f = frame().assign(s=np.resize(["train", "train", "valid", "test"], ROWS), g=np.arange(ROWS) % 8,
                       t=pd.date_range("2024-01-01", periods=ROWS))  # fmt: skip
    assert [len(split) for split in load(f, label="y", split_column="s", drop="g,t")] == [20, 10, 10]
    assert all(len(split) % 5 == 0 for split in load(f, label="y", group="g", drop="s,t"))
    part = read(f, Reading(label="y", time="t", drop="s,g")).splits["train"]
    assert (np.diff(part.times) > 0).all()


@pytest.mark.parametrize("labels", [np.arange(ROWS) % 3, np.arange(ROWS) % 3 + 5.0, np.arange(ROWS) % 2 == 0])
def test_labels_of_frames_are_text(labels):
    names = {"b": ("false", "true"), "f": ("5", "6", "7"), "i": ("0", "1", "2")}[labels.dtype.kind]
    assert load((frame()[["x"]], labels)).classes == names
    assert load(frame().assign(y=labels), label="y").classes == names


def test_missing_values():
    f = frame()
    f.loc[3, ["x", "c"]] = None
    other = f.astype({"n": "Int64", "b": "boolean"})
    other.loc[5, ["n", "b"]] = pd.NA
    assert load(other, label="y").train.x.shape[1] >= load(f, label="y").train.x.shape[1]
    f.loc[7, "y"] = None
    assert "frame: row 7: has no label" in refusal(load, f, label="y")
    assert "row 7" in refusal(load, (f.drop(columns="y"), f.y))


@pytest.mark.parametrize(
    ("source", "options", "told"),
    [
        (frame(), {}, "frame: which column holds the labels is not said; is it label='y'?"),
        (frame(), {"label": "z"}, "there is no column 'z'"),
        (frame().assign(o=[{"k": 2}] * ROWS), {"label": "y"}, "column 'o' holds "),
        (frame().assign(o=["a", 1] * (ROWS // 2)), {"label": "y"}, "columns cannot be taken over"),
        (frame().assign(o=pd.Timestamp(0)), {"label": "y"}, "column 'o' holds dates or times"),
        (frame().assign(x=np.inf), {"label": "y"}, "frame: row 0, column 'x': is an infinite number"),
        (frame()[:0], {"label": "y"}, "but no row"),
        ({"train": frame(), "best": frame()}, {"label": "y"}, "frames: got a mapping with 'best'"),
        ((frame(),) * 4, {"label": "y"}, "frames: got 4 of them"),
        ({"train": frame(), "test": 7}, {"label": "y"}, "frame 'test': got int"),
        ((frame()[["x"]], np.arange(7)), {}, "40 rows but 7 labels"),
        ((frame()[["x"]], np.zeros((ROWS, 2))), {}, "labels must have shape [rows]"),
        ((frame()[["x"]], np.arange(ROWS) / 7), {}, "is 'labels' a regression target?"),
    ],
)
def test_what_is_refused(source, options, told):
    assert told in refusal(load, source, **options)


def test_columns_of_the_splits_must_be_alike():
    f = frame()
    assert "it lacks 'x'" in refusal(load, {"train": f[:30], "test": f[30:].drop(columns="x")}, label="y")


def test_names_that_are_no_text():
    f = pd.DataFrame(np.random.default_rng(0).normal(size=(ROWS, 3))).assign(y=frame().y)
    assert [plan.name for plan in load(f, label="y").preprocessing.columns] == ["0", "1", "2"]
    assert "column" in refusal(load, pd.concat([frame(), frame()[["x"]]], axis=1), label="y")


def test_rows_to_predict():
    trained = Preparation.of(load(frame(), label="y"))
    rows, again = prepare(frame().drop(columns="y"), trained).split, prepare(frame(), trained).split
    np.testing.assert_array_equal(rows.x, again.x)
    assert len(rows) == ROWS


@pytest.mark.filterwarnings("ignore:.*test rows? (are|is) identical")
def test_a_bunch():
    arrays, frames = load(datasets.load_iris()), load(datasets.load_iris(as_frame=True))
    assert arrays.classes == frames.classes == ("setosa", "versicolor", "virginica")
    assert [len(split) for split in arrays] == [len(split) for split in frames]
    assert arrays.preprocessing is None
    assert frames.preprocessing.columns[0].name == "sepal length (cm)"
    np.testing.assert_array_equal(arrays.test.y, frames.test.y)
    assert load(datasets.load_digits()).classes == tuple("0123456789")


class Tensor:
    """What a PyTorch tensor shows of itself."""

    def __init__(self, array, grad=False):
        self.array, self.grad = array, grad

    def __array__(self, dtype=None, copy=None):
        if self.grad:
            raise RuntimeError("Can't call numpy() on Tensor that requires grad. Use tensor.detach().numpy() instead.")
        return self.array

    def numpy(self):
        return self.__array__()


def test_tensors_and_arrays_of_jax():
    import jax.numpy as jnp

    x, y = np.random.default_rng(0).normal(size=(ROWS, 3)).astype(np.float32), np.arange(ROWS) % 2
    expected = load((x, y)).fingerprint
    assert load((Tensor(x), Tensor(y))).fingerprint == expected
    assert load((jnp.asarray(x), jnp.asarray(y))).fingerprint == expected
    assert "requires grad" in refusal(load, (Tensor(x, grad=True), Tensor(y)))
