"""`.npy` and `.npz`: every version and dtype, names, lies, bombs, and objects that must never be unpickled."""

import bz2
import gzip
import io
import pickle
import struct
import tracemalloc
import zipfile
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from campaigns import share
from epochal import load
from epochal.data.preparation import Preparation, prepare
from epochal.data.sources.arrays.npy import read_archive, read_npy
from fuzzing import mutants
from refusals import refusal, value_or_refusal
from sourced import read
from work import at_most

LIMIT = 1 << 22
FUZZ = share("FUZZ", 2000, short=150)
NUMBERS = ["?", "u1", "u2", "u4", "u8", "i1", "i2", "i4", "i8", "f2", "f4", "f8"]
IN_ONE_FOLDER = settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])


def npy(array: np.ndarray, version: tuple[int, int] | None = None) -> bytes:
    buffer = io.BytesIO()
    np.lib.format.write_array(buffer, np.asanyarray(array), version)
    return buffer.getvalue()


def header(text: str, version: tuple[int, int] = (1, 0), content: bytes = b"") -> bytes:
    length = struct.pack("<H" if version == (1, 0) else "<I", len(text))
    return b"\x93NUMPY" + bytes(version) + length + text.encode() + content


def described(descr: str, shape: str, content: bytes = b"", fortran: bool = False) -> bytes:
    return header(f"{{'descr': {descr}, 'fortran_order': {fortran}, 'shape': {shape}}}\n", content=content)


def rows(count: int = 24) -> tuple[np.ndarray, np.ndarray]:
    x = np.random.default_rng(count).normal(size=(count, 3)).astype(np.float32)
    return x, np.arange(count) % 3


class Trap:
    """Writes a file when it is unpickled."""

    def __init__(self, marker: Path):
        self.marker = marker

    def __reduce__(self):
        return Path.touch, (self.marker,)


# .npy


@settings(max_examples=150, deadline=None)
@given(data=st.data(), order=st.sampled_from("<>"), version=st.sampled_from([(1, 0), (2, 0), (3, 0)]))
def test_reading_gives_the_array_that_numpy_wrote(data, order, version):
    dtype = np.dtype(data.draw(st.sampled_from([*NUMBERS, "S3", "U2"]))).newbyteorder(order)
    array = data.draw(arrays.arrays(dtype, arrays.array_shapes(min_dims=0, max_dims=4, max_side=4)))
    if data.draw(st.booleans()):
        array = np.asfortranarray(array)
    found = read_npy(npy(array, version), "x")
    np.testing.assert_array_equal(found, array)
    assert (found.dtype, found.shape) == (array.dtype, array.shape)
    assert not found.flags.writeable


def test_an_array_is_a_view_of_the_bytes_read():
    data = npy(np.arange(6.0))
    assert np.shares_memory(read_npy(data, "x"), np.frombuffer(data, np.uint8))


def test_a_file_of_python_2_is_read_without_a_warning():
    content = np.arange(6, dtype="<f8")
    data = described("'<f8'", "(2L, 3L)", content.tobytes())
    np.testing.assert_array_equal(read_npy(data, "x"), content.reshape(2, 3))


@pytest.mark.parametrize("version", [(0, 0), (1, 1), (4, 0), (7, 7), (255, 255)])
def test_other_versions_are_refused(version):
    data = bytearray(npy(np.arange(3)))
    data[6:8] = version
    assert f"version {version[0]}.{version[1]}, expected 1.0" in refusal(read_npy, bytes(data), "x")


@pytest.mark.parametrize("order", ["C", "F"])
def test_an_object_array_is_refused_and_not_unpickled(tmp_path, order):
    marker = tmp_path / "marker"
    trap = np.empty((2, 2), object, order)
    trap[:] = Trap(marker)
    for name in ("x.npy", "x.npz", "y.npz"):
        path = tmp_path / name
        if name == "x.npy":
            np.save(path, trap)
        else:
            np.savez(path, **({"x": trap, "y": [0, 1]} if name == "x.npz" else {"x": [[0], [1]], "y": trap[0]}))
        told = refusal(load, path, labels_from=[0, 1] if name == "x.npy" else None)
        assert str(path) in told
        assert "dtype object is not read; save plain numbers" in told
    assert not marker.exists()
    with np.load(tmp_path / "x.npz", allow_pickle=True) as archive:
        assert archive["x"].shape  # the trap does work
    assert marker.exists()


def test_a_plain_pickle_called_npy_is_refused_and_not_unpickled(tmp_path):
    marker = tmp_path / "marker"
    path = tmp_path / "x.npy"
    path.write_bytes(pickle.dumps(Trap(marker)))
    assert "byte 0: no sound .npy header" in refusal(load, path)
    assert not marker.exists()


