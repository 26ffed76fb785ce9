"""Rows that a trained model meets afterwards: prepared as in training, from Python and from the command line alike."""

import csv
import io
import json
import warnings

import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pytest
from sklearn.datasets import load_breast_cancer

import epochal
from commands import epochal as command
from commands import result
from conftest import blobs
from epochal.data.dataset import Split
from epochal.data.sources.tables import frames
from epochal.training import ledger
from refusals import refusal

QUICK = epochal.Recipe(epochs=15, learning_rate=0.05)


@pytest.fixture(scope="module")
def cancer() -> pd.DataFrame:
    return load_breast_cancer(as_frame=True).frame


@pytest.fixture(scope="module")
def numeric(cancer) -> epochal.Fit:
    """Every column a number: as many features as columns, so that a width tells nothing."""
    return epochal.fit(epochal.logistic(), epochal.load(cancer, label="target"), QUICK)


def mixed(rows: int = 240, seed: int = 0) -> pd.DataFrame:
    generator = np.random.default_rng(seed)
    frame = pd.DataFrame({
        "size": generator.normal(size=rows).round(3), "island": generator.choice(["A", "B", "C"], rows),
        "old": generator.choice([True, False], rows),
    })  # fmt: skip
    frame["y"] = np.where(frame["size"] + (frame.island == "A") > 0.3, "yes", "no")
    return frame


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    folder = tmp_path_factory.mktemp("rows")
    mixed().to_csv(folder / "t.csv", index=False)
    result("train", "t.csv", "--label", "y", "--model", "logistic", "--epochs", 15, "--out", "run", cwd=folder)
    return folder


# Frames, mappings and arrays go through the preprocessing


def test_a_raw_frame_of_numbers_is_prepared_as_in_training(cancer, numeric):
    raw, truth = cancer.drop(columns="target"), cancer.target.to_numpy()
    codes = numeric.predict(raw)
    assert (codes == truth).mean() > 0.95
    read = frames.read(raw, epochal.Reading(), 1 << 30, labelled=False)
    oracle = numeric.preprocessing.apply(read.splits["train"].x, "raw")
    expected = numeric.probabilities(Split(oracle, np.zeros(len(oracle), np.int32)))
    np.testing.assert_array_equal(numeric.predict_proba(raw), expected)
    for form in (pl.from_pandas(raw), pa.Table.from_pandas(raw), {name: raw[name] for name in raw},
                 raw[sorted(raw)], cancer):  # fmt: skip
        np.testing.assert_array_equal(numeric.predict_proba(form), expected)
    assert numeric.score(cancer).wrong == numeric.score((raw, truth)).wrong == int((codes != truth).sum())
    one = numeric.predict_proba({name: float(raw[name].iloc[0]) for name in raw})
    np.testing.assert_allclose(one, expected[:1], rtol=1e-5)


def test_an_array_stands_for_the_columns_and_prepared_features_are_known(cancer, numeric):
    raw = cancer.drop(columns="target")
    with pytest.warns(epochal.DataWarning, match="an array without names: its columns are taken as mean radius, "):
        p = numeric.predict_proba(raw.to_numpy())
    np.testing.assert_array_equal(p, numeric.predict_proba(raw))
    test = numeric.data.test
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        expected = numeric.predict_proba(test)
        np.testing.assert_array_equal(numeric.predict_proba(test.x), expected)
        np.testing.assert_array_equal(numeric.predict_proba(test.x[[3, 5, 8]]), numeric.predict_proba(test)[[3, 5, 8]])


def test_arrays_of_objects_and_of_another_width(place):
    fit = epochal.fit(epochal.logistic(), epochal.load(mixed(), label="y"), QUICK)
    raw = mixed().drop(columns="y")
    with pytest.warns(epochal.DataWarning, match="taken as size, island, old"):
        np.testing.assert_array_equal(fit.predict(raw.to_numpy(object)), fit.predict(raw))
    np.testing.assert_array_equal(fit.predict(fit.data.test.x), fit.predict(fit.data.test))
    told = refusal(fit.predict, np.zeros((2, 17)))
    assert "has shape [2, 17], but the model was trained on a table of 3 columns (6 features)" in told
    spoilt = raw.to_numpy(object)
    spoilt[4, 0] = "long"
    assert "row 4, column 'size': holds 'long', but the column was trained as a number" in refusal(fit.predict, spoilt)


def test_a_frame_is_no_input_of_a_model_of_arrays(small):
    fit = epochal.fit(epochal.logistic(), small, epochal.Recipe(epochs=1))
    told = refusal(fit.predict, pd.DataFrame(small.test.x))
    assert "is a table, but the model was trained on arrays of shape [6]; give an array: frame.to_numpy()" in told
    assert "give one of them, such as data.test" in refusal(fit.predict, small)


