"""The data set: what is held out, what is refused, and what tells one data set from another."""

import itertools
from dataclasses import FrozenInstanceError, replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import epochal
from conftest import blobs
from epochal import Reading, Split, load
from epochal.data.holdout import stratified
from epochal.data.loading import assemble
from epochal.data.preparation import Preparation, prepare_raw
from epochal.data.sources import RawDataset, RawSplit
from refusals import refusal, value_or_refusal

SPLITS = ("train", "valid", "test")


def numbered(y) -> tuple[np.ndarray, np.ndarray]:
    """Rows that say which row they are."""
    return np.arange(len(y), dtype=np.float64)[:, None], np.asarray(y)


def three(x: np.ndarray, y: np.ndarray) -> dict:
    """Three splits of the same labels and of unlike rows."""
    return {"train": (x, y), "valid": (x + 1000, y), "test": (x - 1000, y)}


# Splits


def test_a_split_unpacks_and_a_data_set_unpacks(small):
    train, valid, test = small
    assert (train, valid, test) == (small.train, small.valid, small.test)
    x, y = train
    assert x is train.x
    assert y is train.y
    assert [len(split) for split in small] == [101, 40, 33]
    assert (train.example_shape, small.example_shape, small.divisor) == ((6,), (6,), 1.0)
    assert train.row_bytes == 6 * 4 + 4


@pytest.mark.parametrize(
    "rows", [slice(3, 9), slice(None, None, 2), slice(0), slice(-5, None), np.array([5, 1, 1]), [2, 0], []]
)
def test_a_slice_of_a_split_is_a_split(rows):
    split = Split(np.arange(24.0).reshape(12, 2), np.arange(12), 16.0)
    part = split[rows]
    np.testing.assert_array_equal(part.x, split.x[rows])
    np.testing.assert_array_equal(part.y, split.y[rows])
    assert part.divisor == 16.0
    assert split[np.arange(12) % 2 == 0].y.tolist() == [0, 2, 4, 6, 8, 10]


@pytest.mark.parametrize("row", [0, np.int64(3), (0, 1), np.zeros((2, 2), int), None])
def test_one_row_is_asked_for_by_a_slice(small, row):
    with pytest.raises(TypeError, match="rows must be a slice or a list of row numbers"):
        small.train[row]


def test_a_slice_of_rows_is_not_copied(small):
    assert small.train[5:9].x.base is small.train.x.base


def test_what_is_shown_of_a_data_set(small):
    assert repr(small) == "Dataset(arrays: train 101, valid 40, test 33; 3 classes; float32[6])"
    assert repr(small.valid) == "Split(40 rows of float32[6])"


def test_a_data_set_is_not_written_to(small):
    with pytest.raises(FrozenInstanceError):
        small.train = small.test
    for split in small:
        with pytest.raises(ValueError, match="read-only"):
            split.x[0] = 7


def test_the_callers_own_arrays_stay_writeable_and_labels_are_ours():
    splits = {name: blobs(30, seed=seed) for seed, name in enumerate(SPLITS)}
    data = load(splits)
    for x, y in splits.values():
        x[:], y[:] = 0, 2
        assert x.flags.writeable
    assert np.bincount(data.train.y).tolist() == [10, 10, 10]


@pytest.mark.parametrize("last", [True, False])
def test_writing_to_the_callers_array_never_reaches_the_device(last):
    from epochal.device.residency import put

    x, y = blobs(60)
    data = load((x, y), holdout="last" if last else "stratified")
    placed, expected = put(data.train.x), data.train.x.copy()
    x[:] = -1
    np.testing.assert_array_equal(placed, expected)


# Holding out