@pytest.mark.parametrize(
    "descr",
    [
        "[('a', '<f4'), ('b', '<i4')]", "'|O'", "'O'", "'|V8'", "'<M8[s]'", "'<m8[ns]'", "'<c8'", "'<U0'", "'|S0'",
        "'(2,2)<f4'", "'<f4,<i4'", "[('a', '|O')]", "('<f4', (2,))", "[('a', '<f4', (2**30,))]",
        "{'names': ['a'], 'formats': ['<f4'], 'offsets': [1073741824]}",
    ],
)  # fmt: skip
def test_dtypes_that_are_no_plain_numbers_or_text_are_refused(descr):
    for size in (0, 8, 16):
        told = refusal(read_npy, described(descr, "(2,)", bytes(size)), "file: x")
        assert told.startswith("file: x: byte 0: ")


@pytest.mark.parametrize(
    "shape",
    ["(-1,)", "(2, -3)", "(-2, -3)", "(0,)", "(0, 3)", f"(0, {2**62}, {2**62})", f"({2**62}, {2**62})", f"({2**70},)",
     "(True, 6)", f"({'1,' * 65})", f"({'1,' * 40})", f"({'999,' * 2000})", f"({'9' * 1500},)", "(6.0,)", "6", "[6]",
     "'6'", "None", "()", "(5,)", "(7,)", "(3, 3)", "((6,),)"],
)  # fmt: skip
def test_shapes_that_do_not_fit_are_refused(shape):
    told = refusal(read_npy, described("'|u1'", shape, bytes(6)), "file")
    assert told.startswith("file: byte ")
    assert len(told) < 1000


@pytest.mark.parametrize("shape", ["(0,)", "(0, 3)", "(3, 0)", f"(0, {2**62}, {2**62})"])
def test_arrays_of_no_value_are_refused_also_where_they_are_whole(shape):
    assert f"declares shape {shape}, expected" in refusal(read_npy, described("'|u1'", shape), "file")


def test_a_wrong_size_is_told_with_the_place_and_both_values():
    whole = npy(np.zeros((5, 4), "<f8"))
    told = refusal(read_npy, whole[:-1], "file")
    assert f"byte {len(whole) - 1:,}: the array ends here" in told
    assert f"declares [5, 4] float64, which end at byte {len(whole):,}" in told


@pytest.mark.parametrize(
    "data",
    [
        b"", b"\x93", b"\x93NUMPY", b"\x93NUMPY\1\0", b"\x93NUMPY\1\0\xff\xff", b"\x93NUMPY\2\0\xff\xff\xff\xff",
        b"PK\3\4", header("("), header("(" * 9000), header("-" * 9000 + "1"), header("9" * 9000), header("{}"),
        header("[" * 200), header("{'descr': 1, 'fortran_order': False, 'shape': ()}"), header("\\d"), header("'\\d'"),
        described("'<f4'", "(1,)").replace(b"False", b"12345"), described("'<f99'", "(1,)"),
        described("'\\udc80'", "()"), described("'" + "f4," * 2000 + "'", "(1,)"), header(" " * 20_000, (2, 0)),
        header("\0" * 50),
    ],
)  # fmt: skip
def test_bad_headers_are_refused(data):
    told = refusal(read_npy, data, "file")
    assert told.startswith("file: byte 0: ")
    assert "\n" not in told


def test_every_truncation_is_refused(tmp_path):
    x, y = rows(6)
    np.savez(tmp_path / "whole.npz", x=x, y=y)
    files = {".npy": npy(x), ".npy.gz": gzip.compress(npy(x)), ".npz": (tmp_path / "whole.npz").read_bytes()}
    for suffix, whole in files.items():
        path = tmp_path / f"cut{suffix}"
        for size in range(len(whole)):
            path.write_bytes(whole[:size])
            assert str(path) in refusal(read, path)


@pytest.mark.parametrize("extra", [b"\0", b"\n", bytes(12)])
def test_bytes_after_the_array_are_refused(extra):
    refusal(read_npy, npy(np.zeros(3, np.float32)) + extra, "file")


@pytest.mark.campaign
def test_mutants_of_npy_are_read_or_refused(tmp_path):
    x, y = rows(6)
    seeds = [npy(x), npy(y, (2, 0)), npy(np.array(["a", "bc"]), (3, 0)), npy(np.array([b"a"])), npy(x > 0)]
    _fuzz(tmp_path / "x.npy", seeds)


