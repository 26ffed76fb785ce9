"""IDX: every type and form, and every lie that a header can tell."""

import gzip
import struct
from math import prod
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from campaigns import share
from epochal import load
from epochal.data.sources.arrays.idx import is_idx, read_file, read_folder, read_idx
from fuzzing import mutants
from idx_files import IMAGES, LABELS, TYPES, images, labels, pack
from refusals import refusal, value_or_refusal
from sourced import read
from work import at_most

LIMIT = 1 << 20
FUZZ = share("FUZZ", 2000, short=300)
IN_ONE_FOLDER = settings(max_examples=80, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])


@pytest.fixture
def folder(tmp_path):
    """Two splits of 12 and 6 rows, plain."""
    for name, rows, seed in (("train", 12, 0), ("t10k", 6, 1)):
        (tmp_path / f"{name}-{IMAGES}").write_bytes(pack(images(rows, seed)))
        (tmp_path / f"{name}-{LABELS}").write_bytes(pack(labels(rows)))
    return tmp_path


def compress(path: Path) -> None:
    path.with_name(f"{path.name}.gz").write_bytes(gzip.compress(path.read_bytes()))
    path.unlink()


@IN_ONE_FOLDER
@given(data=st.data(), packed=st.booleans())
def test_reading_gives_the_array_that_was_written(tmp_path, data, packed):
    dtype = data.draw(st.sampled_from(list(TYPES.values())))
    shape = data.draw(arrays.array_shapes(min_dims=1, max_dims=5, max_side=5))
    array = data.draw(arrays.arrays(dtype, shape))
    path = tmp_path / "array"
    path.write_bytes(gzip.compress(pack(array)) if packed else pack(array))
    found = read_idx(path, LIMIT)
    np.testing.assert_array_equal(found, array)
    assert found.dtype == array.dtype
    assert not found.flags.writeable


@pytest.mark.parametrize("code", TYPES)
def test_every_type_of_the_format_trains(tmp_path, code):
    x = images(30).astype(TYPES[code])
    (tmp_path / "x.idx").write_bytes(pack(x))
    data = load(tmp_path / "x.idx", labels_from=labels(30))
    assert data.train.x.dtype == np.dtype(TYPES[code]).newbyteorder("=")
    assert data.train.x.dtype.isnative
    assert len(data.train) + len(data.valid) + len(data.test) == 30


@pytest.mark.parametrize("code", [0x00, 0x07, 0x0A, 0x0F, 0xFF])
def test_types_that_the_format_lacks_are_refused(tmp_path, code):
    path = tmp_path / "x.idx"
    path.write_bytes(bytes([0, 0, code, 1, 0, 0, 0, 1, 5]))
    told = refusal(read_idx, path, LIMIT)
    assert f"byte 0: magic number 00 00 {code:02x} 01, expected 00 00" in told


@pytest.mark.parametrize(
    "head", [b"\0\0\x08\0", b"\0\0\x08\x09", b"\0\1\x08\1", b"\1\0\x08\1", b"\0\0\x08", b"\0", b"\x93NUM"]
)
def test_a_wrong_magic_number_is_refused(tmp_path, head):
    path = tmp_path / "x.idx"
    path.write_bytes(head + (bytes(60) if len(head) == 4 else b""))
    assert head.hex(" ") in refusal(read_idx, path, LIMIT)


@pytest.mark.parametrize(
    "shape",
    [(2**31, 2**31, 2**31), (2**32 - 1,) * 8, (2**32 - 1,), (13, 4, 3), (11, 4, 3), (12, 4, 4), (12, 2**31, 3)],
)
def test_sizes_that_are_not_there_are_refused_with_both_ends(tmp_path, shape):
    path = tmp_path / "x.idx"
    content = images(12).tobytes()
    path.write_bytes(bytes([0, 0, 8, len(shape)]) + struct.pack(f">{len(shape)}I", *shape) + content)
    told = refusal(read_idx, path, LIMIT)
    begin = 4 + 4 * len(shape)
    assert f"byte {begin + len(content):,}: the file ends here" in told
    assert f"declares {'×'.join(map(str, shape))} uint8, which end at byte {begin + prod(shape):,}" in told
    assert ("cut short" if prod(shape) > len(content) else "damaged") in told


