import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import binomtest

from epochal.training.score import Score


@given(st.integers(1, 5000).flatmap(lambda of: st.tuples(st.integers(0, of), st.just(of))))
def test_the_interval_is_scipys_wilson(counts):
    wrong, of = counts
    expected = binomtest(wrong, of).proportion_ci(0.95, method="wilson")
    assert Score(wrong, of).interval95 == pytest.approx((100 * expected.low, 100 * expected.high), abs=1e-9)


def test_it_prints_its_denominator():
    assert str(Score(719, 9600)) == "719 / 9,600 (7.49 %)"
    assert Score(719, 9600).to_json() | {"interval95": None} == {
        "wrong": 719,
        "of": 9600,
        "percent": pytest.approx(7.489583, abs=1e-6),
        "interval95": None,
    }