@pytest.mark.campaign
def test_mutants_of_npz_are_read_or_refused(tmp_path):
    x, y = rows(4)
    seeds = []
    for save in (np.savez, np.savez_compressed):
        buffer = io.BytesIO()
        save(buffer, x_train=x, y_train=y, x_test=x, y_test=y)
        seeds.append(buffer.getvalue())
    _fuzz(tmp_path / "x.npz", seeds)


@pytest.mark.campaign
def test_mutants_of_labels_are_loaded_or_refused(tmp_path):
    x, y = rows(20)
    words = np.array(["a", "bc", "\xe9"])[y]
    kinds = [
        words,
        words.astype(">U2"),
        np.char.encode(words),
        y,
        *(y.astype(dtype) for dtype in ("u1", "f2", "f8", "?")),
    ]
    loaded = 0
    for data in mutants([npy(labels) for labels in kinds], FUZZ, seed=23):
        (tmp_path / "y.npy").write_bytes(data)
        dataset, told = value_or_refusal(load, x, labels_from=tmp_path / "y.npy", host_memory=LIMIT)
        loaded += dataset is not None
        assert (dataset.fingerprint and repr(dataset)) if dataset else ";" in told
    assert 0 < loaded < FUZZ


def _fuzz(path: Path, seeds: list[bytes]) -> None:
    whole = 0
    for data in mutants(seeds, FUZZ, seed=20):
        path.write_bytes(data)
        with at_most(seconds=1):
            raw, told = value_or_refusal(read, path, host_memory=LIMIT)
        whole += raw is not None
        parts = [part for pair in raw.splits.values() for part in pair if part is not None] if raw else []
        assert sum(part.nbytes for part in parts) <= LIMIT
        assert raw or told.startswith(str(path))
    assert 0 < whole < FUZZ


def test_a_flipped_bit_of_an_npz_never_gives_other_values(tmp_path):
    """In a `.npy` it does: that format has no check sum."""
    x, y = rows(6)
    path = tmp_path / "x.npz"
    np.savez(path, x=x, y=y, x_test=-x, y_test=y)
    whole = path.read_bytes()
    for place in range(len(whole)):
        path.write_bytes(whole[:place] + bytes([whole[place] ^ 16]) + whole[place + 1 :])
        raw, _ = value_or_refusal(read, path)
        if raw is None:
            continue
        found = raw.splits
        assert list(found) == ["train", "test"], f"byte {place}: a split went missing"
        np.testing.assert_array_equal(found["train"].x, x)
        np.testing.assert_array_equal(found["test"].x, -x)
        np.testing.assert_array_equal([found["train"].y, found["test"].y], [y, y])


# .npz


NAMES = {
    "keras": ("x_train", "y_train", "x_test", "y_test"),
    "sklearn": ("X_train", "y_train", "X_test", "y_test"),
    "prefix": ("train_x", "train_y", "test_x", "test_y"),
    "medmnist": ("train_images", "train_labels", "test_images", "test_labels"),
    "cifar": ("train_data", "train_labels", "test_data", "test_labels"),
    "mixed": ("x", "y", "x_test", "y_test"),
    "features": ("features_train", "targets_train", "features_test", "targets_test"),
}


@pytest.mark.parametrize("names", NAMES.values(), ids=NAMES)
@pytest.mark.parametrize("save", [np.savez, np.savez_compressed])
def test_arrays_are_found_by_the_usual_names(tmp_path, names, save):
    parts = (*rows(24), *rows(9))
    save(tmp_path / "x.npz", **dict(zip(names, parts, strict=True)))
    raw = read(tmp_path / "x.npz")
    found = [part for split in ("train", "test") for part in raw.splits[split]]
    for part, expected in zip(found, parts, strict=True):
        np.testing.assert_array_equal(part, expected)
    assert raw.files == (tmp_path / "x.npz",)


@pytest.mark.parametrize("x", ["x", "X", "images", "data", "features"])
@pytest.mark.parametrize("y", ["y", "Y", "labels", "label", "target", "targets"])
def test_one_pair_is_the_train_split(tmp_path, x, y):
    parts = rows(24)
    np.savez(tmp_path / "x.npz", **{x: parts[0], y: parts[1]})
    data = load(tmp_path / "x.npz")
    assert [len(split) for split in data] == [17, 3, 4]


@pytest.mark.parametrize("valid", ["valid", "val", "validation"])
def test_three_splits(tmp_path, valid):
    parts = {name: rows(n) for name, n in (("train", 24), (valid, 9), ("test", 12))}
    arrays = {f"{part}_{name}": array for name, pair in parts.items() for part, array in zip("xy", pair, strict=True)}
    np.savez(tmp_path / "x.npz", **arrays)
    data = load(tmp_path / "x.npz")
    assert [len(split) for split in data] == [24, 9, 12]
    np.testing.assert_array_equal(data.valid.x, parts[valid][0])


