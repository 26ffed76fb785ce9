"""Arrays of a program: every form that is understood, and what is said of the others."""

import numpy as np
import pytest

from epochal import load
from epochal.data.sources.arrays import pairs
from refusals import refusal
from sourced import read

X = np.random.default_rng(0).normal(size=(24, 3)).astype(np.float32)
Y = np.arange(24) % 3


def splits(source) -> dict[str, int]:
    return {name: len(x) for name, (x, y) in pairs.read(source).splits.items()}


def test_forms_that_are_understood():
    pair, five, six = (X, Y), (X[:5], Y[:5]), (X[:6], Y[:6])
    assert splits(pair) == splits([X, Y]) == splits({"train": pair}) == {"train": 24}
    assert splits((pair, five)) == splits([pair, five]) == {"train": 24, "test": 5}
    assert splits((pair, six, five)) == splits([pair, [*six], five]) == {"train": 24, "valid": 6, "test": 5}
    assert splits({"test": five, "train": pair}) == {"test": 5, "train": 24}
    assert splits((X.tolist(), Y.tolist())) == {"train": 24}


def test_arrays_are_not_copied():
    x, y = pairs.read((X, Y)).splits["train"]
    assert x is X
    assert y is Y
    assert load({"train": (X, Y), "valid": (X, Y), "test": (-X, Y)}).train.x.base is X


def test_two_rows_in_lists_are_rows_and_no_pairs():
    (x, y) = pairs.read(([[1.0, 2.0], [3.0, 4.0]], [0, 1])).splits["train"]
    assert (x.shape, y.shape) == ((2, 2), (2,))


def test_arrays_of_other_libraries_are_taken():
    import jax.numpy as jnp

    data = load((jnp.asarray(X), jnp.asarray(Y)))
    assert data.fingerprint == load((X, Y)).fingerprint
    assert data.train.x.dtype == np.float32


def test_labels_beside_an_array():
    assert load(X, labels_from=Y).fingerprint == load((X, Y)).fingerprint
    assert load(X.tolist(), labels_from=Y.tolist()).fingerprint == load((X.astype(float), Y)).fingerprint


@pytest.mark.parametrize(
    ("source", "told"),
    [
        (X, "got ndarray; expected (x, y)"),
        (7, "got int"),
        (None, "got NoneType"),
        (b"digits", "got bytes"),
        ((X,), "got tuple of 1"),
        ((), "got tuple of 0"),
        ((X, Y, X, Y), "got tuple of 4"),
        ([(X, Y)] * 4, "got list of 4"),
        ({}, "got an empty mapping"),
        ({"train": (X, Y), "val": (X, Y), "dev": (X, Y)}, "got two names of one split 'dev'"),
        ({"train": (X, Y), "best": (X, Y)}, "got a mapping with 'best'"),
        ({0: (X, Y)}, "got a mapping with 0"),
        ({"train": X}, "train is no pair of arrays but ndarray"),
        ({"train": None}, "train is no pair of arrays but NoneType"),
        (((X, Y), (X, Y), (X, Y, Y)), "test is no pair of arrays but tuple"),
        (([[1, 2], [3]], [0, 1]), "train: features cannot become an array"),
        ((X, [[0], [1, 2]]), "train: labels cannot become an array"),
    ],
)
def test_forms_that_are_not_understood_are_refused(source, told):
    message = refusal(load, source)
    assert message.startswith("arrays: ")
    assert told in message


def test_masked_entries_are_refused_since_numpy_would_drop_the_mask():
    masked = np.ma.masked_array(X, mask=X > 1)
    assert "train: features have masked entries" in refusal(load, (masked, Y))
    assert "train: labels have masked entries" in refusal(load, (X, np.ma.masked_array(Y, mask=Y == 1)))
    assert "labels have masked entries" in refusal(load, X, labels_from=np.ma.masked_array(Y, mask=Y == 1))
    assert load((np.ma.masked_array(X), Y)).fingerprint == load((X, Y)).fingerprint


def test_what_another_library_raises_is_told():
    class OnAnotherDevice:
        def __array__(self, *args, **kwargs):
            raise RuntimeError("move it to the host first\nby .cpu()")

    told = refusal(load, (OnAnotherDevice(), Y))
    assert "features cannot become an array (move it to the host first)" in told


@pytest.mark.parametrize("source", [(X, Y), ((X, Y), (X, Y)), {"train": (X, Y)}])
def test_labels_are_not_given_twice(source):
    assert "leave labels_from=… out" in refusal(load, source, labels_from=Y)


@pytest.mark.parametrize("labels", ["no/such/file.npy", False, 3, np.zeros((24, 2)), "x" * 5000])
def test_labels_that_are_none_are_refused(labels):
    refusal(load, X, labels_from=labels)


def test_read_of_arrays_keeps_what_was_found():
    raw = read((X, Y))
    assert (raw.name, raw.files, raw.divisor, raw.classes, raw.ordered_holdout) == ("arrays", (), None, None, False)
