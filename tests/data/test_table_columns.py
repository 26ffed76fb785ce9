"""What of a table becomes a feature, and what is said of the rest: the index, odd cells, empty columns, identifiers."""

import warnings

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
from pyarrow import parquet
from sklearn import datasets
from sklearn.model_selection import train_test_split

import epochal
from epochal import load
from epochal.data.options import Reading
from epochal.errors import DataError, DataWarning, RecipeError
from epochal.runs.run import load_run
from refusals import refusal

ROWS = 80


@pytest.fixture(autouse=True)
def _here(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("epochal.system.isolated.call", lambda function, *arguments, **_: function(*arguments))


@pytest.fixture(autouse=True)
def _alike():
    """Small tables of few values have many rows twice."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", ".*test rows? (are|is) identical", DataWarning)
        yield


def write(row, header="a,b,y", name="t.csv", encoding="utf-8") -> str:
    with open(name, "w", encoding=encoding, newline="") as file:  # noqa: PTH123
        file.write(header + "\n" + "".join(f"{row(i)}\n" for i in range(ROWS)))
    return name


def kinds(data) -> dict[str, str]:
    return {plan.name: plan.kind for plan in data.preprocessing.columns}


def note(data, words: str) -> str:
    """The only note with these words."""
    [found] = [note for note in data.notes if words in note]
    return found


def silent(data) -> bool:
    return not any(words in note for note in data.notes for words in ("column '", "'a'", "'b'"))


# The index


def noise() -> pd.DataFrame:
    frame = pd.DataFrame(np.random.default_rng(0).normal(size=(600, 4)), columns=list("abcd"))
    return frame.assign(y=np.repeat(["u", "v", "w"], 200))  # the index tells the class


def shuffled() -> pd.DataFrame:
    return train_test_split(noise(), random_state=0, stratify=noise().y)[0]


def saved(frame: pd.DataFrame, form: str) -> object:
    {"parquet": frame.to_parquet, "feather": frame.to_feather, "csv": frame.to_csv}[form](f"t.{form}")
    return f"t.{form}"


def saved_twice(frame: pd.DataFrame) -> str:
    frame.to_csv("once.csv")
    pd.read_csv("once.csv").to_csv("twice.csv")
    pd.read_csv("twice.csv").to_csv("thrice.csv")
    return "thrice.csv"


FORMS = {
    "frame": lambda frame: frame,
    "pair": lambda frame: (frame.drop(columns="y"), frame.y),
    "splits": lambda frame: {"train": frame[:300], "test": frame[300:]},
    "parquet": lambda frame: saved(frame, "parquet"),
    "feather": lambda frame: saved(frame, "feather"),
    "csv": lambda frame: saved(frame, "csv"),
    "csv, saved again": saved_twice,
    "arrow, without pandas' words": lambda frame: pa.Table.from_pandas(frame).replace_schema_metadata(None),
    "csv, features first": lambda frame: saved(frame, "csv"),
}


@pytest.mark.parametrize("form", FORMS)
def test_the_index_of_a_frame_is_no_feature(form):
    options = {} if form == "pair" else {"label": "y"}
    data = load(FORMS[form](shuffled()), **options)
    assert list(kinds(data)) == list("abcd")
    assert any("index" in note and "left out" in note for note in data.notes)
    fit = epochal.fit(epochal.logistic(), data, epochal.Recipe(epochs=20))
    assert fit.test().percent > 45, "better than chance (67 % wrong) on noise"


@pytest.mark.parametrize("form", ["frame", "parquet", "feather"])
def test_an_index_with_a_name_is_named_and_an_option_makes_use_of_it(form):
    frame = shuffled().rename_axis("id")
    source = frame if form == "frame" else saved(frame, form)
    assert "the index of the data frame ('id') is no feature" in note(load(source, label="y"), "index")
    data = load(source, label="y", group="id")
    assert data.groups is not None
    assert list(kinds(data)) == list("abcd")
    assert not any("index" in note for note in data.notes)
    with pytest.warns(DataWarning, match="'id' counts the rows"):
        assert "id" in kinds(load(frame.reset_index(), label="y")), "a column of its own"


@pytest.mark.parametrize("form", ["frame", "parquet", "csv"])
def test_new_rows_are_read_without_the_index_too(form):
    frame = shuffled()
    features = frame.drop(columns="y")
    source = features if form == "frame" else saved(features, form)
    raw = epochal.data.sources.read(source, Reading(label="y"), labelled=False)
    assert list(raw.splits["train"].x.columns) == list("abcd")


def test_a_header_whose_first_cell_is_empty_is_one():
    data = load(write(lambda i: f"{i},{i % 7},{i % 5 / 2},{'pq'[i % 2]}", ",a,b,y"), label="y")
    assert list(kinds(data)) == ["a", "b"]
    texts = write(lambda i: f"{'' if not i else 'k'},{'uv'[i % 2]},{'pq'[i % 2]}", "k,u,p")
    assert list(epochal.data.sources.read(texts, Reading(header=False, label="c2")).splits["train"].x.columns) == [
        "c0",
        "c1",
    ]


def test_columns_without_a_name():
    data = load(write(lambda i: f"{i % 7},{i % 5},{'pq'[i % 2]},", "a,b,y,"), label="y")
    assert list(kinds(data)) == ["a", "b"]
    assert "1 column without a name has no value either: left out" in " ".join(data.notes)
    source = write(lambda i: f"{i % 7},{i % 5},{'pq'[i % 2]},{i % 3}", "a,b,y,")
    told = refusal(load, source, label="y")
    assert "column 4 of 4 has no name; give it one in the file, or leave it out with drop='Unnamed: 3'" in told
    assert list(kinds(load(source, label="y", drop="Unnamed: 3"))) == ["a", "b"]


# Numbers


@pytest.mark.parametrize("at", [0, 1, 40, ROWS - 1])
@pytest.mark.parametrize("block", [200_000, 30])
def test_one_odd_cell_among_numbers_is_named_wherever_it_stands(monkeypatch, at, block):
    monkeypatch.setattr("epochal.data.sources.tables.text_tables._BLOCK_CELLS", block)
    source = write(lambda i: f"{'unk' if i == at else i * 0.37},{i % 7},{'pq'[i % 2]}")
    said = note(load(source, label="y"), "column 'a'")
    assert f"as 1 of its {ROWS} cells is no number: t.csv: row {at} (line {at + 2}) holds 'unk'" in said
    assert "missing='unk'" in said
    data = load(source, label="y", missing="unk")
    assert kinds(data) == {"a": "number", "b": "number"}
    assert silent(data)
    assert silent(load(source, label="y", categorical="a", drop="b"))


@pytest.mark.parametrize(
    ("cells", "options", "first"),
    [
        (lambda i: f"{i % 40},{i % 10}", {"decimal": ","}, 0.0),
        (lambda i: f"{i % 9 + 1}.{i % 7}50", {"thousands": "."}, 1050.0),
        (lambda i: f"{i % 9 + 1}.{i % 7}50,5", {"thousands": ".", "decimal": ","}, 1050.5),
        (lambda i: f"{i % 9 + 1} {i % 7}50", {"thousands": " "}, 1050.0),
    ],
)
def test_marks_of_numbers(cells, options, first):
    source = write(lambda i: f"{cells(i)};{'pq'[i % 2]}", "a;y")
    data = load(source, label="y", **options)
    [plan] = data.preprocessing.columns
    assert plan.kind == "number"
    raw = epochal.data.sources.read(source, Reading(label="y", **options)).splits["train"].x.columns["a"]
    assert raw.array[0] == first
    if options != {"thousands": "."}:  # 1.050 is a number otherwise
        said = note(load(source, label="y"), "column 'a' is taken as categories, though most of its 80 cells look like")
        assert "row 0 (line 2) holds" in said
        assert all(f"{name}={mark!r}" in said for name, mark in options.items())


def test_a_group_of_digits_has_three():
    source = write(lambda i: f'"{i % 9 + 1},50",{"pq"[i % 2]}', "a,y")
    assert kinds(load(source, label="y", thousands=","))["a"] == "category", "1,50 is not 150"


def test_amounts_and_percentages_are_named():
    source = write(lambda i: f'"${i % 9 + 1},500",{i % 7}%,{"pq"[i % 2]}')
    data = load(source, label="y")
    for name in "ab":
        assert "write them as plain numbers" in note(data, f"column '{name}'")


def test_words_for_missing_values():
    words = ["", "NA", "<NA>", "#N/A", "n.a.", "None", "?", "-"]
    source = write(lambda i: f"{words[i] if i < len(words) else i * 0.37},{i % 7},{'pq'[i % 2]}")
    data = load(source, label="y")
    assert kinds(data)["a"] == "number"
    assert "cells '?' and '-' are taken as missing values in 'a' (2)" in note(data, "'?'")
    data = load(write(lambda i: f"{'?-+'[i % 3]},{['true', 'no', '?'][i % 3]},{'pq'[i % 2]}"), label="y")
    assert data.preprocessing.columns[0].categories == ("+", "-", "?"), "values among texts"
    assert kinds(data)["b"] == "boolean"
    data = load(
        write(lambda i: f"{-999 if i % 9 == 0 else i * 0.5},{i % 7},{'pq'[i % 2]}"), label="y", missing="-999,x"
    )
    assert data.preprocessing.columns[0].missing


def test_known_words_can_be_values():
    source = write(lambda i: f"{['None', 'x', 'NA'][i % 3]},{i % 7},{['None', 'q'][i % 2]}")
    told = refusal(load, source, label="y")
    assert "has no label, column 'y' is empty or holds a word for a missing value (here 'None'); 40 of 80 rows" in told
    assert "skip_unlabelled=True" in told
    assert "known_missing=False" in told
    data = load(source, label="y", known_missing=False)
    assert data.classes == ("None", "q")
    assert data.preprocessing.columns[0].categories == ("NA", "None", "x")


def test_a_class_that_may_mean_nothing_is_named():
    data = load(write(lambda i: f"{i % 7},{i % 5},{'?xy'[i % 3]}"), label="y")
    assert data.classes == ("?", "x", "y")
    assert "column 'y': '?' is taken as a class" in note(data, "'?'")
    data = load(write(lambda i: f"{i % 7},{i % 5},{'+-'[i % 2]}"), label="y")
    assert data.classes == ("+", "-")
    assert silent(data)


@pytest.mark.parametrize("form", ["csv", "parquet", "frame", "pair"])
def test_rows_without_a_label_are_left_out_if_asked(form):
    frame = pd.DataFrame({"a": np.arange(ROWS) % 7 * 0.5, "b": np.arange(ROWS) % 5, "y": list("pq") * 40})
    frame.loc[[3, 30, 77], "y"] = None
    source = frame
    if form == "pair":
        source = frame.drop(columns="y"), frame.y
    elif form != "frame":
        (frame.to_csv if form == "csv" else frame.to_parquet)(f"t.{form}", index=False)
        source = f"t.{form}"
    options = {} if form == "pair" else {"label": "y"}
    assert "row 3" in refusal(load, source, **options)
    data = load(source, **options, skip_unlabelled=True)
    assert sum(map(len, data)) == ROWS - 3
    assert "3 of 80 rows have no label" in " ".join(data.notes)
    kept = frame.dropna()
    np.testing.assert_array_equal(
        np.sort(np.concatenate([split.y for split in data])), np.sort((kept.y == "q").to_numpy().astype(int))
    )
    same = load(kept.reset_index(drop=True), label="y")
    assert same.fingerprint == data.fingerprint


@pytest.mark.parametrize("encoding", ["latin-1", "utf-16", "cp1252"])
def test_encodings(encoding):
    source = write(lambda i: f"{'éü'[i % 2]},{i % 7},{'pq'[i % 2]}", encoding=encoding)
    assert "encoding='" in refusal(load, source, label="y")
    data = load(source, label="y", encoding=encoding)
    assert data.preprocessing.columns[0].categories == ("é", "ü")
    with pytest.raises(RecipeError, match="encoding: must be one that Python knows"):
        Reading(encoding="latin-99")
    assert "is no ascii text" in refusal(load, source, label="y", encoding="ascii")


# Categories


@pytest.mark.parametrize("form", ["frame", "parquet", "feather"])
def test_the_categories_of_pandas_are_obeyed(form):
    codes = np.arange(ROWS) % 3
    frame = pd.DataFrame({"a": pd.Categorical(codes * 10), "b": pd.Categorical(codes > 0), "y": list("pq") * 40})
    source = frame if form == "frame" else saved(frame, form)
    data = load(source, label="y")
    assert [plan.categories for plan in data.preprocessing.columns] == [("0", "10", "20"), ("false", "true")]


@pytest.mark.parametrize("form", ["csv", "parquet", "frame"])
def test_columns_named_as_categories_are_some(form):
    frame = pd.DataFrame({"zip": np.arange(ROWS) % 4 * 1000, "a": np.arange(ROWS) % 7, "y": list("pq") * 40})
    source = frame
    if form != "frame":
        (frame.to_csv if form == "csv" else frame.to_parquet)(f"t.{form}", index=False)
        source = f"t.{form}"
    data = load(source, label="y", categorical=["zip"])
    assert data.preprocessing.columns[0].categories == ("0", "1000", "2000", "3000")
    assert "there is no column 'nothing' (categorical=…)" in refusal(load, source, label="y", categorical="nothing")
    assert "named by label=… and categorical=…" in refusal(load, source, label="y", categorical="y")


def test_text_of_numbers_in_a_typed_table():
    values = [str(i * 0.5) for i in range(ROWS)]
    frame = pd.DataFrame({"a": values, "b": ["?", *values[1:]], "y": list("pq") * 40})
    with warnings.catch_warnings():
        warnings.simplefilter("error", DataWarning)
        data = load(frame, label="y")
    assert "all its cells are numbers; make it a column of numbers" in note(data, "column 'a'")
    assert "1 of its 80 cells is no number: frame: row 0 holds '?'; mend the cells" in note(data, "column 'b'")
    assert silent(load(frame, label="y", categorical=["a", "b"]))


def test_whole_numbers_that_float32_cannot_tell_apart():
    y = np.arange(ROWS) % 2
    data = load((np.stack([np.arange(ROWS), 2**24 + y], axis=1), y))
    assert "feature 1 holds whole numbers that become one as float32, such as 16777216 and 16777217" in note(
        data, "float32"
    )
    for x in (2**24 + 2 * y, y * 2**20, y * 1e9 + 0.5):
        assert not any("float32" in note for note in load((np.stack([np.arange(ROWS) % 9, x], 1), y)).notes)
    ids = np.array([2**40 + i % 9 for i in range(ROWS)])
    frame = pd.DataFrame({"a": np.where(np.arange(ROWS) % 10, ids, 0), "b": ids, "y": list("pq") * 40})
    data = load(frame, label="y")
    assert "become the same feature as another one (float32)" in note(data, "column 'a'")
    assert not any("column 'b'" in note for note in data.notes), "standardised, they differ"


# Labels


@pytest.mark.parametrize("form", ["frame", "parquet", "pair", "arrays"])
def test_a_label_that_ends_in_nul_is_refused(form):
    frame = pd.DataFrame({"a": np.arange(ROWS) % 7, "y": ["dog", "cat", "cat\0", "dog"] * 20})
    source = {
        "frame": lambda: frame,
        "parquet": lambda: saved(frame, "parquet"),
        "pair": lambda: (frame[["a"]], frame.y),
        "arrays": lambda: (frame[["a"]].to_numpy(), frame.y.to_numpy(dtype=object)),
    }[form]()
    told = refusal(load, source, **({"label": "y"} if form in ("frame", "parquet") else {}))
    assert "row 2" in told
    assert r"'cat\x00'" in told
    assert "whose last character is NUL" in told
    if form in ("frame", "parquet"):
        groups = refusal(load, frame.assign(b=1), label="a", group="y")
        assert "row 2" in groups, "groups that differ must not become one"


def test_digits_of_other_scripts_are_labels_of_their_own():
    assert load(write(lambda i: f"{i % 7},{i % 5},{['١.0', '1'][i % 2]}"), label="y").classes == ("1", "١.0")


def test_two_classes_of_one_name():
    bunch = datasets.load_iris()
    assert "two classes are called 'a'" in refusal(load, bunch | {"target_names": ["a", "b", "a"]})


# All problems at once


def test_all_columns_that_cannot_be_features_are_named_at_once():
    frame = pd.DataFrame({"id": [f"k{i}" for i in range(1200)], "when": pd.date_range("2024", periods=1200),
                          "of": [[i] for i in range(1200)], "x, y": [f"m{i}" for i in range(1200)],
                          "a": np.arange(1200) % 7, "y": list("pq") * 600})  # fmt: skip
    told = refusal(load, frame, label="y")
    assert "4 columns cannot be features" in told
    for words in ("'id' has 1,200 different texts", "'when' holds dates or times", "'of' holds list<"):
        assert words in told
    assert "drop=['when', 'of', 'id', 'x, y']" in told
    assert kinds(load(frame, label="y", drop=["when", "of", "id", "x, y"])) == {"a": "number"}
    assert kinds(load(frame, label="y", drop="when,of,id,x, y".split(",", 3))) == {"a": "number"}
    frame.drop(columns=["when", "of"]).to_csv("t.csv", index=False)
    assert "drop=['id', 'x, y']" in refusal(load, "t.csv", label="y", test_fraction=0.05, valid_fraction=0.05)


@pytest.mark.parametrize("form", ["csv", "parquet"])
def test_a_column_without_a_value_is_left_out_of_other_rows_too(form):
    frame = pd.DataFrame({"a": np.arange(ROWS) % 7 * 0.5, "empty": None, "y": list("pq") * 40})
    (frame.to_csv if form == "csv" else frame.to_parquet)(f"t.{form}", index=False)
    data = load(f"t.{form}", label="y")
    assert list(kinds(data)) == ["a"]
    assert "no value in any train row, so no feature: 'empty'" in " ".join(data.notes)
    epochal.fit(epochal.logistic(), data, epochal.Recipe(epochs=1), out="run")
    frame.assign(empty="now").drop(columns="y").to_csv("new.csv", index=False)
    reading = load_run("run").preparation.merged(Reading())
    raw = epochal.data.sources.read("new.csv", reading, labelled=False)
    assert list(raw.splits["train"].x.columns) == ["a"]
    frame.drop(columns="empty").to_csv("scored.csv", index=False)
    assert list(epochal.data.sources.read("scored.csv", reading).splits["train"].x.columns) == ["a"], (
        "it need not be there"
    )
    again = epochal.runs.run.training_data(epochal.runs.run.Path("run"))
    assert again.fingerprint == data.fingerprint


# Warnings


def test_identifiers_among_the_features():
    source = write(lambda i: f"{i},u{i},{i * 7919 % 101 * 0.5},{'pq'[i % 2]}", "row,user,a,y")
    with pytest.warns(DataWarning, match="'user' has 56 different values in 56 rows; 'row' counts the rows, or orders"):
        data = load(source, label="y")
    assert "identifiers are no features; leave them out with drop='user,row'" in note(data, "identifiers")
    assert silent(load(source, label="y", drop="user,row"))
    shuffled = np.random.default_rng(0).permutation(ROWS)
    with pytest.warns(DataWarning, match="'a' counts the rows"):
        load(pd.DataFrame({"a": shuffled, "y": list("pq") * 40}), label="y")


def test_labels_that_look_like_a_regression_target():
    frame = datasets.load_diabetes(as_frame=True).frame
    with pytest.warns(DataWarning, match="the labels are 214 classes, .* regression target"):
        load(frame.astype({"target": int}), label="target")


def test_constant_columns_and_dates():
    source = write(lambda i: f"7,x,2024-0{i % 9 + 1}-15,{i % 5}/3/99,{i % 7},{'pq'[i % 2]}", "a,b,day,us,c,y")
    data = load(source, label="y")
    assert "constant in the train rows, so they tell nothing: 'a', 'b'" in " ".join(data.notes)
    assert "order the rows by it with time='day'" in note(data, "column 'day' looks like dates (such as '2024-01-15')")
    assert "time=" not in note(data, "column 'us' looks like dates")


REAL = {
    "iris": datasets.load_iris, "wine": datasets.load_wine, "cancer": datasets.load_breast_cancer,
}  # fmt: skip


@pytest.mark.parametrize("name", REAL)
def test_nothing_is_said_of_sound_tables(name):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        data = load(REAL[name](as_frame=True))
    assert [note for note in data.notes if "held out" not in note and "identical" not in note] == [
        f"bunch: {data.example_shape[0]} numbers"
    ]


# Options


@pytest.mark.parametrize(
    ("make", "options", "told"),
    [
        (lambda: "digits", {"label": "y"}, "label='y': is for tables, and digits is a data set known by its name"),
        (lambda: (np.ones((9, 2)), np.ones(9, int)), {"split_column": "s"}, "split_column='s': is for tables"),
        (lambda: write(lambda i: f"{i},1,p"), {"image_size": "3x3", "label": "y"}, "image_size='3x3': is for images"),
        (lambda: write(lambda i: f"{i},1,p"), {"color": "rgb", "label": "y"}, "color='rgb': is for images"),
        (lambda: saved(noise(), "parquet"), {"separator": ";", "label": "y"}, "separator=';': is for text tables"),
        (lambda: noise(), {"decimal": ",", "label": "y"}, "decimal=',': is for text tables (CSV), and the source is"),
        (lambda: (noise(), noise().y), {"group": "a"}, "group='a': is for tables, and the source is a pair of a frame"),
        (lambda: (noise(), noise().y), {"label": "a"}, "label='a': is for tables, and the source is a pair of a frame"),
        (lambda: "npz", {"decimal": ",", "missing": ["x"]}, "decimal=',': is for text tables"),
        (lambda: "npz", {"drop": "a,b"}, "drop=['a,b']: is for tables"),
        (lambda: "npz", {"skip_unlabelled": True}, "skip_unlabelled=True: is for tables"),
    ],
)
def test_options_that_a_source_has_no_use_for_are_refused(make, options, told):
    source = make()
    if isinstance(source, str) and source == "npz":
        np.savez("x.npz", x=np.ones((9, 2)), y=np.arange(9) % 2)
        source = "x.npz"
    with pytest.raises(RecipeError) as caught:
        load(source, **options)
    assert told in str(caught.value)
    assert "leave it out" in str(caught.value)


def test_options_that_a_run_brings_are_not_refused_and_its_options_hold():
    source = write(lambda i: f"{i % 40},{i % 10};{['-9', '7'][i % 2]};{'pq'[i % 2]}", "a;b;y")
    options = {"decimal": ",", "missing": "-9", "categorical": "b", "separator": ";", "label": "y"}
    data = load(source, **options)
    epochal.fit(epochal.logistic(), data, epochal.Recipe(epochs=1), out="run")
    reading = load_run("run").preparation.merged(Reading())
    assert {name: getattr(reading, name) for name in options} == {
        "decimal": ",", "missing": ("-9",), "categorical": ("b",), "separator": ";", "label": "y",
    }  # fmt: skip
    table = epochal.data.sources.read(source, reading, labelled=False).splits["train"].x
    assert [column.kind for column in table.columns.values()] == ["number", "category"]
    frame = pd.DataFrame({"a": [0.5, 1.5], "b": [7, 7]})
    frame.to_parquet("t.parquet")
    for other in (frame, "t.parquet"):
        table = epochal.data.sources.read(other, reading, labelled=False).splits["train"].x
        assert table.columns["b"].categories == ("7",)
    given = load_run("run").preparation.merged(Reading(thousands=" "))
    with pytest.raises(RecipeError, match="thousands=' ': is for text tables"):
        epochal.data.sources.read("t.parquet", given, labelled=False)


@pytest.mark.parametrize(
    ("options", "told"),
    [
        ({"drop": 3}, "drop: must be text, or a list of texts"),
        ({"missing": [1]}, "missing: must be text, or a list of texts"),
        ({"decimal": "ab"}, "decimal: must be one character"),
        ({"thousands": "7"}, "thousands: must be one character"),
        ({"decimal": ",", "thousands": ","}, "decimal, thousands: must be two marks"),
        ({"encoding": "base64"}, "encoding: must be one that Python knows"),
    ],
)
def test_options_that_make_no_sense(options, told):
    with pytest.raises(RecipeError, match=told):
        Reading(**options)


def test_names_of_splits_are_the_same_everywhere():
    x, y = np.ones((6, 2)), np.arange(6) % 2
    frame = pd.DataFrame({"a": np.arange(60) % 7, "s": ["train", "Dev", "TEST"] * 20, "y": list("pq") * 30})
    assert [len(split) for split in load(frame, label="y", split_column="s")] == [20, 20, 20]
    for name in ("valid", "validation", "val", "dev"):
        np.savez("x.npz", **{f"x_{part}": x for part in ("train", name, "test")},
                 **{f"y_{part}": y for part in ("train", name, "test")})  # fmt: skip
        assert [len(split) for split in load("x.npz")] == [6, 6, 6]
        assert [len(split) for split in load({"train": (x, y), name: (x, y), "test": (x, y)})] == [6, 6, 6]
        pairs = {part: frame[["a", "y"]] for part in ("train", name, "test")}
        assert [len(split) for split in load(pairs, label="y")] == [60, 60, 60]


def test_tables_larger_than_memory_have_the_same_remarks(monkeypatch, tmp_path):
    monkeypatch.setenv("EPOCHAL_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr("epochal.data.sources.tables.text_tables._BLOCK_CELLS", 60)
    cells = lambda i: f"{'unk' if i == 41 else i * 0.37},{i % 9},{'?' if i == 3 else i % 7}"  # noqa: E731
    source = write(lambda i: f"{i},{cells(i)},{i},{'pq'[i % 2]}", ",a,code,c,row,y")
    options = {"label": "y", "categorical": "code", "drop": "row"}
    small = load(source, **options)
    large = load(source, **options, host_memory="20kB")
    again = load(source, **options, host_memory="20kB")
    assert large.fingerprint == small.fingerprint == again.fingerprint
    kept = [[n for n in data.notes if "memory granted" not in n] for data in (small, large, again)]
    assert len(large.notes) > len(kept[1]), "nothing was kept in a file"
    assert kept[0] == kept[1] == kept[2]
    assert "row 41 (line 43) holds 'unk'" in note(large, "column 'a'")


def test_a_parquet_file_larger_than_memory_has_no_index_either(monkeypatch, tmp_path):
    monkeypatch.setenv("EPOCHAL_CACHE", str(tmp_path / "cache"))
    parquet.write_table(pa.Table.from_pandas(shuffled().rename_axis("id")), "t.parquet")
    small = load("t.parquet", label="y")
    for _ in range(2):
        large = load("t.parquet", label="y", host_memory="6kB")
        assert any("memory granted" in note for note in large.notes)
        assert list(kinds(large)) == list("abcd")
        assert large.fingerprint == small.fingerprint
        assert "('id') is no feature" in note(large, "index")


def test_the_door_decides_how_options_are_written(monkeypatch):
    source = write(lambda i: f"{i},u{i},{'pq'[i % 2]}")
    monkeypatch.setattr("epochal.errors._ON_COMMAND_LINE", [True])
    with pytest.raises(DataError, match=r"is it --label y\?"):
        load(source)
    with pytest.warns(DataWarning, match="leave them out with --drop b,a"):
        load(source, label="y")