def test_names_of_classes_on_request(numeric, cancer):
    codes, names = (numeric.predict(cancer, names=named) for named in (False, True))
    assert codes.dtype == np.int32
    assert names.tolist() == [numeric.classes[code] for code in codes]


def test_a_run_folder_predicts_what_its_fit_predicts(place):
    fit, frame = epochal.load_run(place / "run"), mixed(50, seed=3)
    frame.to_csv(place / "new.csv", index=False)
    done = command("predict", "run", "new.csv", cwd=place)
    printed = [row["class"] for row in csv.DictReader(io.StringIO(done.stdout))]
    assert fit.predict(frame, names=True).tolist() == printed
    assert fit.predict(place / "new.csv", names=True).tolist() == printed


# Columns and cells


def test_what_is_left_out_unseen_or_odd_is_said(place):
    frame = mixed(30, seed=4)
    frame.assign(note="x", island=["Mars"] * 20 + ["A"] * 10).to_csv(place / "extra.csv", index=False)
    done = command("predict", "run", "extra.csv", cwd=place)
    assert done.returncode == 0, done.stderr
    assert "note: extra.csv: left out columns that were not trained on: 'note'" in done.stderr
    assert "column 'island': 20 of 30 rows hold a value that no training row has, such as 'Mars'" in done.stderr
    frame.astype({"size": object}).assign(size=[*frame["size"][:3], "long", *frame["size"][4:]]).to_csv(
        place / "odd.csv", index=False
    )
    done = command("predict", "run", "odd.csv", cwd=place)
    assert done.returncode == 2
    assert "odd.csv: row 3 (line 5), column 'size': holds 'long', but the column was trained as a number" in done.stderr
    with pytest.warns(epochal.DataWarning, match="left out columns that were not trained on: 'note'"):
        epochal.load_run(place / "run").predict(frame.assign(note="x"))


# Dtype and divisor


def test_one_rule_for_dtype_and_divisor_in_python_and_on_the_command_line(tmp_path):
    generator = np.random.default_rng(0)
    x = generator.integers(0, 256, (120, 4, 4)).astype(np.uint8)
    y = (x.mean((1, 2)) > 127).astype(int)
    np.savez(tmp_path / "d.npz", x=x, y=y)
    result("train", "d.npz", "--model", "logistic", "--epochs", 3, "--out", "run", cwd=tmp_path)
    fit = epochal.load_run(tmp_path / "run")
    expected = fit.predict_proba(x)
    forms = {"whole": x.astype(np.int64), "unit": x.astype(np.float32) / 255, "floats": x.astype(np.float64)}
    for name, rows in forms.items():
        np.save(tmp_path / f"{name}.npy", rows)
        done = command("predict", "run", f"{name}.npy", "--out", f"{name}.npz", cwd=tmp_path)
        if name == "whole":
            assert done.returncode == 0, done.stderr
            assert "the rows are int64; taken as uint8, which holds them" in done.stderr
            with pytest.warns(epochal.DataWarning, match="the rows are int64; taken as uint8"):
                np.testing.assert_array_equal(fit.predict_proba(rows), expected)
            np.testing.assert_array_equal(np.load(tmp_path / "whole.npz")["probabilities"], expected)
        else:
            told = f"the rows are {rows.dtype}, but the model was trained on uint8 divided by 255; give rows of uint8"
            assert done.returncode == 2
            assert told in done.stderr
            assert "with --divisor what" in done.stderr
            assert told in refusal(fit.predict_proba, rows)
            assert "with divisor=… what" in refusal(fit.predict_proba, rows)
    np.testing.assert_allclose(fit.predict_proba(forms["unit"], divisor=1), expected, rtol=1e-4)
    np.testing.assert_allclose(fit.predict_proba(forms["floats"], divisor=255), expected, rtol=1e-4)
    assert "is 300, but the model was trained on uint8, which cannot hold it" in refusal(
        fit.predict_proba, np.full((1, 4, 4), 300)
    )


def test_bytes_for_a_model_of_floats_are_refused_and_whole_numbers_noted(small):
    fit = epochal.fit(epochal.logistic(), small, epochal.Recipe(epochs=1))
    assert "the rows are uint8, but the model was trained on float32 divided by 1" in refusal(
        fit.predict, np.ones((2, 6), np.uint8)
    )
    with pytest.warns(epochal.DataWarning, match="the rows are int64; they are taken as the float32"):
        whole = fit.predict_proba(np.ones((2, 6), int))
    np.testing.assert_array_equal(whole, fit.predict_proba(np.ones((2, 6), np.float32)))


