"""From columns to features: scikit-learn as the oracle, fitted on training rows alone, finite always."""

import json

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.preprocessing import OneHotEncoder, StandardScaler

from epochal.data import preprocessing
from epochal.data.loading import assemble
from epochal.data.options import Reading
from epochal.data.preprocessing import Preprocessing
from epochal.data.sources.types import RawDataset, RawSplit
from epochal.data.table import Column, Table
from refusals import refusal, value_or_refusal

NAN = np.nan


def number(*values) -> Column:
    return Column("number", np.array(values, float))


def boolean(*values) -> Column:
    return Column("boolean", np.array(values, float))


def category(*texts) -> Column:
    names = tuple(dict.fromkeys(text for text in texts if text is not None))
    return Column("category", np.array([-1 if t is None else names.index(t) for t in texts], np.int32), names)


def table(**columns) -> Table:
    return Table(columns)


def applied(fitted: Table, other: Table | None = None) -> np.ndarray:
    return Preprocessing.fit(fitted, "t: train").apply(fitted if other is None else other, "t: test")


def test_numbers_are_standardised_as_scikit_learn_does():
    generator = np.random.default_rng(0)
    x = generator.normal(size=(200, 3)) * [1e-6, 1, 1e7] + [5, -3, 1e9]
    fitted, other = (table(**{f"f{i}": number(*rows[:, i]) for i in range(3)}) for rows in (x[:150], x[150:]))
    scaler = StandardScaler().fit(x[:150])
    np.testing.assert_allclose(applied(fitted), scaler.transform(x[:150]), rtol=1e-4, atol=1e-6)
    np.testing.assert_allclose(applied(fitted, other), scaler.transform(x[150:]), rtol=1e-4, atol=1e-6)
    plain = applied(fitted)
    assert plain.dtype == np.float32
    np.testing.assert_allclose(plain.mean(0, dtype=float), 0, atol=1e-6)
    np.testing.assert_allclose(plain.std(0, dtype=float), 1, atol=1e-6)


def test_categories_are_one_hot_as_scikit_learn_does():
    texts, others = ["red", "blue", "red", "green"], ["green", "red", "violet"]
    encoder = OneHotEncoder(sparse_output=False, handle_unknown="ignore").fit(np.array(texts)[:, None])
    fitted = Preprocessing.fit(table(c=category(*texts)), "t")
    assert fitted.features == ["c=blue", "c=green", "c=red", "c=other"]
    found = fitted.apply(table(c=category(*others)), "t")
    np.testing.assert_array_equal(found[:, :3], encoder.transform(np.array(others)[:, None]))
    np.testing.assert_array_equal(found[:, 3], [0, 0, 1])


def test_missing_values_and_what_tells_of_them():
    fitted = Preprocessing.fit(
        table(a=number(1, NAN, 3), b=boolean(1, NAN, 0), c=category("x", None, "y"), d=number(4, 5, 6)), "t"
    )
    assert fitted.features == ["a", "a is missing", "b", "b is missing", "c=x", "c=y", "c=other", "c is missing", "d"]
    other = table(a=number(NAN, 3), b=boolean(NAN, 1), c=category(None, "x"), d=number(NAN, 5))
    np.testing.assert_array_equal(
        fitted.apply(other, "t"), [[0, 1, 0.5, 1, 0, 0, 0, 1, 0], [1, 0, 1, 0, 1, 0, 0, 0, 0]]
    )


def test_a_constant_column_becomes_zeros():
    for value in (0.0, -0.0, 0.1, 1e308, 5e-324, 123456789.123):
        np.testing.assert_array_equal(applied(table(a=number(value, value, value), b=number(1, 2, 3)))[:, 0], 0)


@pytest.mark.parametrize("size", [1e-320, 1e-200, 1e-15, 1.0, 1e15, 1e200, 1.7e308])
def test_numbers_of_any_size_have_mean_0_and_variance_1(size):
    plain = applied(table(a=number(*(np.array([-1, 0.5, 0.25, 1, 1]) * size))))
    np.testing.assert_allclose(plain.mean(), 0, atol=1e-3)
    np.testing.assert_allclose(plain.std(), 1, atol=1e-3)


@settings(max_examples=300, deadline=None)
@given(
    st.lists(st.floats(allow_nan=True, allow_infinity=False), min_size=1, max_size=20), st.floats(allow_infinity=False)
)
def test_features_are_finite_or_the_value_is_named(values, other):
    if np.isnan(values).all():
        return
    assert np.isfinite(applied(table(a=number(*values)))).all()
    found, told = value_or_refusal(applied, table(a=number(*values)), table(a=number(0, other)))
    if told:
        assert "t: test: row " in told
        assert "out of all proportion" in told
    else:
        assert np.isfinite(found).all()


