"""Data sets as `datasets` saves them: the layout of its version 5, written here with pyarrow alone."""

import io
import json
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pyarrow as pa
import pytest
from PIL import Image

from campaigns import share
from epochal import Reading, load
from epochal.data import sources
from epochal.data.sources.huggingface import arrow_columns, files
from epochal.errors import RecipeError
from epochal.system import isolated
from fuzzing import mutants
from refusals import refusal, value_or_refusal
from sourced import read
from work import processor_seconds

FUZZ = share("FUZZ", 500, short=100)
LABEL = {"names": ["zero", "one", "two"], "_type": "ClassLabel"}
IMAGE = pa.struct([("bytes", pa.binary()), ("path", pa.string())])


def pixels_of(rows: int, seed: int = 0, shape: tuple[int, ...] = (5, 4)) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, (rows, *shape), np.uint8)


def encoded(x: np.ndarray) -> pa.Array:
    rows = []
    for image in x:
        buffer = io.BytesIO()
        Image.fromarray(image).save(buffer, "PNG")
        rows.append({"bytes": buffer.getvalue(), "path": None})
    return pa.array(rows, IMAGE)


def image_table(rows: int = 12, seed: int = 0, **more) -> pa.Table:
    labels = pa.array(np.arange(rows) % 3, pa.int64())
    return pa.table({"image": encoded(pixels_of(rows, seed)), "label": labels, **more})


def stream(table: pa.Table, rows: int = 5) -> bytes:
    sink = io.BytesIO()
    with pa.ipc.new_stream(sink, table.schema) as writer:
        writer.write_table(table, max_chunksize=rows)
    return sink.getvalue()