@settings(max_examples=300, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    code=st.sampled_from(list(TYPES)),
    shape=st.lists(st.one_of(st.integers(0, 5), st.integers(0, 2**32 - 1)), min_size=1, max_size=8),
    size=st.integers(0, 60),
    exact=st.booleans(),
)
def test_only_the_exact_size_is_ever_read(tmp_path, code, shape, size, exact):
    path = tmp_path / "x.idx"
    declared = prod(shape) * np.dtype(TYPES[code]).itemsize
    size = declared if exact and declared <= LIMIT else size
    path.write_bytes(bytes([0, 0, code, len(shape)]) + struct.pack(f">{len(shape)}I", *shape) + bytes(size))
    if declared == size > 0:
        assert read_idx(path, LIMIT).shape == tuple(shape)
    else:
        refusal(read_idx, path, LIMIT)


def test_axes_of_no_size_and_axes_beyond_numpy_are_refused(tmp_path):
    path = tmp_path / "x.idx"
    path.write_bytes(bytes([0, 0, 8, 4]) + struct.pack(">4I", 0, 2**32 - 1, 2**32 - 1, 2**32 - 1))
    assert "0×4294967295×" in refusal(read_idx, path, LIMIT)
    path.write_bytes(bytes([0, 0, 8, 100]) + struct.pack(">100I", *[1] * 100) + b"x")
    assert "1 to 8 axes" in refusal(read_idx, path, LIMIT)


@pytest.mark.parametrize("form", [lambda data: data, gzip.compress])
def test_every_truncation_is_refused(tmp_path, form):
    whole = form(pack(images(3)))
    path = tmp_path / f"x-{IMAGES}"
    for size in range(len(whole)):
        path.write_bytes(whole[:size])
        assert str(path) in refusal(read_idx, path, LIMIT)


@pytest.mark.parametrize("extra", [b"\0", b"\0" * 12, b"abc"])
def test_trailing_bytes_are_refused(tmp_path, extra):
    path = tmp_path / "x.idx"
    path.write_bytes(pack(images(12)) + extra)
    assert "damaged" in refusal(read_idx, path, LIMIT)


@pytest.mark.campaign
def test_mutants_are_read_or_refused(tmp_path):
    small = np.arange(12, dtype=np.int32).reshape(3, 4)
    seeds = [pack(images(4)), pack(labels(9)), pack(small), pack(small.astype(float)), gzip.compress(pack(images(4)))]
    path = tmp_path / "x.idx"
    read_whole = 0
    for data in mutants(seeds, FUZZ, seed=21):
        path.write_bytes(data)
        with at_most(seconds=1):
            raw, told = value_or_refusal(read, path, host_memory=LIMIT)
        read_whole += raw is not None
        assert raw.splits["train"].x.nbytes <= LIMIT if raw else told.startswith(str(path))
    assert 0 < read_whole < FUZZ


# Folders and files by their usual names


def test_a_folder_of_four_files_has_two_splits(folder):
    raw = read_folder(folder, LIMIT)
    assert list(raw.splits) == ["train", "test"]
    np.testing.assert_array_equal(raw.splits["train"].x, images(12))
    np.testing.assert_array_equal(raw.splits["test"].y, labels(6))
    assert raw.ordered_holdout
    assert raw.name == folder.name
    assert [path.name.split("-")[0] for path in raw.files] == ["train", "train", "t10k", "t10k"]


@pytest.mark.parametrize("packed", range(16))
def test_each_file_may_be_plain_or_gzip(folder, packed):
    expected = load(folder).fingerprint
    for i, path in enumerate(sorted(folder.iterdir())):
        if packed >> i & 1:
            compress(path)
    assert load(folder).fingerprint == expected


def test_the_last_rows_of_a_folder_become_the_validation_split(folder):
    data = load(folder)
    np.testing.assert_array_equal(data.valid.x, images(12)[10:])
    np.testing.assert_array_equal(data.train.x, images(12)[:10])
    np.testing.assert_array_equal(data.test.x, images(6, 1))
    assert data.divisor == 255
    assert data.notes == ("valid: 2 rows held out of train, the last rows in order",)


def test_the_test_files_may_be_missing_then_train_alone_is_split(folder):
    for part in (IMAGES, LABELS):
        (folder / f"t10k-{part}").unlink()
    raw = read_folder(folder, LIMIT)
    assert list(raw.splits) == ["train"]
    assert not raw.ordered_holdout


