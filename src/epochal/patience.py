"""Early stopping, as the tutorials publish it: a pure function of integers and two floats.

Source: Deep Learning Tutorials, "Getting Started", section "Early-Stopping". There `iter` counts minibatch updates from
zero; here `step` counts the updates done, so `iter` is `step - 1`. After every update the published loop validates if
`step` is a multiple of the validation frequency, and then stops if `patience <= iter`.
"""

from dataclasses import dataclass, replace
from math import ceil

from epochal.errors import option
from epochal.statistics import improvement


@dataclass(frozen=True)
class Patience:
    """The rule's state: how long to go on at least, and what has been reached.

    `steps` is the patience, in updates; `best_wrong` the fewest wrong rows of the validation split so far and
    `best_step` the update after which they were counted (0: none yet).

    With a `level`, which the published rule has not, an improvement buys patience only where it is significant: against
    the count that bought patience last, `counted_wrong`, so that many small improvements add up.
    """

    steps: int
    increase: float = 2.0
    threshold: float = 0.995
    best_wrong: int | None = None
    best_step: int = 0
    level: float | None = None
    counted_wrong: int | None = None

    def observe(self, step: int, wrong: int) -> tuple["Patience", bool]:
        """The rule after `wrong` rows were counted behind update `step`, and whether that is a new best.

        A tie is no new best: the earliest wins. Only an improvement beyond `threshold` buys more patience.
        """
        if self.best_wrong is not None and wrong >= self.best_wrong:
            return self, False
        better = replace(self, best_wrong=wrong, best_step=step)
        if self._counts(wrong):
            better = replace(better, steps=max(self.steps, ceil((step - 1) * self.increase)), counted_wrong=wrong)
        return better, True

    def _counts(self, wrong: int) -> bool:
        if self.best_wrong is None or self.counted_wrong is None:
            return True
        if self.level is None:
            return wrong < self.best_wrong * self.threshold
        return improvement(self.counted_wrong, wrong) < self.level

    def exhausted(self, step: int) -> bool:
        """Whether training stops after update `step`."""
        return self.steps <= step - 1

    def next_look(self, step: int, frequency: int) -> int:
        """The update up to which training runs on before the rule is asked again, `step` updates being done.

        Asked only while not exhausted. It is the next multiple of `frequency`, or the update at which the patience runs
        out, if that comes first.
        """
        return min((step // frequency + 1) * frequency, self.steps + 1)


def endless(patience_steps: int, epochs: int, steps_per_epoch: int) -> str | None:
    """What there is to say where the patience cannot run out before the last epoch ends; None where it can.

    >>> endless(10_000, 100, 12)[:80]
    'patience of 10,000 steps cannot run out in 100 epochs of 12 steps (1,200 steps):'
    >>> endless(1_199, 100, 12) is None
    True
    """
    steps = epochs * steps_per_epoch
    if patience_steps < steps:
        return None
    epoch = f"{epochs:,} epoch{'s' * (epochs > 1)} of {steps_per_epoch:,} steps ({steps:,} steps)"
    return (
        f"patience of {patience_steps:,} steps cannot run out in {epoch}: only the epochs end this training; a smaller "
        f"{option('patience_steps')} lets the validation end it"
    )


def validation_frequency(steps_per_epoch: int, patience_steps: int) -> int:
    """Updates between two validations, so that the patience is asked at least twice before it can run out."""
    return max(1, min(steps_per_epoch, patience_steps // 2))