def test_text_labels_are_sorted_and_numbered(tmp_path):
    x, _ = rows(24)
    names = np.array(["setosa", "virginica", "versicolor"] * 8)
    np.savez(tmp_path / "x.npz", x=x, y=names)
    data = load(tmp_path / "x.npz")
    assert data.classes == ("setosa", "versicolor", "virginica")
    np.testing.assert_array_equal(np.bincount(np.concatenate([split.y for split in data])), [8, 8, 8])


def test_arrays_of_other_names_stay_unread_whatever_they_are(tmp_path):
    x, y = rows(24)
    np.savez(tmp_path / "x.npz", x=x, y=y, label_names=np.array([{}], object), ids=np.zeros(10_000_000, np.uint8))
    raw = read(tmp_path / "x.npz", host_memory=100_000)
    assert list(raw.splits) == ["train"]


@pytest.mark.parametrize(
    ("names", "told"),
    [
        (["arr_0", "arr_1"], "'arr_0.npy', 'arr_1.npy'"),
        ([], "nothing"),
        (["x_train", "x", "y"], "x_train.npy and x.npy, each may be the x of train"),
        (["data", "images", "target"], "data.npy and images.npy"),
        (["x", "y", "target"], "y.npy and target.npy, each may be the y of train"),
        (["x", "y", "y_test"], "y_test.npy, but no features of test"),
        (["y"], "y.npy, but no features of train"),
        ([f"a{i}" for i in range(9)], "'a7.npy', …, none of which"),
    ],
)
def test_names_that_leave_a_doubt_are_refused(tmp_path, names, told):
    path = tmp_path / "x.npz"
    np.savez(path, **dict.fromkeys(names, rows()[0]))
    message = refusal(read, path)
    assert message.startswith(str(path))
    assert told in message


def test_two_entries_of_one_name_are_refused(tmp_path):
    path = tmp_path / "x.npz"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("x.npy", npy(rows()[0]))
        with pytest.warns(UserWarning, match="Duplicate"):
            archive.writestr("x.npy", npy(rows()[1]))
    assert "holds both x.npy and x.npy" in refusal(read, path)


def test_a_split_without_labels_is_told_and_can_be_predicted(tmp_path):
    x, y = rows()
    np.savez(tmp_path / "x.npz", x=x, y=y, x_test=x[:5] + 1)
    assert "test has no labels; put them beside it" in refusal(load, tmp_path / "x.npz")
    trained = Preparation(x.shape[1:], x.dtype, 1.0, ("0", "1"), (1, 1))
    np.testing.assert_array_equal(prepare(tmp_path / "x.npz", trained, part="test").split.x, x[:5] + 1)


def test_labels_may_come_from_elsewhere_and_only_then(tmp_path):
    x, y = rows()
    np.savez(tmp_path / "x.npz", x=x)
    np.savez(tmp_path / "both.npz", x=x, y=y)
    np.save(tmp_path / "x.npy", x)
    np.save(tmp_path / "y.npy", y)
    expected = load((x, y)).fingerprint
    for source in ("x.npz", "x.npy"):
        for labels in (y, y.tolist(), tmp_path / "y.npy", str(tmp_path / "y.npy")):
            assert load(tmp_path / source, labels_from=labels).fingerprint == expected
        assert "give them with labels_from=" in refusal(load, tmp_path / source)
    assert read(tmp_path / "x.npy", labels_from=tmp_path / "y.npy").files == (tmp_path / "x.npy", tmp_path / "y.npy")
    assert "leave labels_from=… out" in refusal(load, tmp_path / "both.npz", labels_from=y)
    assert "24 rows but 23 labels" in refusal(load, tmp_path / "x.npy", labels_from=y[1:])
    assert str(tmp_path / "both.npz") in refusal(load, tmp_path / "x.npy", labels_from=tmp_path / "both.npz")


def test_a_gzipped_npy_is_read(tmp_path):
    x, y = rows()
    (tmp_path / "x.npy.gz").write_bytes(gzip.compress(npy(x)))
    assert load(tmp_path / "x.npy.gz", labels_from=y).fingerprint == load((x, y)).fingerprint


def peak(call, *args) -> int:
    tracemalloc.start()
    try:
        refusal(call, *args)
        return tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()