@pytest.mark.parametrize("storage", ["float16", "uint8"])
def test_new_rows_are_stored_as_those_trained_on(storage):
    x = np.random.default_rng(0).integers(0, 90, (90, 8)).astype(np.float32)
    data = epochal.load((x, (x[:, 0] > 45).astype(int)), storage=storage)
    fit = epochal.fit(epochal.logistic(), data, epochal.Recipe(epochs=2))
    np.testing.assert_array_equal(fit.predict_proba(data.test), fit.predict_proba(data.test.x.astype(np.float32)))


# Rows that were trained on, and the test split's one door


def test_the_runs_own_file_is_recognised(place):
    own = result("evaluate", "run", "t.csv", cwd=place)
    folder = result("evaluate", "run", cwd=place)
    assert own["test"] == folder["test"]
    assert own["known_rows"] == {"train": 0, "valid": 0, "test": 40}
    (place / "copy.csv").write_bytes((place / "t.csv").read_bytes())
    assert result("evaluate", "run", "copy.csv", "--split", "valid", cwd=place)["valid"]["of"] == 33
    done = command("evaluate", "run", "t.csv", "--split", "all", cwd=place)
    assert "of these 240 rows 167 were trained on, 33 chose the parameters, 40 are test rows of the run" in done.stderr
    assert done.stdout.startswith("all rows ")
    half = mixed()[:100]
    half.to_csv(place / "half.csv", index=False)
    done = command("evaluate", "run", "half.csv", cwd=place)
    assert done.stdout.startswith("all rows ")
    assert "of these 100 rows " in done.stderr
    assert result("evaluate", "run", "half.csv", cwd=place)["test"] is None
    done = command("predict", "run", "half.csv", "--out", "p.csv", cwd=place)
    assert "of these 100 rows " in done.stderr
    mixed(60, seed=9).to_csv(place / "fresh.csv", index=False)
    fresh = result("evaluate", "run", "fresh.csv", cwd=place)
    assert fresh["test"] == fresh["all"]
    assert sum(fresh["known_rows"].values()) == 0


def test_held_out_rows_are_predicted_by_name(place):
    data = epochal.load(place / "t.csv", label="y")
    fit = epochal.load_run(place / "run", data)
    for split in ("valid", "test"):
        done = command("predict", "run", "t.csv", "--split", split, cwd=place)
        assert f"t.csv is what this run was trained on; predicted are its {split} rows" in done.stderr
        printed = [row["class"] for row in csv.DictReader(io.StringIO(done.stdout))]
        assert printed == fit.predict(getattr(data, split), names=True).tolist()
    mixed(60, seed=9).to_csv(place / "new.csv", index=False)
    done = command("evaluate", "run", "new.csv", "--split", "valid", cwd=place)
    assert done.returncode == 2
    assert "has no valid split, its rows come in one piece; leave --split out, or all" in done.stderr


def _openings(run) -> int:
    return len(ledger.entries(run))


def test_every_door_to_the_test_split_counts(place):
    data = epochal.load(place / "t.csv", label="y")
    fit, run = epochal.load_run(place / "run", data), place / "run"
    before = _openings(run)
    fit.score(data.test)
    assert _openings(run) == before + 1
    fit.score(data.test[:10])
    epochal.load_run(run).score(data.test)  # as another process would
    epochal.load_run(run).score(mixed())  # the test rows are among them
    epochal.load_run(run).score(place / "t.csv")
    assert _openings(run) == before + 5
    for rows in (data.valid, data.train, mixed(30, seed=8)):
        fit.score(rows)
    assert _openings(run) == before + 5
    mixed()[:90].to_csv(place / "part.csv", index=False)
    assert result("evaluate", "run", "part.csv", cwd=place)["known_rows"]["test"] > 0
    assert _openings(run) == before + 6


@pytest.mark.data
def test_the_tutorials_file_named_again_opens_the_same_test_split(tmp_path):
    from needs import require

    file = require("mnist.pkl.gz")
    words = ("--model", "logistic", "--epochs", 1, "--batch-size", 600, "--no-open-test")
    result("train", file, *words, "--out", "run", cwd=tmp_path, XDG_DATA_HOME=str(tmp_path))
    for expected in ("never opened before", "opened once before", "opened 2 times before"):
        done = command("evaluate", "run", file, cwd=tmp_path, XDG_DATA_HOME=str(tmp_path))
        assert expected in done.stdout


@pytest.mark.parametrize("options", [["--storage", "float16"], ["--divisor", "1.0000001"], ["--drop", "old"],
                                     ["--drop", "size,old"]])  # fmt: skip