@settings(max_examples=150, deadline=None)
@given(
    sizes=st.lists(st.integers(1, 40), min_size=2, max_size=6),
    seed=st.integers(0, 2**32 - 1),
    holdout=st.sampled_from(["auto", "stratified", "last"]),
    has=st.sampled_from([(), ("test",), ("valid",), ("valid", "test")]),
    order=st.randoms(use_true_random=False),
)
def test_splits_are_disjoint_and_complete_by_construction(sizes, seed, holdout, has, order):
    labels = [label for label, size in enumerate(sizes) for _ in range(size)]
    order.shuffle(labels)
    x, y = numbered(labels)
    given_splits = {name: (x[:3] - 1000 * i, y[:3]) for i, name in enumerate(has, 1)}
    data, told = value_or_refusal(load, {"train": (x, y)} | given_splits, holdout=holdout, split_seed=seed)
    if data is None:
        assert "too few to hold" in told or "they were held out" in told
        return
    held = [split for name, split in zip(SPLITS, data, strict=True) if name not in has]
    rows = np.concatenate([split.x[:, 0] for split in held]).astype(int)
    assert sorted(rows) == list(range(len(y)))
    for split in held:
        numbers = split.x[:, 0].astype(int)
        assert (np.diff(numbers) > 0).all(), "rows keep their order"
        np.testing.assert_array_equal(split.y, y[numbers])
    for name in has:
        np.testing.assert_array_equal(getattr(data, name).x, given_splits[name][0])
    assert sum("held out" in note for note in data.notes) == 2 - len(has)


@settings(max_examples=200, deadline=None)
@given(
    sizes=st.lists(st.integers(1, 50), min_size=1, max_size=8),
    seed=st.integers(0, 2**32 - 1),
    share=st.floats(0, 0.5),
)
def test_a_stratified_draw_takes_every_class_in_its_share(sizes, seed, share):
    y = np.repeat(np.arange(len(sizes)) * 3, sizes)  # classes may have gaps here
    y = np.random.default_rng(seed).permutation(y)
    count = int(len(y) * share)
    rows = stratified(y, count, seed)
    assert len(rows) == len(set(rows.tolist())) <= count
    assert (np.diff(rows) > 0).all()
    np.testing.assert_array_equal(rows, stratified(y, count, seed))
    taken = np.array([(y[rows] == label * 3).sum() for label in range(len(sizes))])
    exact = np.array(sizes) * count / len(y)
    assert (np.abs(taken - exact) < 1).all()
    assert (taken < sizes).all(), "no class loses its last row"
    # Fewer than asked only where every class that could give one more row would be beyond its share, or empty.
    if len(rows) < count:
        assert ((taken + 1 >= np.array(sizes)) | (taken >= exact)).all()
    # The largest remainders first: no class was rounded down where one of a smaller remainder was rounded up.
    remainder = exact - np.floor(exact)
    up, down = taken > exact, (taken < exact) & (taken + 1 < np.array(sizes))
    assert remainder[up].min(initial=1) >= remainder[down].max(initial=0) - 1e-9


def test_shares_of_classes_are_those_of_train():
    y = np.repeat([0, 1, 2], [600, 300, 60])
    data = load(numbered(y))
    assert np.bincount(data.test.y).tolist() == [100, 50, 10]
    assert np.bincount(data.valid.y).tolist() == [83, 42, 8]
    assert data.notes[0] == "test: 160 rows held out of train, a stratified draw with seed 0"


def test_the_draw_depends_on_the_seed_alone():
    x, y = blobs(120)
    fingerprints = [load((x, y), split_seed=seed).fingerprint for seed in (0, 0, 1, 2)]
    assert fingerprints[0] == fingerprints[1]
    assert len(set(fingerprints)) == 3
    rows = load(numbered(np.arange(120) % 3), split_seed=5).test.x[:, 0]
    np.testing.assert_array_equal(rows, load(numbered(np.arange(120) % 3), split_seed=5).test.x[:, 0])


def test_a_draw_leaves_nothing_to_the_order_of_the_classes():
    """Every row can be drawn: over many seeds each is held out about as often."""
    y = np.arange(60) % 3
    times = np.bincount(np.concatenate([stratified(y, 10, seed) for seed in range(600)]), minlength=60)
    assert times.sum() == 6000
    assert (abs(times - 100) < 45).all()


