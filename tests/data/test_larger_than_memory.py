"""Tables, images and `datasets` folders beyond the host's memory, against the same sources read in memory."""

import gzip
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st
from PIL import Image
from pyarrow import feather, parquet

import epochal
from epochal.data.rows import FileRows
from epochal.data.sources.images import workers
from epochal.data.sources.tables import column_builder, text_tables
from epochal.system import disk_cache, isolated
from refusals import refusal, value_or_refusal

CELL = st.one_of(
    st.sampled_from(["0", "-1.5", "2e-7", "1e300", "3.14159", "-0.0", "12345678901", "+4"]),
    st.sampled_from(["", "NA", "true", "no", "red", "blue", "a,b", 'q"q', "two\nlines", "1", "0", " 7 ", "é"]),
)


@pytest.fixture
def cache(tmp_path, monkeypatch):
    monkeypatch.setenv("EPOCHAL_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache" / "rows"


def equal(small: epochal.Dataset, full: epochal.Dataset) -> None:
    """Everything but the notes of the cache is the same."""
    for ours, theirs in zip(small, full, strict=True):
        np.testing.assert_array_equal(np.asarray(ours.x), np.asarray(theirs.x))
        np.testing.assert_array_equal(ours.y, theirs.y)
        assert (ours.x.dtype, ours.divisor) == (theirs.x.dtype, theirs.divisor)
    assert (small.fingerprint, small.classes, small.preprocessing) == (
        full.fingerprint,
        full.classes,
        full.preprocessing,
    )
    assert [note for note in small.notes if "the memory granted for reading: kept in" not in note] == list(full.notes)


def compared(path, host: int, **options) -> epochal.Dataset | None:
    """What is read with little memory, after a comparison with plenty; None where both are refused alike."""
    full, told = value_or_refusal(epochal.load, path, **options)
    if full is None:
        assert refusal(epochal.load, path, host_memory=host, **options) == told
        return None
    small = epochal.load(path, host_memory=host, **options)
    equal(small, full)
    equal(epochal.load(path, host_memory=host, **options), full)
    return small


def quoted(cell: str) -> str:
    return '"' + cell.replace('"', '""') + '"' if set(cell) & set(',"\n') else cell


@pytest.mark.filterwarnings("ignore:.*identical to a train row")
@settings(max_examples=40, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.filter_too_much])
@given(
    columns=st.lists(st.lists(CELL, min_size=60, max_size=60), min_size=1, max_size=4),
    host=st.sampled_from([700, 1100, 1500]),
    block=st.sampled_from([16, 50]),
    packed=st.booleans(),
)
def test_any_text_table_is_the_same_beyond_memory(tmp_path, monkeypatch, cache, columns, host, block, packed):
    monkeypatch.setattr(text_tables, "_BLOCK_CELLS", block)
    monkeypatch.setattr(column_builder, "_ENTRY_BYTES", 0)
    rows = zip(*columns, ["p", "q", "r"] * 20, strict=True)
    header = [f"f{i}" for i in range(len(columns))] + ["y"]
    text = "\n".join(",".join(map(quoted, row)) for row in [header, *rows]).encode()
    path = tmp_path / ("t.csv.gz" if packed else "t.csv")
    path.write_bytes(gzip.compress(text) if packed else text)
    told = value_or_refusal(epochal.load, path, label="y", header=True, separator=",", host_memory=host)[1]
    assume("the texts of its columns take more" not in told)  # texts stay in memory
    compared(path, host, label="y", header=True, separator=",")