@pytest.mark.parametrize("missing", [f"{split}-{part}" for split in ("train", "t10k") for part in (IMAGES, LABELS)])
def test_one_file_of_a_pair_missing_is_refused_by_its_name(folder, missing):
    (folder / missing).unlink()
    told = refusal(read_folder, folder, LIMIT)
    assert told.startswith(f"{folder}: no file {missing} or {missing}.gz")


def test_a_folder_of_other_things_is_refused(tmp_path):
    (tmp_path / "cat.txt").touch()
    assert f"train-{IMAGES}" in refusal(load, tmp_path)


def test_a_folder_in_place_of_a_file_is_not_taken_for_it(folder):
    (folder / f"train-{LABELS}").unlink()
    (folder / f"train-{LABELS}").mkdir()
    assert f"no file train-{LABELS}" in refusal(load, folder)


def test_more_labels_than_images_are_refused_with_both_counts(folder):
    (folder / f"t10k-{LABELS}").write_bytes(pack(labels(7)))
    assert f"{folder.name}: test: 6 rows but 7 labels" in refusal(load, folder)


def test_images_of_two_sizes_are_refused(folder):
    (folder / f"t10k-{IMAGES}").write_bytes(pack(images(6)[:, :3]))
    assert "train has examples uint8[4, 3], but test has uint8[3, 3]" in refusal(load, folder)


@pytest.mark.parametrize("packed", ["", IMAGES, LABELS])
def test_a_file_of_images_finds_its_labels_beside_it(folder, packed):
    images_path = folder / f"train-{IMAGES}"
    if packed:
        compress(folder / f"train-{packed}")
        images_path = images_path if packed == LABELS else folder / f"train-{IMAGES}.gz"
    raw = read_file(images_path, LIMIT)
    np.testing.assert_array_equal(raw.splits["train"].x, images(12))
    np.testing.assert_array_equal(raw.splits["train"].y, labels(12))
    assert [path.name.removesuffix(".gz") for path in raw.files] == [f"train-{IMAGES}", f"train-{LABELS}"]


def test_a_file_of_images_without_labels_beside_it_asks_for_them(folder):
    (folder / f"t10k-{LABELS}").unlink()
    assert "train has no labels; give them with labels_from=" in refusal(load, folder / f"t10k-{IMAGES}")


def test_explicit_labels_come_before_those_beside_the_file(folder):
    other = (np.arange(12) // 4).astype(np.uint8)
    (folder / "other.idx").write_bytes(pack(other))
    np.save(folder / "other.npy", other)
    for given_labels in (folder / "other.idx", str(folder / "other.npy"), other, other.tolist()):
        raw = read(folder / f"train-{IMAGES}", labels_from=given_labels)
        np.testing.assert_array_equal(raw.splits["train"].y, other)
        data = load(folder / f"train-{IMAGES}", labels_from=given_labels)
        assert data.classes == ("0", "1", "2")
    assert raw.files == (folder / f"train-{IMAGES}",)
    assert read(folder / f"train-{IMAGES}", labels_from=folder / "other.idx").files[1:] == (folder / "other.idx",)


def test_labels_are_not_given_twice(folder):
    told = refusal(load, folder, labels_from=labels(12))
    assert f"{folder.name}: holds labels or splits of its own" in told


def test_labels_that_are_not_there_are_refused(folder):
    assert "missing.idx" in refusal(load, folder / f"train-{IMAGES}", labels_from=folder / "missing.idx")


def test_a_file_of_labels_alone_is_no_features(folder):
    assert "got [12]" in refusal(load, folder / f"train-{LABELS}", labels_from=labels(12))


def test_idx_is_known_by_its_name_or_its_first_bytes(tmp_path):
    content = {
        "train-images-idx3-ubyte": b"", "a.idx": b"", "a.idx3.gz": b"", "plain": pack(images(1)),
        "packed.gz": gzip.compress(pack(images(1))), "packed": gzip.compress(pack(images(1))),
    }  # fmt: skip
    for name, data in content.items():
        (tmp_path / name).write_bytes(data)
        assert is_idx(tmp_path / name), name
    for name, data in {"empty": b"", "zeros": bytes(20), "text": b"a,b\n1,2\n", "cut": b"\0\0\x08"}.items():
        (tmp_path / name).write_bytes(data)
        assert not is_idx(tmp_path / name), name
        assert "the format of this file is not known" in refusal(load, tmp_path / name)
    assert not is_idx(tmp_path / "missing")
