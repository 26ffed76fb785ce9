"""Early stopping, as the tutorials publish it: a pure function of integers and two floats.

Source: Deep Learning Tutorials, "Getting Started", section "Early-Stopping". There `iter` counts minibatch updates from
zero; here `step` counts the updates done, so `iter` is `step - 1`. After every update the published loop validates if
`step` is a multiple of the validation frequency, and then stops if `patience <= iter`.
"""

from dataclasses import dataclass, replace
from math import ceil

from epochal.errors import option
from epochal.training.significance import improvement


@dataclass(frozen=True)
class Patience:
    """The rule's state: how long to go on at least, and what has been reached.

    `steps` is the patience, in updates; `best` the best value so far of what is watched, such as the wrong rows of the
    validation split, and `best_step` the update after which it was measured (0: none yet). Any ordered number will do,
    and integers stay exact. The smaller value is better, or where `higher_is_better` the greater.

    With a `level`, which the published rule has not, an improvement of a count of wrong rows buys patience only where
    it is significant: against the count that bought patience last, `bought`, so that many small improvements add up.
    """

    steps: int
    increase: float = 2.0
    threshold: float = 0.995
    best: float | None = None
    best_step: int = 0
    level: float | None = None
    bought: float | None = None
    higher_is_better: bool = False

    def observe(self, step: int, value: float) -> tuple["Patience", bool]:
        """The rule after `value` was measured behind update `step`, and whether that is a new best.

        A tie is no new best: the earliest wins. Only an improvement beyond `threshold` buys more patience.
        """
        if self.best is not None and not (value > self.best if self.higher_is_better else value < self.best):
            return self, False
        better = replace(self, best=value, best_step=step)
        if self._buys(value):
            better = replace(better, steps=max(self.steps, ceil((step - 1) * self.increase)), bought=value)
        return better, True

    def _buys(self, value: float) -> bool:
        if self.best is None or self.bought is None:
            return True
        if self.level is not None:
            return improvement(int(self.bought), int(value)) < self.level
        if self.higher_is_better:
            return value * self.threshold > self.best
        return value < self.best * self.threshold

    def exhausted(self, step: int) -> bool:
        """Whether training stops after update `step`."""
        return self.steps <= step - 1

    def next_look(self, step: int, frequency: int) -> int:
        """The update up to which training runs on before the next look, `step` updates being done.

        Called only while not exhausted. It is the next multiple of `frequency`, or the update at which the patience
        runs out, if that comes first.
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
    """Updates between two validations, so that there are at least two before the patience can run out."""
    return max(1, min(steps_per_epoch, patience_steps // 2))
