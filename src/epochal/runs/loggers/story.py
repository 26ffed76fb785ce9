"""What a logging tool learns of a run: its name, its parameters, and one point of the curves after another."""

from collections.abc import Generator, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from epochal.training.optimizers import SCHEDULES, Hyperparameters
from epochal.training.progress import Epoch
from epochal.training.recipe import Recipe
from epochal.training.score import Score

LOSS, RATE = "train/loss", "train/learning_rate"
VALID, BEST = "valid/error_percent", "valid/best_error_percent"
TEST, TEST_WRONG = "test/error_percent", "test/wrong"

Seen = set[tuple[str, int]]
"""(name, step) of the values that a tool's store has already."""


class Point(NamedTuple):
    """Values after `step` minibatch updates."""

    step: int
    values: dict[str, float]


@dataclass(frozen=True)
class Story:
    """A run as its log knows it. `id` stays the same when the run is resumed; `folder` is where files may go."""

    id: str
    name: str
    folder: Path
    parameters: dict[str, Any]


Consumer = Generator[Seen | None, Point, None]
"""What a tool's function makes of a Story. Its first value is what the store has (None where it does not say); then it
takes points, and closing it ends the log."""


class Curves:
    """From epochs to points; remembers the best validation error."""

    def __init__(self, recipe: Recipe, steps_per_epoch: int, valid_rows: int):
        self._recipe, self._steps, self._valid = recipe, steps_per_epoch, valid_rows
        self._best = np.inf

    def points(self, epoch: Epoch) -> Iterator[Point]:
        """A point for every validation of the epoch, and one for its end."""
        values: dict[int, dict[str, float]] = {}
        for step, wrong in epoch.validations:
            self._best = min(self._best, wrong)
            scores = {VALID: Score(wrong, self._valid).percent, BEST: 100 * self._best / self._valid}
            values.setdefault(step, {}).update(scores)
        end = {LOSS: epoch.loss, "epoch": float(epoch.epoch)}
        rate = learning_rate(self._recipe, self._steps, epoch.step - 1)
        values.setdefault(epoch.step, {}).update(end if rate is None else end | {RATE: rate})
        for step in sorted(values):
            yield Point(step, values[step])


def tested(step: int, score: Score) -> Point:
    """The point of the final test score."""
    return Point(step, {TEST: score.percent, TEST_WRONG: float(score.wrong)})


def learning_rate(recipe: Recipe, steps_per_epoch: int, step: int) -> float | None:
    """The rate of update `step`, counted from 0; None for an optimizer or a schedule given by value."""
    if recipe.learning_rate is None or recipe.schedule not in SCHEDULES:
        return None
    numbers = Hyperparameters(*map(np.float32, Hyperparameters.of(recipe, steps_per_epoch)))
    share: Any = SCHEDULES[recipe.schedule]
    return float(recipe.learning_rate * np.float64(share(numbers, np.float32(step))))