def test_the_last_rows_in_order():
    x, y = numbered(np.arange(36) % 3)
    data = load((x, y), holdout="last")
    assert data.train.x[:, 0].tolist() == list(range(25))
    assert data.valid.x[:, 0].tolist() == list(range(25, 30))
    assert data.test.x[:, 0].tolist() == list(range(30, 36))
    assert data.notes == (
        "test: 6 rows held out of train, the last rows in order",
        "valid: 5 rows held out of train, the last rows in order",
    )
    assert np.shares_memory(data.train.x, x)


def test_auto_is_the_last_rows_only_where_the_source_says_so():
    x, y = numbered(np.arange(36) % 3)
    for ordered, holdout in ((True, "last"), (False, "stratified")):
        raw = RawDataset("name", {"train": RawSplit(x, y)}, ordered_holdout=ordered)
        assert assemble(raw, Reading()).fingerprint == assemble(raw, Reading(holdout=holdout)).fingerprint
    assert assemble(raw, Reading(holdout="last")).fingerprint != assemble(raw, Reading()).fingerprint


def test_sorted_rows_and_the_last_sixth_lose_a_class():
    told = refusal(load, numbered(np.repeat(range(4), 6)), holdout="last")
    assert told.startswith("arrays: train has no row of class 3 ('3'), of 4 classes; they were held out")
    assert "holdout='stratified'" in told
    load(numbered(np.repeat(range(4), 6)), holdout="stratified")


def test_a_class_with_one_row_stays_in_train():
    y = np.array([0] * 30 + [1] * 30 + [2])
    for seed in range(20):
        data = load(numbered(y), split_seed=seed)
        assert 2 in data.train.y
        assert 2 not in data.valid.y
        assert 2 not in data.test.y


@pytest.mark.parametrize("rows", range(2, 12))
@pytest.mark.parametrize("holdout", ["last", "stratified"])
def test_tiny_sets_are_split_or_refused(rows, holdout):
    source = numbered(np.arange(rows) % 2)
    if rows < 7:  # one of six for test, and one of the six that are left for validation
        told = refusal(load, source, holdout=holdout)
        assert "rows are too few to hold 0.167 of them out as" in told
    else:
        data = load(source, holdout=holdout)
        assert [len(split) for split in data][1:] == [1, 1]


def test_rows_that_each_have_a_class_of_their_own_cannot_be_drawn_from():
    assert "too few" in refusal(load, numbered(np.arange(30)))


def test_what_is_held_out_by_a_draw_may_be_taken_by_the_device_as_it_is():
    data = load(blobs(60))
    for array in (*data.train, *data.valid, *data.test):
        assert array.base is None or not array.base.flags.writeable


# What is refused


@pytest.mark.parametrize(
    ("options", "told"),
    [
        ({"holdout": "first"}, "holdout: must be one of auto, last, stratified, got 'first'"),
        ({"holdout": None}, "got None"),
        ({"split_seed": -1}, "split_seed: must be at least 0, got -1"),
        ({"split_seed": 1.5}, "got 1.5"),
        ({"divisor": 0}, "divisor: must be above 0, got 0"),
        ({"divisor": -255.0}, "got -255.0"),
        ({"divisor": float("nan")}, "got nan"),
        ({"divisor": float("inf")}, "got inf"),
        ({"divisor": "255"}, "got '255'"),
    ],
)
def test_options_out_of_range_are_refused(options, told):
    with pytest.raises(epochal.RecipeError) as caught:
        load(blobs(60), **options)
    assert told in str(caught.value)


def spoil(name: str, x=None, y=None) -> dict:
    splits = {split: blobs(30, seed=seed) for seed, split in enumerate(SPLITS)}
    splits[name] = (splits[name][0] if x is None else x, splits[name][1] if y is None else y)
    return splits


