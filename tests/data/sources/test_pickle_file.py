"""The tutorials' pickle: three pairs of arrays, in the forms that people keep them in."""

import gzip
import pickle

import numpy as np
import pytest

from epochal import load
from epochal.data.preparation import Preparation, prepare
from needs import require
from refusals import refusal
from sourced import read


def pair(rows: int) -> tuple[np.ndarray, np.ndarray]:
    return np.arange(4 * rows, dtype=np.float32).reshape(rows, 4) / 256 + rows, np.arange(rows) % 2


@pytest.fixture
def save(tmp_path):
    def save(content, name: str = "data.pkl.gz", protocol: int = 2):
        data = pickle.dumps(content, protocol)
        (tmp_path / name).write_bytes(gzip.compress(data) if name.lower().endswith(".gz") else data)
        return tmp_path / name

    return save


@pytest.mark.parametrize("protocol", range(6))
@pytest.mark.parametrize("name", ["data.pkl.gz", "data.pkl", "data.pickle", "data.PKL.GZ", "my.data.pkl"])
def test_three_pairs_are_train_valid_and_test(save, name, protocol):
    path = save((pair(12), pair(5), pair(4)), name, protocol)
    data = load(path)
    for split, rows in zip(data, (12, 5, 4), strict=True):
        np.testing.assert_array_equal(split.x, pair(rows)[0])
        np.testing.assert_array_equal(split.y, pair(rows)[1])
    assert (data.source, data.files, data.divisor, data.notes) == (name, (path,), 1.0, ())


def test_other_forms_of_the_same(save):
    train, valid, test = pair(12), pair(5), pair(4)
    whole = load((train, valid, test)).fingerprint
    assert load(save([list(train), list(valid), test])).fingerprint == whole
    assert load(save({"test": test, "train": train, "valid": valid})).fingerprint == whole
    assert list(read(save((train, test))).splits) == ["train", "test"]
    assert list(read(save({"train": train})).splits) == ["train"]


def test_big_endian_and_fortran_order_are_the_same_data(save):
    (x, y), valid, test = pair(12), pair(5), pair(4)
    other = (np.asfortranarray(x.astype(">f4")), y.astype(">i2"))
    assert load(save((other, valid, test))).fingerprint == load((pair(12), valid, test)).fingerprint


@pytest.mark.parametrize(
    ("content", "told"),
    [
        (pair(12), "holds a tuple of 2"),
        ((pair(12),), "holds a tuple of 1"),
        ((pair(12),) * 4, "holds a tuple of 4"),
        ((pair(12), pair(5), (pair(4)[0], [0, 1, 0, 1])), "holds a tuple of 3"),
        ((pair(12), pair(5), pair(4)[0]), "holds a tuple of 3"),
        ({"x": pair(12)[0], "y": pair(12)[1]}, "holds a dict of 'x', 'y'"),
        ({b"train": pair(12)}, "holds a dict of b'train'"),
        ({i: pair(12) for i in range(9)}, "holds a dict of 0, 1, 2, 3, 4, …"),
        ({}, "holds a dict of nothing,"),
        (None, "holds a NoneType"),
        (pair(12)[0], "holds a ndarray"),
        ("text", "holds a str"),
        ([], "holds a list of 0"),
    ],
)
def test_other_contents_are_described_and_refused(save, content, told):
    path = save(content)
    message = refusal(load, path)
    assert message.startswith(f"{path}: {told}")
    assert "three pairs of arrays (train, valid, test)" in message


def test_splits_of_other_names_are_not_dropped_in_silence(save):
    path = save({"train": pair(12), "validation": pair(5)})
    assert "holds the splits 'train', 'validation'; they must be called" in refusal(load, path)


def test_labels_are_not_given_twice(save):
    assert "leave labels_from=… out" in refusal(load, save((pair(12), pair(5), pair(4))), labels_from=[0] * 12)


def test_the_limit_on_memory_holds(save):
    path = save((pair(1000), pair(5), pair(4)))
    assert str(path) in refusal(load, path, host_memory=10_000)


def test_rows_can_be_predicted_in_order(save):
    path = save((pair(12), pair(5), pair(4)))
    rows = prepare(path, Preparation.of(load(path)), part="all").split
    np.testing.assert_array_equal(rows.x, np.concatenate([pair(12)[0], pair(5)[0], pair(4)[0]]))


@pytest.mark.data
def test_the_tutorials_own_file():
    data = load(require("mnist.pkl.gz"))
    assert [split.x.shape for split in data] == [(50_000, 784), (10_000, 784), (10_000, 784)]
    assert (data.train.x.dtype, float(data.train.x.max()), data.divisor) == (np.float32, 255 / 256, 1)
    assert data.classes == tuple("0123456789")
    assert np.bincount(data.test.y).tolist() == [980, 1135, 1032, 1010, 982, 892, 958, 1028, 974, 1009]
    assert not data.train.x.flags.writeable