def zipped(path: Path, contents: dict[str, bytes], method: int = zipfile.ZIP_DEFLATED) -> Path:
    with zipfile.ZipFile(path, "w", method) as archive:
        for name, content in contents.items():
            archive.writestr(name, content)
    return path


def declare(path: Path, size: int) -> None:
    """Lie about the size that every entry unpacks to."""
    data = bytearray(path.read_bytes())
    for magic, offset in ((b"PK\3\4", 22), (b"PK\1\2", 24)):
        place = data.find(magic)
        while place >= 0:
            struct.pack_into("<I", data, place + offset, size)
            place = data.find(magic, place + 1)
    path.write_bytes(data)


def test_an_archive_that_declares_more_than_the_limit_is_refused_unread(tmp_path):
    path = zipped(tmp_path / "x.npz", {"x.npy": bytes(40 << 20), "y.npy": bytes(40 << 20)})
    assert path.stat().st_size < 1 << 20
    assert peak(read_archive, path, 60 << 20) < 1 << 20
    told = refusal(read_archive, path, 60 << 20)
    assert "unpacks to 84 MB, more than the 63 MB granted" in told
    assert "host_memory=…" in told


def test_an_entry_that_hides_its_size_is_not_inflated(tmp_path):
    path = zipped(tmp_path / "x.npz", {"x.npy": bytes(100 << 20)})
    declare(path, 1000)
    assert peak(read_archive, path, 8 << 20) < 4 << 20


@pytest.mark.parametrize("size", [0, 10, 127, 128, 2**32 - 1])
def test_an_entry_that_lies_about_its_size_is_refused(tmp_path, size):
    path = zipped(tmp_path / "x.npz", {"x.npy": npy(rows()[0])})
    declare(path, size)
    assert str(path) in refusal(read_archive, path, LIMIT)


def test_an_entry_that_declares_too_much_is_still_checked_against_its_header(tmp_path):
    path = zipped(tmp_path / "x.npz", {"x.npy": npy(rows()[0])})
    declare(path, 1 << 21)
    np.testing.assert_array_equal(read_archive(path, LIMIT).splits["train"].x, rows()[0])


@pytest.mark.parametrize("method", [zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA])
def test_compressions_without_a_bound_are_not_unpacked(tmp_path, method):
    path = zipped(
        tmp_path / "x.npz", {"x.npy": bytes(100 << 20)} if method == zipfile.ZIP_BZIP2 else {"x.npy": b"x"}, method
    )
    declare(path, 1000)
    assert peak(read_archive, path, LIMIT) < 4 << 20
    assert "np.savez_compressed" in refusal(read_archive, path, LIMIT)
    assert len(bz2.compress(bytes(100 << 20))) < 1000


def test_damage_to_an_entry_is_found_by_its_check_sum(tmp_path):
    path = zipped(tmp_path / "x.npz", {"x.npy": npy(rows()[0])}, zipfile.ZIP_STORED)
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(data)
    assert "no sound .npz archive (Bad CRC-32" in refusal(read, path)


@pytest.mark.parametrize("content", [b"", b"x", b"PK\3\4" + bytes(50), b"PK\5\6" + bytes(18), b"PK\5\6" + b"\xff" * 18])
def test_what_is_no_archive_is_refused(tmp_path, content):
    path = tmp_path / "x.npz"
    path.write_bytes(content)
    assert str(path) in refusal(read, path)


def test_an_archive_with_a_comment_is_read(tmp_path):
    path = zipped(tmp_path / "x.npz", {"x.npy": npy(rows()[0])})
    with zipfile.ZipFile(path, "a") as archive:
        archive.comment = b"measured on a Monday"
    np.testing.assert_array_equal(read(path).splits["train"].x, rows()[0])


def test_more_entries_than_an_archive_can_declare_are_refused(tmp_path):
    path = zipped(tmp_path / "x.npz", {f"{i}": b"" for i in range(70_000)}, zipfile.ZIP_STORED)
    assert "its list of entries takes 3.6 MB, at most 2.1 MB are read" in refusal(read, path)


def test_an_encrypted_entry_is_refused(tmp_path):
    path = zipped(tmp_path / "x.npz", {"x.npy": npy(rows()[0])})
    data = bytearray(path.read_bytes())
    data[6] |= 1
    data[data.find(b"PK\1\2") + 8] |= 1
    path.write_bytes(data)
    assert "encrypted" in refusal(read, path)


def test_names_of_entries_cannot_write_to_the_terminal(tmp_path):
    path = zipped(tmp_path / "x.npz", {"\x1b[2J\nerror: all is well.npy": b"", "é.npy": b""})
    told = refusal(read, path)
    assert "\x1b" not in told
    assert "\n" not in told