def test_the_ledger_follows_the_test_rows(tmp_path, options):
    mixed().to_csv(tmp_path / "t.csv", index=False)
    words = ("train", "t.csv", "--label", "y", "--model", "logistic", "--epochs", 1, "--quiet")
    first = command(*words, "--out", "a", cwd=tmp_path, XDG_DATA_HOME=str(tmp_path))
    assert "never opened before" in first.stdout
    assert (
        "opened once before"
        in command(*words, "--out", "b", *options, cwd=tmp_path, XDG_DATA_HOME=str(tmp_path)).stdout
    )
    renamed = mixed().replace({"y": {"yes": "yes!"}})
    renamed.to_csv(tmp_path / "t.csv", index=False)
    third = command(*words, "--out", "c", cwd=tmp_path, XDG_DATA_HOME=str(tmp_path))
    # Of a file with other bytes only the openings of the same columns are known.
    assert f"opened {'once' if '--drop' in options else '2 times'} before" in third.stdout


# Splits that overlap


def test_rows_that_two_splits_share_are_counted(tmp_path):
    a, b = mixed(120, seed=1), mixed(60, seed=2)
    a.to_csv(tmp_path / "a.csv", index=False)
    b.to_csv(tmp_path / "b.csv", index=False)
    b.to_csv(tmp_path / "twin.csv", index=False)
    words = ("a.csv", "--label", "y", "--valid", "b.csv", "--test", "twin.csv")
    done = command("inspect", *words, cwd=tmp_path)
    assert "note: a.csv: 60 of 60 test rows are identical to a valid row" in done.stdout
    for verb, more in (("train", ()), ("select", ("--learning-rate", "0.01,0.1"))):
        done = command(verb, *words, "--model", "logistic", "--epochs", 1, *more, cwd=tmp_path)
        assert "60 of 60 test rows are identical to a valid row" in done.stderr
        assert "Warning" not in done.stderr
    for twice in (("--valid", "b.csv", "--test", "b.csv"), ("--valid", "a.csv"), ("--test", "./a.csv")):
        done = command("train", "a.csv", "--label", "y", *twice, cwd=tmp_path)
        assert done.returncode == 2
        assert "is named twice, also for" in done.stderr
        assert "each file holds the rows of one split: leave one of the two out" in done.stderr


def test_overlap_of_every_two_splits_by_one_count_each():
    x, y = blobs(90)
    valid, test = x[:30].copy(), x[30:60].copy()
    valid[5:] += 1
    test[:20] += 2
    test[20:23] = valid[20:23]
    with pytest.warns(epochal.DataWarning):
        data = epochal.load({"train": (x, y), "valid": (valid, y[:30]), "test": (test, y[:30])})
    told = [note for note in data.notes if "identical" in note]
    assert told == [
        "arrays: 7 of 30 test rows are identical to a train row",
        "arrays: 3 of 30 test rows are identical to a valid row",
        "arrays: 5 of 30 valid rows are identical to a train row",
    ]


# Baseline


def test_a_model_that_has_learnt_nothing_is_told_so(tmp_path):
    generator = np.random.default_rng(0)
    frame = pd.DataFrame({"a": generator.normal(size=300), "y": np.where(generator.random(300) < 0.1, "Yes", "No")})
    frame.to_csv(tmp_path / "t.csv", index=False)
    words = ("train", "t.csv", "--label", "y", "--model", "logistic", "--epochs", 3)
    told = result(*words, "--out", "a", cwd=tmp_path)
    data = epochal.load(tmp_path / "t.csv", label="y")
    for name, split in (("best_validation", data.valid), ("test", data.test)):
        wrong = int((split.y != data.classes.index("No")).sum())
        assert told["baseline"][name]["class"] == "No"
        assert (told["baseline"][name]["wrong"], told["baseline"][name]["of"]) == (wrong, len(split))
    done = command(*words, "--out", "b", cwd=tmp_path)
    assert "baseline   always 'No': " in done.stdout
    assert f"note: validation: one class alone, 'No', is predicted for all {len(data.valid)} rows" in done.stderr
    assert "is no better than always answering 'No'" in done.stderr
    again = command("evaluate", "b", cwd=tmp_path)
    assert "baseline   always 'No': " in again.stdout
    assert "one class alone, 'No', is predicted" in again.stderr
    assert json.loads(command("evaluate", "b", "--json", cwd=tmp_path).stdout)["baseline"]["class"] == "No"


def test_a_model_that_has_learnt_is_not(tmp_path, numeric):
    from epochal.reports.evaluation import remarks

    assert remarks(numeric, numeric.data.valid, numeric.best.valid) == []


# Features that are not scaled


def test_unscaled_arrays_are_named_with_their_range(cancer):
    x, y = cancer.drop(columns="target").to_numpy(), cancer.target.to_numpy()
    with pytest.warns(epochal.DataWarning, match=r"features range from 0 to [34],\d\d\d and are not scaled"):
        data = epochal.load((x, y))
    assert any(
        "load them as a data frame (its columns are standardised), or use divisor=…" in note for note in data.notes
    )
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        epochal.load((cancer.drop(columns="target"), y))
        epochal.load((x, y), divisor=100)
        epochal.load(blobs(60))
