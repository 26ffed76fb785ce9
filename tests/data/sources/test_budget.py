"""One budget of memory and time for a file, whatever its form; bounds are counts of work, never of a clock."""

import gzip
import io
import json
import os
import subprocess
import sys
import zipfile
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from PIL import Image

from epochal.data.loading import load
from epochal.data.sources import files
from epochal.data.sources.arrays import npy
from epochal.data.sources.images import decoder
from epochal.data.sources.tables import text_tables
from refusals import refusal

linux = pytest.mark.skipif(sys.platform != "linux", reason="reads what the process took from /proc")


def test_rows_without_cells_count(tmp_path, monkeypatch):
    path = tmp_path / "t.csv.gz"
    path.write_bytes(gzip.compress(b"a,y\n1,p\n" + b"\n" * 300_000))
    assert f"more than {text_tables.MAX_EMPTY:,} lines are empty" in refusal(load, path, label="y")


@pytest.mark.parametrize("host", [None, 100_000])
def test_packed_text_unpacks_to_no_more_than_its_bytes_have_time_for(tmp_path, monkeypatch, host):
    monkeypatch.setattr(files, "_HARMLESS_TEXT", 1 << 20)
    path = tmp_path / "t.csv.gz"
    text = b"a,b,y\n" + b"1,0,p\n1,0,q\n" * 200_000
    path.write_bytes(gzip.compress(text))
    assert "100 times its bytes, which would take long" in refusal(load, path, label="y", host_memory=host)
    sound = b"a,b,y\n" + b"".join(b"%d,%d,%s\n" % (i, i * i, b"pq"[i % 2 :][:1]) for i in range(60_000))
    path.write_bytes(gzip.compress(sound))
    assert files.most_text(path) == max(1 << 20, 100 * path.stat().st_size)


def test_an_archive_of_very_many_entries_is_refused_before_they_are_listed(tmp_path):
    path = tmp_path / "x.npz"
    with zipfile.ZipFile(path, "w") as archive:
        for i in range(45_000):
            archive.writestr(f"{i}", b"")
    assert "its list of entries takes" in refusal(load, path)
    assert path.stat().st_size > npy._MOST_READ


def test_an_archive_with_a_comment_and_some_entries_is_read(tmp_path):
    path = tmp_path / "x.npz"
    x = np.random.default_rng(0).normal(size=(60, 3))
    np.savez(path, x=x, y=np.arange(60) % 2, **{f"other{i}": np.zeros(1) for i in range(500)})
    with zipfile.ZipFile(path, "a") as archive:
        archive.comment = b"c" * 60_000
    assert len(load(path).classes) == 2


def test_a_jpeg_of_many_scans_is_refused_before_it_is_decoded(tmp_path):
    generator = np.random.default_rng(0)
    for name in ("cat", "dog"):
        (tmp_path / name).mkdir()
        for i in range(6):
            Image.fromarray(generator.integers(0, 255, (16, 16), np.uint8)).save(
                tmp_path / name / f"{i}.jpg", progressive=True
            )
    path = tmp_path / "cat" / "0.jpg"
    data = path.read_bytes()
    begin = data.rindex(b"\xff\xda")
    path.write_bytes(data[:begin] + data[begin:-2] * 3000 + data[-2:])
    assert f"{path}: is a JPEG of 3,0" in refusal(load, tmp_path)
    path.write_bytes(data)
    assert decoder._scans(str(path)) < decoder.MAX_SCANS // 4
    assert len(load(tmp_path).classes) == 2


PEAK = """
import sys, warnings, epochal, numpy as np
warnings.simplefilter("ignore")
from epochal.system import memory
free = int(sys.argv[2])
from epochal.data.sources import files
files.available_bytes = lambda: free
from epochal.data.loading import load
import jax
base = memory.peak_bytes()
try:
    data = load(sys.argv[1], **({"label": "y"} if ".csv" in sys.argv[1] else {}))
except epochal.DataError as error:
    assert "memory granted" in str(error) or "granted for reading" in str(error), error
print((memory.peak_bytes() - base) / free)
"""