def frame(rows: int = 600) -> pa.Table:
    generator = np.random.default_rng(0)
    y = np.arange(rows) % 3
    return pa.table(
        {
            "a": generator.normal(size=rows) + y,
            "whole": pa.array(generator.integers(-9, 9, rows), pa.int64()),
            "gaps": pa.array([None if i % 7 == 0 else float(i) for i in range(rows)]),
            "text": pa.array(np.array(["red", "blue", ""])[generator.integers(0, 3, rows)]),
            "codes": pa.array(["u", "v", None] * (rows // 3)).dictionary_encode(),
            "flag": pa.array([True, None, False] * (rows // 3)),
            "label": pa.array(np.array(["p", "q", "r"])[y]),
            "number": pa.array(y, pa.int64()),
            "split": pa.array((["train"] * 4 + ["valid", "test"]) * (rows // 6)),
            "who": pa.array(np.arange(rows) // 10),
            "when": pa.array(np.arange(rows)[::-1] + 2**60, pa.int64()),
        }
    )


WAYS = [
    {"label": "label", "drop": "number,split,who,when"},
    {"label": "number", "split_column": "split", "drop": "label,who,when"},
    {"label": "label", "group": "who", "drop": "number,split,when"},
    {"label": "number", "time": "when", "drop": "label,split,who"},
]


@pytest.mark.parametrize("options", WAYS, ids=lambda way: "-".join(way))
@pytest.mark.parametrize("form", ["t.csv", "t.parquet", "t.arrow", "two files", "a folder of datasets"])
def test_tables_of_every_form_are_the_same_beyond_memory(tmp_path, monkeypatch, cache, form, options):
    monkeypatch.setattr(text_tables, "_BLOCK_CELLS", 2000)
    monkeypatch.setattr(column_builder, "_ENTRY_BYTES", 0)
    table, path = frame(), tmp_path / form
    if form == "t.csv":  # every text stays in memory, so let them be few
        table = table.drop(["when"]).append_column("when", pa.array(np.arange(600)[::-1] // 30))
        table.to_pandas().to_csv(path, index=False)
    elif form == "t.parquet":
        parquet.write_table(table, path, row_group_size=100)
    elif form == "t.arrow":
        feather.write_feather(table, path, chunksize=250)
    elif form == "two files":
        parquet.write_table(table.slice(0, 90), tmp_path / "p-1.parquet")
        parquet.write_table(table.slice(90), tmp_path / "p-2.parquet")
        path = tmp_path / "p-*.parquet"
    else:
        path = saved(tmp_path / "d", table)
    small = compared(path, 9_000, **options)
    assert small
    assert isinstance(small.train.x, FileRows)
    assert any("its columns take more than 9.0 kB" in note for note in small.notes)
    assert any(note.startswith("train: its ") and "features take more than" in note for note in small.notes)


def saved(folder, table: pa.Table, features=None) -> Path:
    folder.mkdir()
    with pa.ipc.new_stream(folder / "data-00000-of-00001.arrow", table.schema) as stream:
        stream.write_table(table, max_chunksize=100)
    (folder / "state.json").write_text(json.dumps({"_data_files": [{"filename": "data-00000-of-00001.arrow"}]}))
    (folder / "dataset_info.json").write_text(json.dumps({"features": features or {}}))
    return folder


def test_whole_number_labels_that_are_missing_are_refused_with_their_row(tmp_path, cache):
    y = [0, 1] * 500
    for column, options in (("y", {"label": "y"}), ("g", {"label": "y", "group": "g"})):
        columns = {"a": np.arange(1000.0), "y": pa.array(y), "g": pa.array(y)}
        columns[column] = pa.array([*y[:777], None, *y[778:]])
        parquet.write_table(pa.table(columns), tmp_path / "t.parquet", row_group_size=100)
        assert "row 777" in refusal(epochal.load, tmp_path / "t.parquet", host_memory=5000, **options)
        compared(tmp_path / "t.parquet", 5000, **options)


@pytest.mark.filterwarnings("ignore:.*identical to a train row")
def test_a_column_without_values_in_one_file_has_the_kind_of_the_others(tmp_path, cache):
    y = ["p", "q"] * 200
    for name, values in (("1", pa.nulls(400)), ("2", pa.array(["x", "z"] * 200)), ("3", pa.nulls(400))):
        parquet.write_table(pa.table({"a": values, "b": np.arange(400.0), "y": y}), tmp_path / f"t-{name}.parquet")
    assert compared(tmp_path / "t-*.parquet", 2000, label="y")


def write_csv(path: Path, rows: int = 3000, seed: int = 0) -> Path:
    generator = np.random.default_rng(seed)
    y = np.arange(rows) % 3
    lines = [f"{a:.4f},{b:.4f},{'pqr'[i]}" for a, b, i in zip(*(generator.normal(size=(2, rows)) + y), y, strict=True)]
    path.write_text("a,b,y\n" + "\n".join(lines) + "\n")
    return path


def test_data_within_the_limit_write_no_file(tmp_path, cache, monkeypatch):
    monkeypatch.setattr(text_tables, "_BLOCK_CELLS", 900)
    parquet.write_table(frame(), tmp_path / "t.parquet")
    pictures(tmp_path / "p")
    epochal.load(write_csv(tmp_path / "t.csv"), label="y")
    epochal.load(tmp_path / "t.parquet", label="label", drop="number,split,who,when")
    epochal.load(tmp_path / "p")
    assert not cache.exists()


def test_a_second_load_parses_nothing(tmp_path, cache, monkeypatch):
    monkeypatch.setattr(text_tables, "_BLOCK_CELLS", 900)
    path = write_csv(tmp_path / "t.csv")
    parquet.write_table(frame(), tmp_path / "t.parquet")
    drop = "number,split,who,when"
    first = epochal.load(path, label="y", host_memory=9000)
    second = epochal.load(tmp_path / "t.parquet", label="label", drop=drop, host_memory=9000)

    def fail(*_, **__):
        raise AssertionError("read again")

    monkeypatch.setattr(text_tables, "_blocks", fail)
    monkeypatch.setattr(isolated, "call", fail)
    assert epochal.load(path, label="y", host_memory=9000).fingerprint == first.fingerprint
    again = epochal.load(tmp_path / "t.parquet", label="label", drop=drop, host_memory=9000)
    assert (again.fingerprint, again.notes) == (second.fingerprint, second.notes)
    with pytest.raises(AssertionError, match="read again"):
        epochal.load(path, label="y", drop="a", host_memory=9000)
    os.utime(path, ns=(1, 1))
    with pytest.raises(AssertionError, match="read again"):
        epochal.load(path, label="y", host_memory=9000)


def test_a_changed_file_is_converted_anew_and_a_damaged_entry_too(tmp_path, cache, monkeypatch):
    monkeypatch.setattr(text_tables, "_BLOCK_CELLS", 900)
    path = tmp_path / "t.csv"
    seen = [epochal.load(write_csv(path, seed=seed), label="y", host_memory=9000) for seed in (0, 1)]
    assert seen[0].fingerprint != seen[1].fingerprint
    for file in cache.glob("*/cells"):
        os.truncate(file, file.stat().st_size - 8)
    for file in cache.glob("*/rows"):
        file.write_bytes(bytes(file.stat().st_size))
    equal(epochal.load(path, label="y", host_memory=9000), epochal.load(path, label="y"))


def test_an_entry_that_changes_under_a_run_ends_it(tmp_path, cache, monkeypatch):
    monkeypatch.setattr(text_tables, "_BLOCK_CELLS", 900)
    data = epochal.load(write_csv(tmp_path / "t.csv"), label="y", host_memory=9000)
    training = epochal.train(epochal.logistic(), data, epochal.Recipe(epochs=50), memory_bytes=20_000)
    next(training)
    for file in cache.glob("*/rows"):
        os.truncate(file, 8)
    with pytest.raises(epochal.DataError, match="the file has changed while it was in use"):
        list(training)


def test_hostile_text_is_refused_beyond_memory_as_in_memory(tmp_path, cache, monkeypatch):
    monkeypatch.setattr(text_tables, "_BLOCK_CELLS", 300)
    good = write_csv(tmp_path / "t.csv").read_bytes()
    for number, (old, new) in enumerate(
        [(b"p\n", b"p,1\n"), (b"q\n", b'"q\n'), (b"r\n", b"\xff\n"), (b"p\n", b"p\0\n"), (b"p\n", b"p\n\n")]
    ):
        place = good.rfind(old)
        path = tmp_path / f"bad{number}.csv"
        path.write_bytes(good[:place] + new + good[place + len(old) :] + b"1,2,p\n")
        assert compared(path, 9000, label="y") is None
    path = tmp_path / "cut.csv.gz"
    path.write_bytes(gzip.compress(good)[:-30])
    assert compared(path, 9000, label="y") is None


def test_texts_that_fit_nowhere_are_refused(tmp_path, cache, monkeypatch):
    monkeypatch.setattr(text_tables, "_BLOCK_CELLS", 300)
    path = tmp_path / "t.csv"
    path.write_text("a,y\n" + "".join(f"text {i},{'pq'[i % 2]}\n" for i in range(2000)))
    assert "the texts of its columns take more than 20 kB" in refusal(epochal.load, path, label="y", host_memory=20_000)
    table = pa.table({"a": [f"text {i}" for i in range(2000)], "y": ["p", "q"] * 1000})
    parquet.write_table(table, tmp_path / "t.parquet", row_group_size=100)
    told = refusal(epochal.load, tmp_path / "t.parquet", label="y", host_memory=20_000)
    assert "the texts of its columns take more than 20 kB" in told
    assert [path.name for path in cache.iterdir()] == ["hmac.key"]


def test_a_file_that_changes_while_it_is_converted_is_refused(tmp_path, cache, monkeypatch):
    monkeypatch.setattr(text_tables, "_BLOCK_CELLS", 300)
    path, move = write_csv(tmp_path / "t.csv"), text_tables._move

    def touched(grown):
        os.utime(path, ns=(5, 5))
        return move(grown)

    monkeypatch.setattr(text_tables, "_move", touched)
    assert "has changed while it was read" in refusal(epochal.load, path, label="y", host_memory=9000)
    assert [path.name for path in cache.iterdir()] == ["hmac.key"]


def test_a_bomb_of_rows_is_refused(tmp_path, cache, monkeypatch):
    monkeypatch.setattr("epochal.data.column_file.HARMLESS_BYTES", 0)
    monkeypatch.setattr(isolated, "call", lambda f, *a, where, memory_bytes, seconds: f(*a))
    rows = 2_000_000
    parquet.write_table(pa.table({"a": pa.array([1] * rows), "y": pa.array(["p"] * rows)}), tmp_path / "t.parquet")
    told = refusal(epochal.load, tmp_path / "t.parquet", label="y", host_memory="1MB")
    assert "above 1,000 times the bytes of the file; is it damaged or hostile?" in told
    assert [path.name for path in cache.iterdir()] == ["hmac.key"]


CONVERT = "import sys, epochal; from epochal.data.sources.tables import text_tables; text_tables._BLOCK_CELLS = 900\n"


def test_a_conversion_that_is_killed_leaves_nothing_that_is_taken_for_whole(tmp_path, cache):
    path = write_csv(tmp_path / "t.csv")
    code = CONVERT + (
        "import time; move = text_tables._move\n"
        "def slow(grown): move(grown); print('moved', flush=True); time.sleep(60)\n"
        "text_tables._move = slow; epochal.load(sys.argv[1], label='y', host_memory=9000)"
    )
    child = subprocess.Popen([sys.executable, "-c", code, str(path)], stdout=subprocess.PIPE)
    assert child.stdout
    assert child.stdout.readline() == b"moved\n"
    child.send_signal(signal.SIGKILL)
    child.wait()
    child.stdout.close()
    assert sorted(part.suffix for part in cache.iterdir()) == [".key", ".part"]
    code = CONVERT + "print(epochal.load(sys.argv[1], label='y', host_memory=9000).fingerprint)"
    done = subprocess.run([sys.executable, "-c", code, str(path)], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == epochal.load(path, label="y").fingerprint
    assert all(not place.name.endswith(".part") for place in cache.iterdir())


def test_two_processes_at_once_convert_to_the_same(tmp_path, cache):
    path = write_csv(tmp_path / "t.csv")
    code = CONVERT + "print(epochal.load(sys.argv[1], label='y', host_memory=9000).fingerprint)"
    children = [
        subprocess.Popen([sys.executable, "-c", code, str(path)], stdout=subprocess.PIPE, text=True) for _ in range(3)
    ]
    found = {child.communicate()[0].strip() for child in children}
    assert found == {epochal.load(path, label="y").fingerprint}
    assert all(not place.name.endswith(".part") for place in cache.iterdir())


@pytest.mark.skipif(sys.platform != "linux", reason="needs a limit on the size of files")
@pytest.mark.parametrize("form", ["t.csv", "t.parquet"])
def test_a_full_disk_ends_a_conversion_with_a_message(tmp_path, cache, form):
    write_csv(tmp_path / "t.csv")
    table = pa.table({"a": np.arange(3000.0), "b": np.arange(3000.0), "y": ["p", "q", "r"] * 1000})
    parquet.write_table(table, tmp_path / "t.parquet")
    code = CONVERT + (
        "import resource; resource.setrlimit(resource.RLIMIT_FSIZE, (30_000, 30_000))\n"
        "try: epochal.load(sys.argv[1], label='y', host_memory=9000)\n"
        "except epochal.DataError as error: print(error)"
    )
    done = subprocess.run([sys.executable, "-c", code, form], cwd=tmp_path, capture_output=True, text=True, check=True)
    assert (
        "cannot keep rows that do not fit the memory granted (File too large): 30 kB or more are needed" in done.stdout
    )
    assert "name another folder with EPOCHAL_CACHE" in done.stdout
    assert [path.name for path in cache.iterdir()] == ["hmac.key"]


def pictures(folder: Path, count: int = 90, colours: int = 0, size: tuple[int, int] = (6, 5)) -> Path:
    generator = np.random.default_rng(0)
    for i in range(count):
        shape = (*size, 3) if colours and i >= count - colours else size
        path = folder / "abc"[i % 3] / f"{i:03}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(generator.integers(0, 256, shape, dtype=np.uint8)).save(path)
    return folder


@pytest.mark.parametrize("colours", [0, 1, 40, 90])
@pytest.mark.parametrize("host", [2000, 5000])
def test_folders_of_images_are_the_same_beyond_memory(tmp_path, cache, monkeypatch, colours, host):
    monkeypatch.setattr(workers, "_FIRST", 4)
    monkeypatch.setattr(workers, "_MOST", 25)
    small = compared(pictures(tmp_path / "p", colours=colours), host)
    assert small
    assert isinstance(small.train.x, FileRows) == (host == 2000 or colours > 0)


def test_images_are_decoded_once(tmp_path, cache, monkeypatch):
    folder, calls, call = pictures(tmp_path / "p", count=200), [], isolated.call
    monkeypatch.setattr(workers, "_MOST", 30)
    monkeypatch.setattr(isolated, "call", lambda *a, **k: calls.append(a) or call(*a, **k))
    first = epochal.load(folder, host_memory=3000)
    assert len(calls) > 5
    calls.clear()
    equal(epochal.load(folder, host_memory=3000), epochal.load(folder))
    assert len(calls) < 8, "the first images tell the size, and all are read once in memory"
    Image.fromarray(np.zeros((6, 5), np.uint8)).save(folder / "a" / "000.png")
    assert epochal.load(folder, host_memory=3000).fingerprint != first.fingerprint


def image_table(count: int = 60) -> pa.Table:
    generator, encoded = np.random.default_rng(0), []
    for i in range(count):
        sink = pa.BufferOutputStream()
        Image.fromarray(generator.integers(0, 256, (6, 5), dtype=np.uint8)).save(sink, "png")
        encoded.append({"bytes": sink.getvalue().to_pybytes(), "path": f"{i}.png"})
    return pa.table({"image": encoded, "label": [i % 3 for i in range(count)]})


def test_image_and_array_columns_of_datasets_are_the_same_beyond_memory(tmp_path, cache):
    features = {"label": {"names": ["cat", "dog", "eel"], "_type": "ClassLabel"}}
    arrays = pa.table({"x": np.random.default_rng(0).normal(size=(900, 7)).tolist(), "label": [0, 1, 2] * 300})
    for name, table, host in (("images", image_table(), 1500), ("arrays", arrays, 9000)):
        small = compared(saved(tmp_path / name, table, features), host)
        assert small
        assert isinstance(small.train.x, FileRows)


@pytest.mark.parametrize("storage", ["uint8", "float16", "bfloat16", "float32"])
def test_storage_is_narrowed_when_rows_of_a_file_are_read(tmp_path, cache, storage):
    x, y = np.random.default_rng(0).integers(0, 200, (300, 4)).astype(np.float64), np.arange(300) % 3
    np.save(tmp_path / "x.npy", x + (storage != "uint8") / 3)
    small = epochal.load(tmp_path / "x.npy", labels_from=y, storage=storage, host_memory=3000)
    full = epochal.load(tmp_path / "x.npy", labels_from=y, storage=storage)
    assert isinstance(small.train.x, FileRows)
    equal(small, full)
    shas = {epochal.fit(epochal.mlp(8), data, epochal.Recipe(epochs=2), memory_bytes=memory).parameters_sha256
            for data in (small, full) for memory in (None, 20_000)}  # fmt: skip
    assert len(shas) == 1
    np.save(tmp_path / "x.npy", x + 1e6)
    if storage in ("uint8", "float16"):
        told = refusal(epochal.load, tmp_path / "x.npy", labels_from=y, storage=storage, host_memory=3000)
        assert f"which {storage} cannot hold" in told


def test_frames_whose_features_are_many_are_kept_too(cache):
    table = pa.table({"a": [f"v{i % 40}" for i in range(2000)], "y": ["p", "q"] * 1000})
    small, full = (epochal.load(table, label="y", host_memory=host) for host in (60_000, None))
    assert isinstance(small.train.x, FileRows)
    equal(small, full)
    assert disk_cache.folder() == cache


def test_time_is_not_looked_at_where_nothing_changed(tmp_path, cache, monkeypatch):
    """A run may last for days: the entry stays what it is."""
    monkeypatch.setattr(text_tables, "_BLOCK_CELLS", 900)
    data = epochal.load(write_csv(tmp_path / "t.csv"), label="y", host_memory=9000)
    later = time.time() + 10**6
    monkeypatch.setattr(time, "time", lambda: later)
    (tmp_path / "t.csv").unlink()
    assert len(np.asarray(data.train.x)) == len(data.train)