def save(folder: Path, table: pa.Table, features: dict | None = None, shards: int = 1) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    names = [f"data-{i:05}-of-{shards:05}.arrow" for i in range(shards)]
    each = -(-len(table) // shards)
    for i, name in enumerate(names):
        (folder / name).write_bytes(stream(table.slice(i * each, each)))
    state = {"_data_files": [{"filename": name} for name in names], "_fingerprint": "0", "_split": None}
    (folder / "state.json").write_text(json.dumps(state))
    features = {"image": {"_type": "Image"}, "label": LABEL} if features is None else features
    (folder / "dataset_info.json").write_text(json.dumps({"features": features, "license": ""}))
    return folder


def save_splits(folder: Path, **tables: pa.Table) -> Path:
    for name, table in tables.items():
        save(folder / name, table)
    (folder / "dataset_dict.json").write_text(json.dumps({"splits": list(tables)}))
    return folder


class Features(dict):
    """As of `datasets`: a dictionary that knows its plain form."""

    def to_dict(self):
        return dict(self)


def held(table: pa.Table, indices: list[int] | None = None, features: dict | None = None) -> SimpleNamespace:
    order = None if indices is None else pa.table({"indices": pa.array(indices, pa.uint64())})
    told = Features({"image": {"_type": "Image"}, "label": LABEL} if features is None else features)
    return SimpleNamespace(
        data=SimpleNamespace(table=table, column_names=table.column_names), _indices=order, features=told
    )


# Images


@pytest.mark.parametrize("shards", [1, 2, 5])
def test_images_and_class_labels(tmp_path, shards):
    raw = read(save(tmp_path / "d", image_table(), shards=shards))
    x, y = raw.splits["train"]
    np.testing.assert_array_equal(x, pixels_of(12))
    assert y.tolist() == ["zero", "one", "two"] * 4
    assert len(raw.files) == shards
    assert raw.notes[0] == "the labels are in column 'label', the only one of classes"
    assert not x.flags.writeable


def test_splits_have_the_names_of_datasets(tmp_path):
    folder = save_splits(tmp_path / "d", train=image_table(), validation=image_table(6, 1), test=image_table(9, 2))
    data = load(folder)
    assert [len(split) for split in data] == [12, 6, 9]
    assert data.classes == ("one", "two", "zero")
    np.testing.assert_array_equal(data.test.x, pixels_of(9, 2))
    assert data.divisor == 255


def test_images_are_resized_and_coloured_as_in_folders(tmp_path):
    folder = save(tmp_path / "d", image_table())
    assert read(folder, image_size="8x9", color="rgb").splits["train"].x.shape == (12, 8, 9, 3)


def test_other_columns_beside_images_are_left_out_and_said(tmp_path):
    table = image_table(name=pa.array([f"{i}.png" for i in range(12)]), number=pa.array(range(12)))
    raw = read(save(tmp_path / "d", table))
    assert raw.splits["train"].x.shape == (12, 5, 4)
    assert "left out beside the images: name, number" in raw.notes


def test_groups_and_times_and_splits_may_be_columns(tmp_path):
    table = image_table(
        who=pa.array(list("aabbccddeeff")), at=pa.array(range(12)), part=pa.array(["train", "test", "val"] * 4)
    )
    folder = save(tmp_path / "d", table)
    assert read(folder, group="who").splits["train"].groups.tolist() == list("aabbccddeeff")
    assert read(folder, time="at").splits["train"].times.tolist() == list(range(12))
    raw = read(folder, split_column="part")
    np.testing.assert_array_equal(raw.splits["test"].x, pixels_of(12)[1::3])
    assert raw.splits["valid"].y.tolist() == ["two"] * 4


def test_labels_are_not_needed_to_predict(tmp_path):
    for name, table in (("a", image_table()), ("b", image_table().drop_columns("label"))):
        folder = save(tmp_path / name, table, None if name == "a" else {"image": {"_type": "Image"}})
        part = sources.read(folder, Reading(), labelled=False).splits["train"]
        assert part.y is None
        np.testing.assert_array_equal(part.x, pixels_of(12))
    assert read(folder, labels_from=list(range(12))).splits["train"].y.tolist() == list(range(12))


@pytest.mark.parametrize(
    ("value", "said"),
    [
        ({"bytes": None, "path": "/etc/hosts"}, "holds no bytes of an image"),
        (None, "holds no bytes of an image"),
        ({"bytes": b"", "path": None}, "byte 0: the image is empty"),
        ({"bytes": b"no image", "path": None}, "cannot be decoded"),
    ],
)
def test_rows_without_an_image_are_named(tmp_path, value, said):
    table = image_table()
    rows = table["image"].to_pylist()
    rows[7] = value
    folder = save(tmp_path / "d", table.set_column(0, "image", pa.array(rows, IMAGE)), shards=2)
    told = refusal(read, folder)
    assert told.startswith(f"{folder / 'data-00001-of-00002.arrow'}: row 1: ")
    assert said in told


def test_a_label_that_is_no_class_is_named(tmp_path):
    for value, said in ((3, "row 7 holds class 3, but 3 classes have a name"), (-1, "row 7: has no label")):
        codes = [0, 1, 2, 0, 1, 2, 0, value, 0, 0, 0, 0]
        folder = save(tmp_path / str(value), image_table().set_column(1, "label", pa.array(codes)))
        assert said in refusal(read, folder)


# Cells and arrays


def test_cells_become_a_table(tmp_path):
    table = pa.table(
        {"a": [1.5, None, 3.0], "b": ["x", "y", "x"], "c": [True, False, None], "k": [0, 2, 1], "y": ["u", "v", "u"]}
    )
    folder = save(tmp_path / "d", table, {"k": LABEL})
    raw = read(folder, label="y")
    x, y = raw.splits["train"]
    assert {name: column.kind for name, column in x.columns.items()} == {
        "a": "number", "b": "category", "c": "boolean", "k": "category",
    }  # fmt: skip
    assert y.tolist() == ["u", "v", "u"]
    assert x.columns["k"].values.tolist() == [0, 2, 1]
    assert x.columns["k"].categories == ("zero", "one", "two")
    assert read(folder).splits["train"].y.tolist() == ["zero", "two", "one"]


def test_which_label_is_asked_where_there_are_several_or_none(tmp_path):
    table = pa.table({"a": [1, 2], "fine": [0, 1], "coarse": [1, 0]})
    folder = save(tmp_path / "d", table, {"fine": LABEL, "coarse": LABEL})
    assert "which column holds the labels is not said" in refusal(read, folder)
    assert read(folder, label="coarse").splits["train"].y.tolist() == ["one", "zero"]
    assert "there is no column 'none'" in refusal(read, folder, label="none")


@pytest.mark.parametrize(
    "kind",
    [pa.list_(pa.list_(pa.float32())), pa.list_(pa.list_(pa.float32(), 3)), pa.large_list(pa.large_list(pa.int16()))],
)
def test_lists_of_one_shape_become_arrays(tmp_path, kind):
    x = np.arange(24).reshape(4, 2, 3)
    table = pa.table({"x": pa.array(x.tolist(), kind), "label": pa.array([0, 1, 2, 0])})
    found = read(save(tmp_path / "d", table, {"label": LABEL}, shards=2)).splits["train"].x
    np.testing.assert_array_equal(found, x)
    assert found.dtype == (np.int16 if pa.types.is_large_list(kind) else np.float32)


@pytest.mark.parametrize(
    ("rows", "said"),
    [
        ([[1, 2], [3, 4], [5]], "row 2 holds a list of another length"),
        ([[1, 2], None, [5, 6]], "row 1 holds a missing list"),
        ([[1, 2], [3, None], [5, 6]], "row 1 holds a missing value"),
        ([[], [], []], "row 0 holds an empty list"),
        ([["a"], ["b"], ["c"]], "row 0 holds string in lists"),
        ([[[1], [2]], [[3], [4]], [[5], [6, 7]]], "row 2 holds a list of another length"),
    ],
)
def test_lists_of_other_shapes_are_refused_with_the_row(tmp_path, rows, said):
    folder = save(tmp_path / "d", pa.table({"x": rows, "label": [0, 1, 2]}), {"label": LABEL})
    assert said in refusal(read, folder)


def test_one_column_of_images_or_arrays_can_be_the_features(tmp_path):
    two = image_table().append_column("other", encoded(pixels_of(12)))
    folder = save(tmp_path / "two", two)
    assert "columns 'image', 'other' hold images" in refusal(read, folder)
    assert read(folder, drop="image").splits["train"].x.shape == (12, 5, 4)
    folder = save(tmp_path / "mixed", pa.table({"x": [[1], [2]], "n": [1, 2], "label": [0, 1]}), {"label": LABEL})
    assert "column 'x' holds arrays, and 'n' cells besides" in refusal(read, folder)
    assert read(folder, drop="n").splits["train"].x.tolist() == [[1], [2]]


# Objects


def test_objects_give_what_folders_give(tmp_path):
    table = image_table()
    expected = read(save(tmp_path / "d", table)).splits["train"]
    for source in (held(table), {"train": held(table)}, held(pa.concat_tables([table.slice(0, 5), table.slice(5)]))):
        x, y = read(source).splits["train"]
        np.testing.assert_array_equal(x, expected.x)
        np.testing.assert_array_equal(y, expected.y)


def test_objects_show_the_rows_that_they_index(tmp_path):
    x, y = read(held(image_table(), [11, 0, 0, 4])).splits["train"]
    np.testing.assert_array_equal(x, pixels_of(12)[[11, 0, 0, 4]])
    assert y.tolist() == ["two", "zero", "zero", "one"]
    table = pa.table({"x": pa.array([[1, 2], [3, 4], [5, 6]], pa.list_(pa.int64(), 2)), "label": [0, 1, 2]})
    found = read(held(table, [2, 1], {"label": LABEL})).splits["train"]
    assert found.x.tolist() == [[5, 6], [3, 4]]
    assert found.y.tolist() == ["two", "one"]
    cells = read(held(pa.table({"a": [1.0, 2.0, 3.0], "label": [0, 1, 2]}), [2, 0], {"label": LABEL})).splits["train"]
    assert cells.x.columns["a"].values.tolist() == [3, 1]


def test_images_of_objects_may_be_files(tmp_path):
    rows = []
    for row, image in enumerate(pixels_of(3)):
        Image.fromarray(image).save(tmp_path / f"{row}.png")
        rows.append({"bytes": None, "path": str(tmp_path / f"{row}.png")})
    table = pa.table({"image": pa.array(rows, IMAGE), "label": [0, 1, 2]})
    np.testing.assert_array_equal(read(held(table)).splits["train"].x, pixels_of(3))
    (tmp_path / "1.png").write_bytes(b"x")
    assert refusal(read, held(table)).startswith(f"datasets: row 1: {tmp_path / '1.png'}: cannot be decoded")
    (tmp_path / "1.png").unlink()
    assert refusal(read, held(table)).startswith(f"{tmp_path / '1.png'}: cannot be read")


def test_rows_of_objects_are_named_as_they_are_indexed():
    table = image_table()
    rows = table["image"].to_pylist()
    rows[7] = {"bytes": b"x", "path": None}
    bad = table.set_column(0, "image", pa.array(rows, IMAGE))
    assert refusal(read, held(bad, [1, 7])).startswith("datasets: row 1: cannot be decoded")
    assert refusal(read, {"test": held(bad), "train": held(table)}).startswith("datasets: test: row 7: ")


def test_splits_of_other_names_are_refused(tmp_path):
    folder = save_splits(tmp_path / "d", train=image_table(), unsupervised=image_table())
    assert "holds the splits train, unsupervised; expected train" in refusal(read, folder)
    assert "holds the splits train, other" in refusal(
        read, {"train": held(image_table()), "other": held(image_table())}
    )


# Folders and files that are not sound


@pytest.mark.parametrize(
    ("name", "text", "said"),
    [
        ("state.json", "", "the file is empty"),
        ("state.json", "{", "is no JSON"),
        ("state.json", "[" * 100_000, "is no JSON"),
        ("state.json", "[]", "holds list, expected an object"),
        ("state.json", "{}", "names no data files"),
        ("state.json", '{"_data_files": [{"filename": "../x.arrow"}]}', "names no data files that lie beside it"),
        ("state.json", '{"_data_files": [{"filename": "none.arrow"}]}', "names no data files that lie beside it"),
        ("state.json", '{"_data_files": [3, {"filename": 3}]}', "names no data files"),
        ("dataset_info.json", "\xff", "is no JSON"),
    ],
)
def test_records_that_are_not_sound_are_refused(tmp_path, name, text, said):
    folder = save(tmp_path / "d", image_table())
    (folder / name).write_text(text, encoding="latin-1")
    told = refusal(read, folder)
    assert told.startswith(f"{folder / name}: ")
    assert said in told


@pytest.mark.parametrize("features", [{}, [], {"label": 3}, {"label": {"_type": "ClassLabel", "names": [1, None]}}])
def test_features_of_another_form_say_nothing(tmp_path, features):
    folder = save(tmp_path / "d", image_table(), features)
    assert "which column holds the labels is not said" in refusal(read, folder)
    assert read(folder, label="label").splits["train"].y.tolist() == ["0", "1", "2"] * 4


def test_an_old_index_is_refused(tmp_path):
    folder = save(tmp_path / "d", image_table())
    state = json.loads((folder / "state.json").read_text()) | {"_indices_data_files": [{"filename": "indices.arrow"}]}
    (folder / "state.json").write_text(json.dumps(state))
    assert "the rows have an index (an old form)" in refusal(read, folder)


def test_empty_splits_are_refused(tmp_path):
    assert "has 2 columns, but no row" in refusal(read, save(tmp_path / "d", image_table().slice(0, 0)))


def test_objects_of_a_program_that_take_more_than_the_limit_are_refused():
    table = pa.table({"x": pa.array(np.zeros((4, 1000)).tolist()), "label": [0, 1, 2, 0]})
    assert "takes more than 16 kB, the memory granted for reading" in refusal(
        arrow_columns.arrays, [("data", 0, table.combine_chunks().to_batches()[0])], "x", 16_000
    )


def all_cut(data, column, limit):
    """In a child: sizes to which the file can be cut without a refusal."""
    path = Path("cut.arrow").resolve()
    kept = []
    for size in range(len(data)):
        path.write_bytes(bytes(data[:size]))
        found, told = value_or_refusal(files.outline, [str(path)])
        assert found or told.startswith(str(path))
        kept += [size] if found else []
    return kept


def test_every_truncation_is_refused(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    table = pa.table({"x": [1, 2, 3, 4], "label": [0, 1, 2, 0]})
    data = np.frombuffer(stream(table, 2), np.uint8)
    assert isolated.call(all_cut, data, "x", 1, where="cut", memory_bytes=1 << 28, seconds=600) == []


def read_all(seeds, count, seed, limit):
    """In a child: how many mutants were read, and which of them took more than a second of the processor."""
    path = Path("mutant.arrow").resolve()
    slow, read_whole = [], 0
    for data in mutants([bytes(one) for one in seeds], count, seed):
        path.write_bytes(data)
        begun = processor_seconds()
        found, told = value_or_refusal(files.outline, [str(path)])
        kinds = dict(zip(found["names"], found["kinds"], strict=True)) if found else {}
        assert found or told.startswith(str(path))
        for name, kind in kinds.items():
            if sum(found["rows"]) < 1 or kind == "cell":
                continue
            try:
                if kind == "array":
                    value, told = value_or_refusal(files.read_arrays, [str(path)], name, limit)
                else:
                    asked = [sum(found["rows"]), limit, None, "auto", None, False]
                    value, told = value_or_refusal(files.decode_rows, asked, [str(path)], name, 0, sum(found["rows"]))
            except MemoryError:
                continue
            assert value is not None or told.startswith(str(path))
            read_whole += value is not None
        if processor_seconds() - begun > 1:
            slow.append(data.hex())
    return {"slow": slow, "read": read_whole}


@pytest.mark.campaign
def test_mutants_are_read_or_refused(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    arrays = pa.table({"x": [[1, 2], [3, 4], [5, 6]], "y": [[[1.5]], [[2.5]], [[3.5]]], "label": [0, 1, 2]})
    seeds = [np.frombuffer(stream(table, 2), np.uint8) for table in (arrays, image_table(3))]
    told = isolated.call(read_all, seeds, FUZZ, 11, 1 << 24, where="mutants", memory_bytes=1 << 28, seconds=600 + FUZZ)
    assert told["slow"] == []
    assert 0 < told["read"] < 2 * FUZZ


def saved(folder: Path, names: list[str], rows: int = 12) -> Path:
    folder.mkdir()
    table = pa.table(
        {"a": np.random.default_rng(0).normal(size=rows), "label": pa.array(np.arange(rows) % 3, pa.int64())}
    )
    (folder / "data.arrow").write_bytes(stream(table))
    (folder / "state.json").write_text(json.dumps({"_data_files": [{"filename": "data.arrow"}]}))
    features = {"label": {"names": names, "_type": "ClassLabel"}}
    (folder / "dataset_info.json").write_text(json.dumps({"features": features}))
    return folder


def test_declared_names_of_classes_stay_as_they_are(tmp_path):
    for i, names in enumerate((["3.0", "3", "2"], ["True", "true", "x"], ["1.0", "0.5", "2"])):
        assert load(saved(tmp_path / str(i), names, 60)).classes == tuple(sorted(names))


@pytest.mark.parametrize(
    ("names", "told"),
    [
        (["a", "a", "b"], "column 'label': classes 0 and 1 are both called 'a'; rename one of them"),
        (["cat", "cat\0", "dog"], r"column 'label': class 1 is called 'cat\x00', whose last character is NUL"),
    ],
)
def test_declared_names_that_would_become_one_are_refused(tmp_path, names, told):
    assert told in refusal(load, saved(tmp_path / "ds", names))


def test_options_for_images_are_refused_where_there_are_none(tmp_path):
    with pytest.raises(
        RecipeError, match=r"image_size='3x3': is for images, and .* has no column of images; leave it out"
    ):
        load(saved(tmp_path / "ds", ["a", "b", "c"]), image_size="3x3")


def test_rows_without_a_label_may_be_left_out(tmp_path):
    table = image_table(30)
    labels = table["label"].to_numpy().copy()
    labels[[2, 7]] = -1
    table = table.set_column(1, "label", pa.array(labels, pa.int64()))
    folder = tmp_path / "ds"
    folder.mkdir()
    (folder / "data.arrow").write_bytes(stream(table))
    (folder / "state.json").write_text(json.dumps({"_data_files": [{"filename": "data.arrow"}]}))
    (folder / "dataset_info.json").write_text(json.dumps({"features": {"label": LABEL}}))
    assert "row 2: has no label" in refusal(read, folder)
    raw = read(folder, skip_unlabelled=True)
    kept = np.delete(np.arange(30), [2, 7])
    np.testing.assert_array_equal(raw.splits["train"].x, pixels_of(30)[kept])
    assert raw.splits["train"].y.tolist() == [LABEL["names"][i % 3] for i in kept]
    assert any("2 of 30 rows have no label" in note for note in raw.notes)
