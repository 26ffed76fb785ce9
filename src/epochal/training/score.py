"""A count of wrong rows with its denominator, and the interval that such a count deserves."""

from dataclasses import dataclass
from math import isclose, sqrt
from typing import Any

from epochal.system.schema import Unfit, fields, listed, number, whole

_Z95 = 1.959963984540054  # the 97.5 % quantile of the standard normal distribution


@dataclass(frozen=True, order=True)
class Score:
    """Zero-one loss over a split: `wrong` of `of` rows. Prints as `187 / 10,000 (1.87 %)`."""

    wrong: int
    of: int

    @property
    def percent(self) -> float:
        """Wrong rows in percent of all."""
        return 100 * self.wrong / self.of

    @property
    def interval95(self) -> tuple[float, float]:
        """Wilson's 95 % interval of the error rate, in percent (E. B. Wilson, JASA 22, 1927).

        It holds for rows drawn independently; unlike the usual ± it stays sound at 0 wrong rows and for small splits.

        >>> [round(bound, 2) for bound in Score(719, 9600).interval95]
        [6.98, 8.03]
        """
        n, p, z2 = self.of, self.wrong / self.of, _Z95**2
        centre, half = (p + z2 / (2 * n)), _Z95 * sqrt(p * (1 - p) / n + z2 / (4 * n * n))
        low, high = (centre - half) / (1 + z2 / n), (centre + half) / (1 + z2 / n)
        return 100 * max(0.0, low), 100 * min(1.0, high)

    def to_json(self) -> dict[str, Any]:
        """The contract's four keys: wrong, of, percent, interval95."""
        return {"wrong": self.wrong, "of": self.of, "percent": self.percent, "interval95": list(self.interval95)}

    def __str__(self) -> str:
        return f"{self.wrong:,} / {self.of:,} ({self.percent:.2f} %)"


def _score(wrong: int, of: int, percent: float, interval95: Any) -> Score:
    score = Score(wrong, of)
    if wrong > of:
        raise Unfit("wrong", wrong, f"at most {of:,}")
    if not isclose(percent, score.percent, abs_tol=1e-9):
        raise Unfit("percent", percent, f"{score.percent}, which {wrong:,} of {of:,} are")
    return score


SCORE = fields(_score, wrong=whole(), of=whole(1), percent=number, interval95=listed(number, 2, 2))
"""A score as `to_json` writes it; the percent must agree with the counts."""
