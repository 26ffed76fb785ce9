"""Rows of a file that stays on disk, against the array that NumPy reads."""

import os
import struct

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import epochal
from conftest import blobs
from epochal.data import rows
from epochal.data.rows import FileRows, as_rows, blocks
from epochal.data.sources.arrays.npy import read_npy
from epochal.data.sources.files import read_bytes
from refusals import refusal


@pytest.fixture(scope="module")
def stored(tmp_path_factory):
    x = np.random.default_rng(0).integers(0, 256, (500, 3, 5), dtype=np.uint8)
    path = tmp_path_factory.mktemp("rows") / "x.npy"
    np.save(path, x)
    return path, x


def opened(path) -> FileRows:
    data = read_npy(read_bytes(path, 100, mappable=True), str(path))
    found = as_rows(data)
    assert isinstance(found, FileRows)
    return found


@settings(max_examples=60, deadline=None)
@given(numbers=st.lists(st.integers(0, 499), max_size=60), piece=st.sampled_from([1, 40, 1 << 26]))
def test_any_rows_in_any_order_are_the_arrays(stored, numbers, piece):
    path, x = stored
    before, rows._PIECE_BYTES = rows._PIECE_BYTES, piece
    try:
        np.testing.assert_array_equal(opened(path).gather(np.array(numbers, int)), x[numbers])
    finally:
        rows._PIECE_BYTES = before


def test_slices_and_choices_are_rows_of_the_file_too(stored):
    path, x = stored
    mapped = opened(path)
    assert (mapped.shape, mapped.dtype, mapped.ndim, len(mapped)) == (x.shape, x.dtype, 3, 500)
    chosen = np.array([7, 3, 3, 499])
    for ours, theirs in (
        (mapped[10:400:3], x[10:400:3]),
        (mapped[chosen], x[chosen]),
        (mapped[x[:, 0, 0] > 9], x[x[:, 0, 0] > 9]),
    ):
        assert isinstance(ours, FileRows)
        np.testing.assert_array_equal(np.asarray(ours), theirs)
        np.testing.assert_array_equal(np.asarray(ours[1:3][::-1]), theirs[1:3][::-1])
    np.testing.assert_array_equal(mapped[-1], x[-1])
    np.testing.assert_array_equal(np.concatenate([block for _, block in blocks(mapped, 1000)]), x)


@pytest.mark.parametrize("dtype", [">i2", ">f4", "<f8"])
def test_numbers_of_the_files_byte_order_become_native(tmp_path, dtype):
    x = np.random.default_rng(0).normal(size=(90, 4)).astype(dtype)
    np.save(tmp_path / "x.npy", x)
    mapped = opened(tmp_path / "x.npy")
    assert mapped.dtype.isnative
    np.testing.assert_array_equal(np.asarray(mapped), x)


def test_an_idx_file_beyond_the_memory_granted_stays_on_disk(tmp_path):
    x = np.arange(50 * 6, dtype=np.uint8).reshape(50, 2, 3)
    (tmp_path / "train-images-idx3-ubyte").write_bytes(struct.pack(">HBBIII", 0, 8, 3, 50, 2, 3) + x.tobytes())
    (tmp_path / "train-labels-idx1-ubyte").write_bytes(struct.pack(">HBBI", 0, 8, 1, 50) + bytes(range(5)) * 10)
    data = epochal.load(tmp_path, host_memory=200)
    assert isinstance(data.train.x, FileRows)
    assert data.fingerprint == epochal.load(tmp_path).fingerprint


def test_a_run_on_rows_of_a_file_has_the_bits_of_one_on_arrays(tmp_path):
    x, y = blobs(700)
    np.save(tmp_path / "x.npy", x)
    np.save(tmp_path / "y.npy", y)
    told = []
    for host, memory in ((None, None), (9000, None), (9000, 30_000)):
        data = epochal.load(tmp_path / "x.npy", labels_from=tmp_path / "y.npy", host_memory=host)
        fit = epochal.fit(epochal.mlp(8), data, epochal.Recipe(epochs=3, batch_size=16), memory_bytes=memory)
        told.append((data.fingerprint, fit.parameters_sha256, fit.best, fit.test()))
        assert isinstance(data.train.x, FileRows) == (host is not None)
    assert told[0] == told[1] == told[2]


