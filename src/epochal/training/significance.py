"""Whether a difference between two counts of wrong rows is more than chance: exact tests on integers."""

from fractions import Fraction
from math import comb


def upper_tail(count: int, of: int) -> float:
    """P(X >= count) for X ~ Binomial(of, 1/2), exact up to the last rounding.

    >>> upper_tail(9, 10)
    0.0107421875
    """
    if count <= 0:
        return 1.0
    favourable = 0
    term = comb(of, count) if count <= of else 0
    for k in range(count, of + 1):  # one product a term: binomials of thousands of rows have thousands of digits
        favourable += term
        term = term * (of - k) // (k + 1)
    return float(Fraction(favourable, 1 << of))


def mcnemar(first_alone: int, second_alone: int) -> float:
    """Exact two-sided p-value of McNemar's test (Psychometrika 12, 1947) for two classifiers on the same rows.

    Of the rows that one of them gets wrong, `first_alone` are wrong by the first alone, `second_alone` by the second
    alone. If both are equally good, such a row is as likely either: a binomial test with probability 1/2. Rows that
    both get wrong, or right, say nothing about the difference.

    >>> mcnemar(1, 9)
    0.021484375
    """
    return min(1.0, 2 * upper_tail(max(first_alone, second_alone), first_alone + second_alone))


def improvement(before: int, now: int) -> float:
    """One-sided p-value, at most, of `now` wrong rows against `before` wrong ones among the same rows.

    Counts alone do not say which rows are wrong both times. The p-value is McNemar's, as if none were: it is largest
    then, because a given difference says least among the most rows.

    >>> improvement(200, 150) < 0.01 < improvement(200, 190)
    True
    """
    return upper_tail(before, before + now)
