"""What is demanded of features and labels: every message, and the duplicates between splits."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from epochal.data import checks, labels, rows
from refusals import refusal
from work import at_most

FLOAT32_MAX = float(np.finfo(np.float32).max)


# Features


@pytest.mark.parametrize("dtype", ["?", "u1", "u2", "u4", "u8", "i1", "i2", "i4", "i8", "f2", "f4", "f8"])
@pytest.mark.parametrize("order", ["<", ">"])
def test_features_keep_their_dtype_and_become_native(dtype, order):
    values = np.array([[0, 1], [1, 0], [1, 1]])
    x = checks.features(values.astype(np.dtype(dtype).newbyteorder(order)), "here")
    assert x.dtype == np.dtype(dtype)
    assert x.dtype.isnative
    np.testing.assert_array_equal(x, values)


def test_native_features_are_not_copied():
    x = np.zeros((3, 2))
    assert checks.features(x, "here") is x


@pytest.mark.parametrize(
    ("x", "told"),
    [
        (np.array([["a", "b"]]), "got dtype <U1"),
        (np.array([[1, None]], object), "got dtype object"),
        (np.zeros((2, 2), complex), "got dtype complex128"),
        (np.zeros((2, 2), "M8[s]"), "got dtype datetime64[s]"),
        (np.zeros((2, 2), [("a", "f4")]), "got dtype [('a', '<f4')]"),
        (np.zeros((2, 2), np.longdouble), "numbers of at most 64 bits"),
        (np.zeros(4), "must have shape [rows, …], got [4]; reshape one feature to [rows, 1]"),
        (np.zeros(()), "got []"),
        (3, "got []"),
        (np.zeros((0, 4)), "the split is empty, its features have shape [0, 4]"),
        (np.zeros((4, 0)), "shape [4, 0]"),
        (np.zeros((4, 3, 0)), "shape [4, 3, 0]"),
    ],
)
def test_features_that_cannot_be_used_are_refused(x, told):
    message = refusal(checks.features, x, "here")
    assert message.startswith("here: ")
    assert told in message


@pytest.mark.parametrize(
    ("dtype", "value"),
    [
        *[(dtype, value) for dtype in ("f2", "f4", "f8", ">f4") for value in (np.nan, np.inf, -np.inf)],
        ("f8", 1e39), ("f8", -1e300), ("i8", 2**31), ("i8", -(2**31) - 1), ("i8", 2**32 + 3), ("u8", 2**32),
        ("u8", 2**64 - 1), (">i8", 2**40),
    ],
)  # fmt: skip
@pytest.mark.parametrize("shape", [(7, 5), (7, 3, 4, 2), (1, 1)])
@pytest.mark.parametrize("block", [1, 60, 1 << 24])
def test_what_a_device_would_change_is_refused_with_its_place(monkeypatch, dtype, value, shape, block):
    monkeypatch.setattr(rows, "BLOCK_BYTES", block)
    place = tuple(np.random.default_rng(0).integers(0, shape))
    x = np.ones(shape, dtype)
    x[place] = value
    later = tuple(size - 1 for size in shape)
    x[later] = value
    row, *feature = place
    message = refusal(checks.features, x, "here")
    assert message.startswith(f"here: row {row}, feature {', '.join(map(str, feature))} is {x[place]}; every feature")
    assert "impute or rescale it, or drop the row" in message


@pytest.mark.parametrize(
    ("dtype", "least", "most"),
    [("f8", -FLOAT32_MAX, FLOAT32_MAX), ("f4", -FLOAT32_MAX, FLOAT32_MAX), ("f2", -65504, 65504),
     ("i8", -(2**31), 2**31 - 1), ("u8", 0, 2**32 - 1), ("u4", 0, 2**32 - 1), ("i4", -(2**31), 2**31 - 1)],
)  # fmt: skip
def test_the_bounds_themselves_are_kept(dtype, least, most):
    x = np.array([[least, most]], dtype)
    assert checks.features(x, "here") is x


@settings(max_examples=200, deadline=None)
@given(x=arrays.arrays(st.sampled_from(["f2", "f4", "f8"]), (4, 3), elements=st.floats(width=16)))
def test_finite_features_pass_and_others_are_found_at_the_first_place(x):
    bad = np.argwhere(~np.isfinite(x))
    if len(bad):
        assert f"row {bad[0][0]}, feature {bad[0][1]} is" in refusal(checks.features, x, "here")
    else:
        assert checks.features(x, "here") is x


def test_booleans_that_are_neither_are_refused():
    damaged = np.frombuffer(bytes([0, 1, 2, 1]), bool).reshape(2, 2)
    assert "neither 0 nor 1" in refusal(checks.features, damaged, "here")
    checks.features(np.array([[True, False]])[:, ::-1], "here")


def test_arrays_in_any_order_of_memory_are_checked():
    x = np.asfortranarray(np.ones((6, 4)))[::-2, 1:]
    assert checks.features(x, "here") is x
    x[1, 2] = np.nan
    assert "row 1, feature 2 is nan" in refusal(checks.features, x, "here")


# Shapes


@pytest.mark.parametrize(
    ("shape", "told"),
    [
        ((6, 1), "got [6, 1]; give one label a row: y.ravel()"),
        ((1, 6), "got [1, 6]; give one label a row: y.ravel()"),
        ((6, 3), "got [6, 3]; give one label a row: of one-hot labels y.argmax(axis=1)"),
        ((), "got []"),
        ((6, 2, 2), "got [6, 2, 2]"),
        ((5,), "6 rows but 5 labels"),
        ((0,), "6 rows but 0 labels"),
    ],
)
def test_labels_of_another_shape_are_refused(shape, told):
    assert told in refusal(checks.same_length, np.zeros((6, 2)), np.zeros(shape), "here")


def test_big_counts_are_written_with_commas():
    assert "60,000 rows but 59,999 labels" in refusal(
        checks.same_length, np.zeros((60_000, 1)), np.zeros(59_999), "here"
    )


def test_splits_of_unlike_examples_are_refused():
    one = np.zeros((4, 3), np.float32)
    checks.same_shape({"train": one, "test": np.ones((9, 3), np.float32)}, "here")
    for other, told in ((np.zeros((4, 2), np.float32), "float32[2]"), (np.zeros((4, 3)), "float64[3]")):
        message = refusal(checks.same_shape, {"train": one, "valid": one, "test": other}, "here")
        assert f"here: train has examples float32[3], but test has {told}; make them alike" in message


# Labels


def encode(train, test=None, names=None):
    found = {"train": np.asarray(train)} | ({} if test is None else {"test": np.asarray(test)})
    return labels.encode_labels(found, "here", names)


@settings(max_examples=100, deadline=None)
@given(
    values=st.lists(st.integers(0, 9), min_size=1, max_size=20),
    dtype=st.sampled_from(["u1", "u2", "u4", "u8", "i1", "i2", "i4", "i8", "f2", "f4", "f8", ">i4", ">f8", "O", "g"]),
)
def test_whole_numbers_of_any_dtype_stay_as_they_are(values, dtype):
    coded, classes = encode(np.array(values, dtype))
    assert coded["train"].tolist() == values
    assert coded["train"].dtype == np.int32
    assert classes == tuple(str(i) for i in range(max(values) + 1))


@settings(max_examples=100, deadline=None)
@given(
    words=st.lists(st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"])), min_size=1, max_size=9),
    form=st.sampled_from(["U", "O", "S", "T", ">U"]),
)
def test_text_of_any_form_is_sorted_and_numbered(words, form):
    y = {
        "U": lambda: np.array(words),
        ">U": lambda: np.array(words).astype(np.array(words).dtype.newbyteorder(">")),
        "O": lambda: np.array(words, object),
        "S": lambda: np.char.encode(np.array(words), "utf-8"),
        "T": lambda: np.array(words, np.dtypes.StringDType()),
    }[form]()
    coded, classes = encode(y)
    assert classes == tuple(sorted(set(words)))
    assert [classes[code] for code in coded["train"]] == words
    assert all(type(name) is str for name in classes)


def test_booleans_become_two_classes():
    for y in (np.array([True, False, True]), np.array([True, False, True], object)):
        coded, classes = encode(y, y[:1])
        assert (coded["train"].tolist(), coded["test"].tolist(), classes) == ([1, 0, 1], [1], ("False", "True"))


def test_codes_are_those_of_train_in_every_split():
    coded, classes = encode(["cat", "dog", "ant"], ["dog", "dog"])
    assert (coded["test"].tolist(), classes) == ([2, 2], ("ant", "cat", "dog"))
    assert encode([0, 1, 2], [2])[1] == ("0", "1", "2")


@pytest.mark.parametrize("longer", ["doge", "do"])
def test_text_of_unlike_widths_is_compared_whole(longer):
    assert f"test: row 0 has label '{longer}'" in refusal(encode, ["dog", "cat"], [longer])


def test_names_name_whole_numbers():
    coded, classes = encode([0, 2, 1], names=["a", "b", "c"])
    assert (coded["train"].tolist(), classes) == ([0, 2, 1], ("a", "b", "c"))
    assert encode([0, 1], names=["a", "b", "c"])[1] == ("a", "b", "c")
    assert "train: row 1 has label 3, but classes run 0..2; fix" in refusal(encode, [0, 3], names=["a", "b", "c"])


@pytest.mark.parametrize(
    ("y", "row", "value", "remedy"),
    [
        (np.array([0, 1.5]), 1, "1.5", "is this a regression target?"),
        (np.array([0, 1, 0.999], np.float16), 2, "0.9990234375", "regression"),
        (np.array([0, np.nan]), 1, "nan", "label the row, or drop it"),
        (np.array([0, np.inf]), 1, "inf", "number the classes"),
        (np.array([0, 1, -1]), 2, "-1", "number the classes 0, 1, …, or write them as text"),
        (np.array([0, -1], np.int8), 1, "-1", "number"),
        (np.array([0.0, -1.0]), 1, "-1.0", "number"),
        (np.array([0, 2**31]), 1, "2147483648", "number"),
        (np.array([0, 2**32 + 3]), 1, "4294967299", "number"),
        (np.array([0, 2**64 - 1], np.uint64), 1, "18446744073709551615", "number"),
        (np.array([0, 2**31 + 5], np.uint32), 1, "2147483653", "number"),
        (np.array([1e300, 0]), 0, "1e+300", "number"),
        (np.array([0, 2.5], np.longdouble), 1, "2.5", "regression"),
        (np.array(["a", None], object), 1, "None", "label the row, or drop it"),
        (np.array(["a", np.nan], object), 1, "nan", "label the row"),
        (np.array([0, 1, np.float64("nan")], object), 2, "nan", "label the row"),
        (np.array([0, 2.5], object), 1, "2.5", "regression"),
        (np.array([0, 2**70], object), 1, str(2**70), "number"),
        (np.array([0, -1], object), 1, "-1", "number"),
        (np.array([b"a", b"b"], object), 0, "b'a'", "text"),
        (np.array([[1], [2, 3]], object), 0, "[1]", "text"),
        (np.array(["a", b"b" * 999], object), 1, "b'bbb", "text"),
    ],
)
def test_labels_that_are_no_classes_are_refused_with_row_and_value(y, row, value, remedy):
    message = refusal(encode, y)
    assert message.startswith(f"here: train: row {row} has label ")
    assert value in message.partition(";")[0]
    assert "labels are whole numbers from 0 to 2,147,483,647, or text: " in message
    assert remedy in message
    assert len(message) < 300


@pytest.mark.parametrize("dtype", ["c8", "M8[s]", "m8[s]", "V4", [("a", "i4")]])
def test_labels_of_other_dtypes_are_refused(dtype):
    assert f"got dtype {np.dtype(dtype)}; turn them into" in refusal(encode, np.zeros(3, dtype))


def test_a_value_that_does_not_compare_is_only_refused():
    class Missing:
        def __eq__(self, other):
            raise TypeError("boolean value of NA is ambiguous")

        __hash__ = None

        def __repr__(self):
            return "<NA>"

    assert "row 1 has label <NA>" in refusal(encode, np.array(["a", Missing()], object))


@pytest.mark.parametrize(
    ("values", "row"), [(["a", 1], 1), ([1, "1"], 1), ([True, 1], 1), ([0, 1, False], 2), (["True", True], 1)]
)
def test_labels_of_mixed_kinds_are_refused_since_they_could_fall_together(values, row):
    message = refusal(encode, np.array(values, object))
    assert f"row {row} has label {values[row]!r}" in message
    assert f"but row 0 has {values[0]!r}" in message
    assert "all of them whole numbers, or all of them text" in message


@pytest.mark.parametrize(
    ("train", "test"),
    [([0, 1], ["0", "1"]), (["0", "1"], [0, 1]), ([True, False], [1, 0]), ([0.0, 1.0], [True, False])],
)
def test_splits_of_unlike_labels_are_refused(train, test):
    message = refusal(encode, train, test)
    assert message.startswith(f"here: train has labels of dtype {np.asarray(train).dtype}, but test of")


@pytest.mark.parametrize(
    ("y", "character"),
    [
        (np.frombuffer(bytes([97, 0, 0, 0, 255, 255, 255, 255]), "<U1"), "U+FFFFFFFF"),
        (np.frombuffer(bytes([97, 0, 0, 0, 0, 0, 17, 0]), "<U1"), "U+110000"),
        (np.frombuffer(bytes([0, 0, 0, 97, 0, 17, 0, 0]), ">U1"), "U+110000"),
        (np.array(["a", "\udc80"]), "U+DC80"),
        (np.array([b"a", b"\xff"]), "U+DCFF"),
        (np.array([b"a", b"\xe9"]), "U+DCE9"),
    ],
)
def test_text_that_is_no_text_is_refused(y, character):
    message = refusal(encode, y)
    assert f"train: row 1 has a label whose character 0 is {character}, which is no character" in message


def test_two_bad_byte_strings_never_become_one_class():
    refusal(encode, np.array([b"\xff", b"\xfe"]))


@pytest.mark.parametrize(
    ("train", "test", "told"),
    [
        ([0, 1, 2], [0, 3], "test: row 1 has label 3, but classes run 0..2 in train"),
        (range(10), [10], "test: row 0 has label 10, but classes run 0..9 in train"),
        (["a", "b"], ["a", "c"], "test: row 1 has label 'c', which no train row has (train has 'a', 'b')"),
        (list("abcdef"), ["é"], "'é', which no train row has (train has 'a', 'b', 'c', 'd', 'e', …)"),
        (["a", "b"], [""], "row 0 has label ''"),
    ],
)
def test_labels_that_train_never_saw_are_refused(train, test, told):
    message = refusal(encode, train, test)
    assert message.startswith("here: ")
    assert told in message
    assert "fix the label, or bring train rows of that class" in message


def test_too_many_classes_are_a_mistake_and_take_no_time():
    with at_most(seconds=3):
        message = refusal(encode, [0, 2**31 - 1])
        assert "here: the labels mean 2,147,483,648 classes, at most 100,000 are supported" in message
        assert "regression target?" in message
        assert "100,001 classes" in refusal(encode, np.arange(100_001))
        assert "100,001 classes" in refusal(encode, np.arange(100_001).astype(str))
        assert len(encode(np.arange(100_000))[1]) == 100_000


@pytest.mark.parametrize(
    ("y", "classes", "told"),
    [
        ([1, 2, 3], 4, "train has no row of class 0 ('0'), of 4 classes; subtract 1 from all labels"),
        (
            [0, 2],
            3,
            "no row of class 1 ('1'), of 3 classes; number the classes 0, 1, … without gaps, write them as text",
        ),
        ([0, 5, 9], 10, "no row of class 1 ('1') and of 6 more, of 10 classes"),
        ([0, 0, 0], 1, "all 3 train rows have class '0'; a classifier needs two classes"),
        ([1, 1], 2, "no row of class 0"),
    ],
)
def test_train_has_rows_of_every_class(y, classes, told):
    names = [str(i) for i in range(classes)]
    assert told in refusal(labels.all_classes, np.array(y, np.int32), names, "here")
    labels.all_classes(np.arange(3, dtype=np.int32), ["0", "1", "2"], "here")


SIGNALLING = {"f2": 0x7C01, "f4": 0x7F800001, "f8": 0x7FF0000000000001}


@pytest.mark.parametrize("dtype", SIGNALLING)
def test_a_signalling_nan_is_a_nan_and_no_warning(dtype):
    values = np.array([0, SIGNALLING[dtype], 0], f"u{dtype[1]}").view(dtype)
    assert "row 1 has label nan" in refusal(encode, values)
    assert "row 1, feature 0 is nan" in refusal(checks.features, values[:, None], "here")
    if dtype == "f8" and np.dtype(np.longdouble).itemsize == 16:
        extended = np.frombuffer(bytes(16) + (0x7FFF8000000000000001).to_bytes(16, "little"), np.longdouble)
        assert "row 1 has label nan" in refusal(encode, extended)


# Rows that two splits share


def shared_oracle(a: np.ndarray, b: np.ndarray) -> int:
    known = {row.tobytes() for row in a}
    return sum(row.tobytes() in known for row in b)


@settings(max_examples=200, deadline=None)
@given(data=st.data())
def test_shared_rows_are_counted_as_one_by_one(data):
    dtype = np.dtype(data.draw(st.sampled_from(["?", "u1", "i2", "f2", "f4", "f8", "i8"])))
    shape = data.draw(arrays.array_shapes(min_dims=1, max_dims=3, max_side=5))
    few = {"?": [False, True], "u1": [0, 1, 255], "i2": [0, 1, -1], "i8": [0, 1, -1, 1 << 31]}.get(
        dtype.str[1:] if dtype.kind != "b" else "?", [0.0, -0.0, 1.0, -1.0]
    )
    a, b = (
        data.draw(arrays.arrays(dtype, (data.draw(st.integers(1, 12)), *shape), elements=st.sampled_from(few)))
        for _ in range(2)
    )
    assert checks.shared_rows(a, b) == shared_oracle(a, b)


@pytest.mark.parametrize("width", [1, 2, 3, 5, 7, 8, 9, 15, 17, 784])
@pytest.mark.parametrize("dtype", ["u1", "f4"])
@pytest.mark.parametrize("block", [1, 1000, 1 << 24])
def test_planted_duplicates_are_all_found(monkeypatch, width, dtype, block):
    monkeypatch.setattr(rows, "BLOCK_BYTES", block)
    generator = np.random.default_rng(width)
    a, b = (generator.integers(0, 256, (50, width)).astype(dtype) for _ in range(2))
    b[::7] = a[3:11]
    assert checks.shared_rows(a, b) == shared_oracle(a, b) >= 8


def test_zeros_of_unlike_sign_are_other_bytes():
    assert checks.shared_rows(np.array([[0.0, 1.0]]), np.array([[-0.0, 1.0], [0.0, 1.0]])) == 1


def test_rows_of_one_hash_are_told_apart(monkeypatch):
    monkeypatch.setattr(checks, "row_hashes", lambda x: np.zeros(len(x), np.uint64))
    a, b = (np.random.default_rng(0).integers(0, 3, (400, 4)) for _ in range(2))
    assert checks.shared_rows(a[:20], b) == shared_oracle(a[:20], b)
    assert 0 < checks.shared_rows(a[:20], b) < 400


def test_arrays_in_any_order_of_memory_share_the_same_rows():
    x = np.random.default_rng(0).normal(size=(40, 6)).astype(np.float32)
    unaligned = np.frombuffer(b"x" + x.tobytes(), np.float32, offset=1).reshape(x.shape)
    for other in (
        np.asfortranarray(x),
        x[::-1],
        np.repeat(x, 2, axis=1)[:, ::2],
        unaligned,
        np.broadcast_to(x, x.shape),
    ):
        assert checks.shared_rows(x, other) == checks.shared_rows(other, x) == 40


@pytest.mark.parametrize("kind", ["few", "same", "all", "none", "patterns"])
def test_no_data_make_the_search_slow(kind):
    generator = np.random.default_rng(0)
    rows = {
        "few": lambda: generator.integers(0, 10, (200_000, 1)).astype(np.float32) * np.ones(8, np.float32),
        "same": lambda: np.ones((200_000, 8), np.float32),
        "all": lambda: np.arange(1_600_000, dtype=np.float32).reshape(-1, 8),
        "none": lambda: generator.normal(size=(200_000, 8)).astype(np.float32),
        "patterns": lambda: generator.integers(0, 2, (200_000, 8)) * np.float64(2.0**40),
    }[kind]
    a, b = rows(), rows()
    with at_most(seconds=2):
        count = checks.shared_rows(a, b)
    assert count == shared_oracle(a, b)