def test_values_that_cannot_be_used_are_found_in_the_file(tmp_path):
    x, y = blobs(300)
    x[211, 3] = np.nan
    np.save(tmp_path / "x.npy", x)
    assert "row 211, feature 3 is nan" in refusal(epochal.load, tmp_path / "x.npy", labels_from=y, host_memory=1000)


@pytest.mark.parametrize("change", ["cut", "longer", "touched", "gone"])
def test_a_file_that_changes_under_a_run_ends_it_with_a_message(tmp_path, change):
    x, y = blobs(700)
    path = tmp_path / "x.npy"
    np.save(path, x)
    data = epochal.load(path, labels_from=y, host_memory=5000)
    training = epochal.train(epochal.logistic(), data, epochal.Recipe(epochs=50, batch_size=16), memory_bytes=20_000)
    next(training)
    if change == "cut":
        os.truncate(path, 500)
    elif change == "longer":
        with path.open("ab") as file:
            file.write(b"more")
    elif change == "touched":
        os.utime(path, ns=(0, 0))
    else:
        path.unlink()
    with pytest.raises(
        epochal.DataError, match=r"x\.npy: (the file has changed while it was in use|cannot be read any more)"
    ):
        list(training)


def test_fortran_order_is_refused_where_it_would_have_to_stay_on_disk(tmp_path):
    np.save(tmp_path / "x.npy", np.asfortranarray(np.ones((90, 4))))
    assert "write it in C order" in refusal(
        epochal.load, tmp_path / "x.npy", labels_from=np.arange(90) % 2, host_memory=1000
    )


@pytest.mark.parametrize(
    ("storage", "x", "told"),
    [
        ("uint8", np.full((40, 2), 7.0), ""),
        (
            "float16",
            np.linspace(0, 1, 80).reshape(40, 2),
            "stored as float16; the largest rounding of a feature is 0.0",
        ),
        (
            "bfloat16",
            np.linspace(0, 1, 80).reshape(40, 2),
            "stored as bfloat16; the largest rounding of a feature is 0.1",
        ),
        ("float32", np.arange(80).reshape(40, 2), ""),
    ],
)
def test_storage_is_narrowed_as_asked_and_says_what_it_rounds(storage, x, told):
    x = x + np.arange(40)[:, None]
    data = epochal.load((x, np.arange(40) % 2), storage=storage)
    assert data.train.x.dtype.name == storage
    assert bool(told) == any("stored as" in note for note in data.notes)
    assert any(told in note for note in data.notes)
    fit = epochal.fit(epochal.logistic(), data, epochal.Recipe(epochs=2))
    assert fit.test().of == len(data.test)


@pytest.mark.parametrize(
    ("storage", "value", "words"), [("uint8", 0.5, "is 0.5, which uint8 cannot hold"), ("uint8", 256.0, "is 256.0"),
                                    ("float16", 1e6, "is 1000000.0, which float16 cannot hold; leave storage=… out")]
)  # fmt: skip
def test_storage_that_would_lose_a_value_is_refused(storage, value, words):
    x = np.ones((40, 2)) * np.arange(40)[:, None]
    x[3, 1] = value
    assert words in refusal(epochal.load, {"train": (x, np.arange(40) % 2)}, storage=storage)


def test_storage_keeps_the_bits_where_nothing_is_lost():
    x = np.random.default_rng(0).integers(0, 256, (300, 6)).astype(np.float32)
    y = np.arange(300) % 3
    shas = {epochal.fit(epochal.mlp(8), epochal.load((x, y), storage=s), epochal.Recipe(epochs=2)).parameters_sha256
            for s in ("auto", "uint8")}  # fmt: skip
    assert len(shas) == 1
