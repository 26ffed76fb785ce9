import numpy as np
import pytest
from scipy import stats

from epochal import Recipe, RecipeError
from epochal.training.patience import Patience
from epochal.training.significance import improvement, mcnemar, upper_tail


@pytest.mark.parametrize("first", [0, 1, 2, 7, 30, 400])
@pytest.mark.parametrize("second", [0, 1, 5, 31, 333])
def test_mcnemar_is_the_exact_binomial_test(first, second):
    expected = stats.binomtest(first, first + second).pvalue if first + second else 1.0
    assert mcnemar(first, second) == pytest.approx(expected, rel=1e-12)
    assert mcnemar(first, second) == mcnemar(second, first)


def test_tails_are_those_of_scipy_and_end_in_one_and_zero():
    for of in (1, 2, 9, 50, 3001):
        for count in {0, 1, of // 2, of - 1, of}:
            expected = stats.binom.sf(count - 1, of, 0.5)
            assert upper_tail(count, of) == pytest.approx(expected, rel=1e-11)
    assert upper_tail(4, 3) == 0


def test_the_test_of_counts_alone_is_never_below_mcnemar_on_the_rows():
    for before, now in [(20, 10), (9, 3), (100, 80), (5, 4)]:
        on_rows = [upper_tail(before - both, before + now - 2 * both) for both in range(now + 1)]
        assert improvement(before, now) == pytest.approx(max(on_rows))


def test_a_significant_improvement_buys_patience_and_a_chance_one_does_not():
    rule = Patience(10, level=0.05).observe(4, 200)[0]
    assert rule.steps == 10
    small, better = rule.observe(20, 190)
    assert (better, small.best, small.steps) == (True, 190, 10), "a best all the same, without more patience"
    assert rule.observe(20, 150)[0].steps == 38
    assert Patience(10).observe(4, 200)[0].observe(20, 190)[0].steps == 38, "the published rule takes any"


def test_small_improvements_add_up():
    rule = Patience(10, level=0.05)
    steps = []
    for step, wrong in [(2, 200), (20, 190), (30, 180), (40, 170), (50, 160), (60, 150)]:
        rule, _ = rule.observe(step, wrong)
        steps.append(rule.steps)
    assert steps == [10, 10, 10, 10, 98, 98], "160 is significant against 200, not against the 170 before it"
    assert improvement(200, 170) > 0.05 > improvement(200, 160)


def test_the_level_is_a_hyper_parameter():
    assert Recipe(improvement_p=0.05).to_dict()["improvement_p"] == 0.05
    assert "improvement_p" not in Recipe().to_dict()
    with pytest.raises(RecipeError, match=r"improvement_p: must be below 1, got 1"):
        Recipe(improvement_p=1)
    assert np.isfinite(improvement(10_000, 9_999))