@pytest.mark.parametrize("name", SPLITS)
@pytest.mark.parametrize(
    ("x", "y", "told"),
    [
        (np.zeros((0, 6), np.float32), [], "{}: the split is empty"),
        (np.zeros((30, 6)), None, "float64[6]"),
        (np.zeros((30, 5), np.float32), None, "float32[5]"),
        (np.full((30, 6), np.nan, np.float32), None, "{}: row 0, feature 0 is nan"),
        (None, np.arange(29) % 3, "{}: 30 rows but 29 labels"),
        (None, np.eye(3)[np.arange(30) % 3], "{}: labels must have shape [rows], got [30, 3]"),
        (None, (np.arange(30) % 3)[:, None], "{}: labels must have shape [rows], got [30, 1]"),
        (None, np.arange(30) % 3 - 1, "{}: row 0 has label -1"),
        (None, np.arange(30) / 10, "{}: row 1 has label 0.1"),
        (None, [True, False] * 15, "bool"),
        (None, ["a", "b", "c"] * 10, "<U1"),
    ],
)
def test_every_split_is_checked_and_named(name, x, y, told):
    message = refusal(load, spoil(name, x, y))
    assert message.startswith("arrays: ")
    assert told.format(name) in message


def test_a_class_that_only_the_other_splits_have_is_refused():
    y = np.arange(30) % 3
    for name in ("valid", "test"):
        assert f"{name}: row 0 has label 3, but classes run 0..2 in train" in refusal(load, spoil(name, y=3 - y % 1))
    assert "train has no row of class 1 ('1'), of 3 classes" in refusal(load, spoil("train", y=y // 2 * 2))


def test_labels_from_1_are_refused_with_what_to_do_and_not_guessed():
    x, y = blobs(60)
    told = refusal(load, (x, y + 1))
    assert told == (
        "arrays: train has no row of class 0 ('0'), of 4 classes; "
        "subtract 1 from all labels, write them as text, or bring rows of it"
    )
    assert load((x, y + 1 - 1)).classes == ("0", "1", "2")
    assert load((x, (y + 1).astype(str))).classes == ("1", "2", "3")


def test_one_class_is_refused():
    assert "a classifier needs two classes" in refusal(load, (blobs(60)[0], np.zeros(60, int)))
    assert "have class 'cat'" in refusal(load, (blobs(60)[0], ["cat"] * 60))


def test_a_source_without_train_or_with_other_splits_is_refused():
    pair = blobs(30)
    for splits in ({"test": pair}, {"train": pair, "dev": pair}, {}):
        told = refusal(
            assemble, RawDataset("here", {name: RawSplit(*pair) for name, pair in splits.items()}), Reading()
        )
        assert told.startswith(f"here: holds the splits {', '.join(map(repr, splits))}; they must be called train")


def test_splits_without_labels_are_refused_with_the_way_that_fits():
    x, y = blobs(30)
    assert "train has no labels; give them with labels_from=" in refusal(
        assemble, RawDataset("here", {"train": RawSplit(x)}), Reading()
    )
    told = refusal(assemble, RawDataset("here", {"train": RawSplit(x, y), "test": RawSplit(x)}), Reading())
    assert told == "here: test has no labels; put them beside it"


# What is taken


@pytest.mark.parametrize(
    "y",
    [
        lambda y: y.tolist(),
        lambda y: tuple(y.tolist()),
        lambda y: y.astype(np.float32),
        lambda y: y.astype(">i2"),
        lambda y: y.astype(np.uint8),
        lambda y: y.astype(object),
        lambda y: np.repeat(y, 2)[::2],
    ],
)
def test_labels_in_their_usual_forms_are_the_same_data(y):
    x, plain = blobs(60)
    assert load((x, y(plain))).fingerprint == load((x, plain)).fingerprint


@pytest.mark.parametrize(
    "x", [lambda x: x.tolist(), lambda x: x.astype(">f8"), np.asfortranarray, lambda x: np.repeat(x, 2, axis=1)[:, ::2]]
)
def test_features_in_their_usual_forms_are_the_same_data(x):
    plain, y = blobs(60)
    plain = plain.astype(np.float64)
    assert load((x(plain), y)).fingerprint == load((plain, y)).fingerprint
    assert all(split.x.dtype == np.float64 for split in load((x(plain), y)))


def test_labels_as_a_list_of_words():
    x, y = blobs(60)
    data = load((x, [["red", "green", "blue"][i] for i in y]))
    assert data.classes == ("blue", "green", "red")
    assert data.train.y.dtype == np.int32


@pytest.mark.parametrize(
    ("dtype", "shape", "divisor"),
    [
        ("u1", (8, 8), 255),
        ("u1", (4, 4, 4), 255),
        ("u1", (64,), 1),
        ("i2", (8, 8), 1),
        ("f4", (8, 8), 1),
        ("?", (8, 8), 1),
    ],
)
def test_bytes_of_images_are_divided_by_255_unless_told_otherwise(dtype, shape, divisor):
    source = (np.random.default_rng(0).integers(0, 2, (60, *shape)).astype(dtype), np.arange(60) % 2)
    assert [split.divisor for split in load(source)] == [divisor] * 3
    assert load(source, divisor=16).divisor == 16.0
    assert assemble(RawDataset("here", {"train": RawSplit(*source)}, divisor=8.0), Reading()).divisor == 8.0
    assert assemble(RawDataset("here", {"train": RawSplit(*source)}, divisor=8.0), Reading(divisor=2)).divisor == 2.0


# Rows that train and test share


def test_shared_rows_are_counted_and_told():
    x, y = blobs(60)
    splits = spoil("train", x, y)
    copied = splits["test"][0].copy()
    copied[[3, 7, 9]] = x[[50, 0, 0]]
    splits["test"] = (copied, splits["test"][1])
    with pytest.warns(epochal.DataWarning, match="^arrays: 3 of 30 test rows are identical to a train row$") as caught:
        data = load(splits)
    assert caught[0].filename == __file__
    assert data.notes == ("arrays: 3 of 30 test rows are identical to a train row",)


def test_the_same_file_for_train_and_test_is_told():
    pair = blobs(30)
    with pytest.warns(epochal.DataWarning, match="30 of 30 test rows"):
        load({"train": pair, "valid": blobs(30, seed=1), "test": pair})


# The fingerprint


def test_the_fingerprint_is_of_the_content_and_not_of_how_it_came(tmp_path):
    x, y = blobs(60)
    expected = load((x, y)).fingerprint
    np.savez(tmp_path / "data.npz", x=x, y=y)
    np.save(tmp_path / "x.npy", np.asfortranarray(x))
    assert load((x.copy(), y.copy())).fingerprint == expected
    assert load(tmp_path / "data.npz").fingerprint == expected
    assert load(tmp_path / "x.npy", labels_from=y).fingerprint == expected
    assert replace(load((x, y)), source="elsewhere", notes=("note",)).fingerprint == expected
    assert len(expected) == 64


def test_the_fingerprint_is_a_published_recipe():
    """What a run folder keeps must be computable by others, and stay the same for ever."""
    import hashlib

    x = np.arange(12, dtype=np.uint8).reshape(6, 2)
    data = load(three(x.astype(np.float32), [0, 1] * 3))
    digest = hashlib.sha256(b"(('0', '1'), 1.0)")
    for split in data:
        digest.update(b"<f4(6, 2)" + split.x.tobytes() + b"<i4(6,)" + split.y.tobytes())
    assert data.fingerprint == digest.hexdigest()
    assert data.fingerprint == "45b4e9547403e1ff7f63619526b5853942efd70d592a69c39793ee3742e101d9"


def test_the_fingerprint_changes_with_every_byte_label_name_and_divisor():
    base = {
        name: (np.arange(12, dtype=np.uint8).reshape(6, 2) + 20 * i, np.arange(6) % 2) for i, name in enumerate(SPLITS)
    }
    seen = {load(base).fingerprint}
    count = 1
    for name, place in itertools.product(SPLITS, np.ndindex(6, 2)):
        x, y = base[name]
        changed = x.copy()
        changed[place] ^= 0x80
        seen.add(load(base | {name: (changed, y)}).fingerprint)
        count += 1
    for name, row in itertools.product(SPLITS, range(6)):
        x, y = base[name]
        changed = y.copy()
        changed[row] ^= 1
        seen.add(load(base | {name: (x, changed)}).fingerprint)
        count += 1
    others = [
        load(base, divisor=255),
        load(base, divisor=np.nextafter(1.0, 2)),
        load({name: (x, np.array(["a", "b"])[y]) for name, (x, y) in base.items()}),
        load({name: (x, np.array(["a", "c"])[y]) for name, (x, y) in base.items()}),
        load({name: (x.astype(np.int16), y) for name, (x, y) in base.items()}),
        load({name: (x.view(np.int8), y) for name, (x, y) in base.items()}),
        load({name: (x.reshape(6, 1, 2), y) for name, (x, y) in base.items()}),
        load({name: (x[::-1], y[::-1]) for name, (x, y) in base.items()}),
        load({"train": base["train"], "valid": base["test"], "test": base["valid"]}),
    ]
    seen |= {data.fingerprint for data in others}
    assert len(seen) == count + len(others)


# Reading again


def test_a_file_is_read_again_from_anywhere_to_the_same_data(tmp_path, monkeypatch):
    x, y = blobs(90)
    np.save(tmp_path / "x.npy", x)
    np.save(tmp_path / "y.npy", y)
    monkeypatch.chdir(tmp_path)
    data = load("x.npy", labels_from="y.npy", divisor=np.float32(2), holdout="last", split_seed=3)
    assert data.origin == str(tmp_path / "x.npy")
    assert data.reading.to_dict() == {
        "labels_from": str(tmp_path / "y.npy"), "holdout": "last", "split_seed": 3, "divisor": 2.0
    }  # fmt: skip
    assert type(data.reading.divisor) is float
    monkeypatch.chdir("/")
    again = load(data.origin, Reading.from_dict(data.reading.to_dict()))
    assert again.fingerprint == data.fingerprint
    assert again.reading == data.reading


def test_a_name_is_read_again_by_its_name():
    data = load("digits", split_seed=4)
    assert (data.origin, data.reading.to_dict()) == ("digits", {"split_seed": 4})
    assert load("digits", data.reading).fingerprint == data.fingerprint != load("digits").fingerprint


def test_arrays_cannot_be_read_again():
    assert load(blobs(60)).origin is None


def test_a_home_folder_is_expanded(tmp_path, monkeypatch):
    x, y = blobs(60)
    np.savez(tmp_path / "data.npz", x=x, y=y)
    monkeypatch.setenv("HOME", str(tmp_path))
    assert load("~/data.npz").origin == str(tmp_path / "data.npz")


def test_options_come_as_a_reading_or_by_name_not_as_both():
    with pytest.raises(epochal.RecipeError, match="got a Reading and holdout besides"):
        load(blobs(60), Reading(), holdout="last")
    with pytest.raises(epochal.RecipeError, match="no option is called 'hold_out'; there are label, labels"):
        load(blobs(60), hold_out="last")


# Rows to predict


def test_rows_without_labels():
    x, _ = blobs(30)
    raw = RawDataset("here", {"test": RawSplit(x[:4]), "train": RawSplit(x[4:].astype(">f4"))}, divisor=4.0)
    trained = replace(Preparation.of(load((x, np.arange(30) % 2))), divisor=4.0)
    both = prepare_raw(raw, trained, "all", Reading()).split
    np.testing.assert_array_equal(both.x, np.concatenate([x[4:], x[:4]]))
    assert (both.divisor, both.y.tolist()) == (4.0, [0] * 30)
    test = prepare_raw(raw, trained, "test", Reading(divisor=2.0)).split
    np.testing.assert_array_equal(test.x, x[:4])
    assert test.divisor == 2.0
    assert "here: has no valid split, only train, test" in refusal(prepare_raw, raw, trained, "valid", Reading())


def test_rows_to_predict_are_checked_too():
    x = np.ones((4, 2))
    x[2, 1] = np.nan
    trained = Preparation((2,), np.dtype("f8"), 1.0, ("a", "b"), (1, 1))
    assert "here: row 2, feature 1 is nan" in refusal(
        prepare_raw, RawDataset("here", {"test": RawSplit(x)}), trained, "all", Reading()
    )
    raw = RawDataset("here", {"train": RawSplit(np.ones((4, 2))), "test": RawSplit(np.ones((4, 3)))})
    assert "make them alike" in refusal(prepare_raw, raw, trained, "all", Reading())
    assert len(prepare_raw(raw, trained, "test", Reading()).split) == 4