def test_it_goes_to_json_and_back_to_the_bit():
    generator = np.random.default_rng(1)
    fitted = table(
        a=number(*generator.normal(size=50) * 1e-7 + 1 / 3), b=number(*generator.normal(size=50) * 1e300),
        c=category(*generator.choice(["ü", "a,b", "\n", ""], 50).tolist()), d=boolean(*generator.integers(0, 2, 50)),
    )  # fmt: skip
    plan = Preprocessing.fit(fitted, "t")
    back = Preprocessing.from_json(json.loads(json.dumps(plan.to_json())))
    assert back == plan
    assert back.apply(fitted, "t").tobytes() == plan.apply(fitted, "t").tobytes()


def test_the_order_of_columns_does_not_matter_afterwards():
    fitted = Preprocessing.fit(table(a=number(1, 2), b=category("x", "y")), "t")
    first = fitted.apply(table(a=number(1), b=category("y")), "t")
    np.testing.assert_array_equal(first, fitted.apply(table(b=category("y"), a=number(1)), "t"))


FITTED = table(a=number(1, 2), b=category("x", "y"), c=boolean(0, 1))


@pytest.mark.parametrize(
    ("other", "told"),
    [
        (table(a=number(1), b=category("x")), "it lacks 'c'; bring columns"),
        (table(A=number(1), b=category("x"), c=boolean(1)), "it lacks 'a' and has 'A' besides"),
        (
            table(a=category("1,5"), b=category("x"), c=boolean(1)),
            "new.csv: train: row 0, column 'a': holds '1,5', but the column was trained as a number; give it a number",
        ),
        (
            table(a=number(1), b=number(3), c=boolean(1)),
            "row 0, column 'b': holds '3', but the column was trained as a category",
        ),
        (
            table(a=number(1), b=category("x"), c=number(0, 5)),
            "row 1, column 'c': holds '5', but the column was trained as a boolean",
        ),
    ],
)
def test_other_columns_and_kinds_are_named(other, told):
    assert told in refusal(Preprocessing.fit(FITTED, "t").apply, other, "new.csv: train")


def test_columns_that_can_be_taken_for_the_kind_trained_on():
    fitted = Preprocessing.fit(FITTED, "t")
    codes = Column("number", np.array([1.0]), text=category("y"))
    np.testing.assert_array_equal(fitted.apply(table(a=boolean(1), b=codes, c=number(1)), "t"), [[-1, 0, 1, 0, 1]])
    empty = table(a=number(NAN), b=number(NAN), c=number(NAN))
    np.testing.assert_array_equal(fitted.apply(empty, "t"), [[0, 0, 0, 0, 0.5]])


def test_columns_that_tell_nothing_or_too_much(monkeypatch):
    for empty in (number(NAN, NAN), category(None, None), boolean(NAN, NAN)):
        assert "no column has a value in any train row ('a')" in refusal(Preprocessing.fit, table(a=empty), "t: train")
        fitted = Preprocessing.fit(table(a=empty, b=number(1, 2)), "t: train")
        assert [plan.name for plan in fitted.columns] == ["b"]
    many = category(*map(str, range(1001)))
    assert "column 'a' has 1,001 different texts" in refusal(Preprocessing.fit, table(a=many), "t: train")
    both = refusal(Preprocessing.fit, table(a=many, b=number(*range(1001)), c=many), "t: train")
    assert "2 columns cannot be features: 'a' has 1,001 different texts" in both
    assert "leave them out with drop='a,c'" in both
    monkeypatch.setattr(preprocessing, "MAX_FEATURES", 4)
    wide = table(a=number(1, 2), b=category("x", "y", "z"))
    assert "become 5 features, at most 4 are supported" in refusal(Preprocessing.fit, wide, "t: train")


def test_validation_and_test_rows_change_nothing():
    def raw(shift: float) -> RawDataset:
        y = np.array(["a", "b"] * 10)
        train = table(x=number(*range(20)), c=category(*"pq" * 10))
        other = table(x=number(*(np.arange(20) * shift + shift)), c=category(*"rs" * 10))
        return RawDataset("t", {"train": RawSplit(train, y), "valid": RawSplit(other, y), "test": RawSplit(other, y)})

    one, two = assemble(raw(1.0), Reading()), assemble(raw(1e6), Reading())
    assert one.preprocessing == two.preprocessing
    np.testing.assert_array_equal(one.train.x, two.train.x)
    assert one.preprocessing.columns[1].categories == ("p", "q")