def peak(path: Path, free: int) -> float:
    done = subprocess.run([sys.executable, "-c", PEAK, path, str(free)], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return float(done.stdout)


@linux
@pytest.mark.parametrize("fold", [4.2, 2.1])  # of the file's content, what is free: it is read, or refused
def test_what_is_read_and_held_out_of_it_stays_within_what_is_free(tmp_path, fold):
    rows = 400_000
    x = np.random.default_rng(0).integers(0, 255, (rows, 240), np.uint8)
    np.savez(tmp_path / "x.npz", x=x, y=np.arange(rows) % 2)  # 96 MB and labels
    assert peak(tmp_path / "x.npz", int(fold * 99_200_000)) < 1


@linux
def test_a_text_its_columns_and_features_stay_within_what_is_free(tmp_path, monkeypatch):
    monkeypatch.setenv("EPOCHAL_CACHE", str(tmp_path / "cache"))
    block = "".join(f"{i % 7},{i % 11},{i % 13},{i % 17},{i % 19},{i % 23},{'pq'[i % 2]}\n" for i in range(50_000))
    path = tmp_path / "t.csv"
    path.write_text("a,b,c,d,e,f,y\n" + block * 12)
    assert peak(path, 90_000_000) < 1


def saved(folder: Path, labels, names=("a", "b", "c"), file="data.arrow") -> Path:
    """A folder as `save_to_disk` writes it, whose files need not agree."""
    folder.mkdir()
    table = pa.table({"a": np.arange(30.0), "label": labels})
    stream = io.BytesIO()
    with pa.ipc.new_stream(stream, table.schema) as writer:
        writer.write_table(table)
    (folder / "data.arrow").write_bytes(stream.getvalue())
    (folder / "state.json").write_text(json.dumps({"_data_files": [{"filename": file}]}))
    features = {"label": {"names": list(names), "_type": "ClassLabel"}}
    (folder / "dataset_info.json").write_text(json.dumps({"features": features}))
    return folder


@pytest.mark.parametrize(
    ("labels", "told"),
    [
        (np.arange(30) / 7, "column 'label': is declared to hold classes by number, but holds double"),
        (["a"] * 30, "column 'label': is declared to hold classes by number, but holds string"),
        ([[1]] * 30, "column 'label': is declared to hold classes by number, but holds list"),
        (pa.array([2**64 - 1] * 30, pa.uint64()), "from row 0 on holds a class above 3, the number of names"),
    ],
)
def test_classes_by_number_are_numbers(tmp_path, labels, told):
    assert told in refusal(load, saved(tmp_path / "ds", labels))


@pytest.mark.parametrize("file", ["x" * 5000, "\ud800", "a\0b"])
def test_names_of_data_files_that_no_file_can_have_are_refused(tmp_path, file):
    assert "names no data files that lie beside it" in refusal(
        load, saved(tmp_path / "ds", np.arange(30) % 3, file=file)
    )


def test_a_class_that_is_called_by_half_a_character_is_refused(tmp_path):
    told = refusal(load, saved(tmp_path / "ds", np.arange(30) % 3, ("a", "\ud800", "c")))
    assert "class 1 is called '\\ud800', which is no text" in told


def table(path: Path) -> Path:
    path.write_text("a,b,y\n" + "".join(f"{i}.5,{i * i},{'pq'[i % 2]}\n" for i in range(60)))
    return path


def test_a_name_that_is_no_utf_8_is_refused_with_its_bytes_escaped(tmp_path):
    path = table(tmp_path / os.fsdecode(b"b\xff.csv"))
    assert refusal(load, path, label="y").startswith(f"{tmp_path}/b\\udcff.csv: the name of this file or of a folder")
    folder = tmp_path / os.fsdecode(b"d\xff")
    folder.mkdir()
    assert "is no UTF-8" in refusal(load, table(folder / "t.csv"), label="y")


def test_a_file_that_begins_with_a_tilde_is_found(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    table(tmp_path / "~.csv")
    for name in ("./~.csv", "~.csv", Path("~.csv"), str(tmp_path / "~.csv")):
        assert len(load(name, label="y").classes) == 2


def test_control_characters_of_names_are_shown_escaped_in_a_line(tmp_path):
    odd = "a\n\n\n\nb\x1b[2K"
    path = tmp_path / f"{odd}.csv"
    path.write_text("a,y\n1\n")
    told = refusal(load, path, label="y")
    assert "a\\n\\n\\n\\nb\\x1b[2K.csv" in told
    assert "\n" not in told
    data = load(table(path), label="y")
    assert all(note.isprintable() for note in data.notes)


def test_an_image_whose_name_has_line_ends_is_told_in_one_line(tmp_path):
    for name in ("cat", "dog"):
        (tmp_path / name).mkdir()
        Image.new("L", (5, 5)).save(tmp_path / name / "x.png")
    (tmp_path / "cat" / "a\nb\n\x1b[2Kc\nd.png").write_text("x")
    told = refusal(load, tmp_path)
    assert told.startswith(f"{tmp_path}/cat/a\\nb\\n\\x1b[2Kc\\nd.png: cannot be decoded")
    assert "\n" not in told


def test_a_long_header_of_an_array_is_cut(tmp_path):
    path = tmp_path / "x.npy"
    header = b"{'descr': '" + b"z" * 8000 + b"', 'fortran_order': False, 'shape': (3,), }\n"
    path.write_bytes(b"\x93NUMPY\x01\x00" + len(header).to_bytes(2, "little") + header)
    assert len(refusal(load, path)) < 500
