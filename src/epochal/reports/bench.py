"""What `epochal bench` measures: epochal alone on four works, beside the ceilings of the machine in the same minutes.

The comparison with other libraries is in the repository's folder benchmarks, which takes its works from here.
"""

import statistics
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any, NamedTuple

import numpy as np

from epochal.data.dataset import Dataset
from epochal.data.loading import load
from epochal.data.sources.arrays import catalog
from epochal.errors import RecipeError
from epochal.models.base import Model
from epochal.models.built_in import lenet, logistic, mlp
from epochal.reports import roofline
from epochal.runs.versions import versions
from epochal.system.memory import peak_bytes
from epochal.training.recipe import Recipe
from epochal.training.training import Training, train

ROWS = 50_000
"""Train rows of a work; a fifth as many are for validation."""

NEVER = 1 << 30
"""Updates of patience that no work reaches."""


@dataclass(frozen=True)
class Work:
    """A model and a recipe on MNIST's shape."""

    title: str
    model: Model
    batch_size: int
    learning_rate: float

    def recipe(self, epochs: int, seed: int = 0) -> Recipe:
        """Plain SGD in float32 that no patience ends, with a validation pass after each epoch."""
        return Recipe(
            learning_rate=self.learning_rate, batch_size=self.batch_size, epochs=epochs, seed=seed, patience_steps=NEVER
        )


WORKS = {
    "W1": Work("logistic, batch 600", logistic(), 600, 0.13),
    "W2": Work("MLP 784-500-10, batch 20", mlp(500), 20, 0.01),
    "W3": Work("MLP 784-500-10, batch 500", mlp(500), 500, 0.1),
    "W4": Work("LeNet 20/50/500, batch 500", lenet((20, 50), 500), 500, 0.1),
}


class Timed(NamedTuple):
    """One epoch: seconds of its updates, seconds of its validation pass, and its scores."""

    train: float
    valid: float
    loss: float
    wrong: int


def epochs(training: Training) -> Iterator[Timed]:
    """The epochs of a run, timed from one to the next: the time includes the order of the rows."""
    begun = time.perf_counter()
    for epoch in training:
        seconds, spent = time.perf_counter() - begun, epoch.validation_seconds
        assert epoch.valid
        yield Timed(seconds - spent, spent, epoch.loss, epoch.valid.wrong)
        begun = time.perf_counter()


def data(rows: int = ROWS) -> Dataset:
    """MNIST if there is a local copy, else Fashion-MNIST, else rows of the same shape, cut to `rows` train rows.

    Raises RecipeError for fewer than 10 rows.
    """
    if rows < 10:
        raise RecipeError(f"rows: must be at least 10, one of each class, got {rows}; take more")
    local = next((name for name in ("mnist", "fashion-mnist") if catalog.find(name)), None)
    if local is None or rows > ROWS:
        return synthetic(rows)
    whole = load(local, offline=True)
    return replace(whole, train=whole.train[:rows], valid=whole.valid[: max(1, rows // 5)])


def synthetic(rows: int, shape: tuple[int, ...] = (28, 28), seed: int = 0) -> Dataset:
    """Rows of `shape` in ten classes, uint8: a pattern for each class under much noise."""
    generator = np.random.default_rng(seed)
    patterns = generator.integers(0, 100, (10, *shape), np.uint8)

    def draw(count: int) -> tuple[np.ndarray, np.ndarray]:
        y = np.arange(count) % 10
        return patterns[y] + generator.integers(0, 156, (count, *shape), np.uint8), y

    few = max(10, rows // 5)
    dataset = load({"train": draw(rows), "valid": draw(few), "test": draw(few)}, divisor=255)
    return replace(dataset, source=f"synthetic rows of {'×'.join(map(str, shape))}")


def chosen(names: str | None) -> list[str]:
    """`W1,W3` as a list; None is all of them. Raises RecipeError for an unknown work."""
    wanted = list(WORKS) if names is None else [name.strip().upper() for name in names.split(",")]
    for name in wanted:
        if name not in WORKS:
            raise RecipeError(f"work: must be of {', '.join(WORKS)}, joined by commas, got {name!r}")
    return wanted


def run(works: Sequence[str], rows: int = ROWS, repeats: int = 3, timed: int = 3) -> dict[str, Any]:
    """Each work `repeats` times, one after another, each time `timed` epochs after one to warm up; as plain values.

    The peak of memory is read before the ceilings are measured, which copies large arrays. Raises RecipeError.
    """
    for name, value in (("repeats", repeats), ("epochs", timed)):
        if value < 1:
            raise RecipeError(f"{name}: must be at least 1, got {value}")
    for name, value, limit in (("repeats", repeats, 10**6), ("epochs", timed, 10**6), ("rows", rows, 10**8)):
        if value > limit:
            raise RecipeError(f"{name}: must be at most {limit:,}, got {value}")
    dataset = data(rows)
    compiling = dict.fromkeys(works, 0.0)
    times: dict[str, list[Timed]] = {name: [] for name in works}
    for repeat in range(repeats):
        for name in works:
            work = WORKS[name]
            training = train(work.model, dataset, work.recipe(1 + timed, seed=repeat))
            compiling[name] = compiling[name] or training.seconds["compile"]
            times[name] += list(epochs(training))[1:]
    peak = peak_bytes()
    ceilings = roofline.measure()
    return {
        "data": dataset.source,
        "rows": {"train": len(dataset.train), "valid": len(dataset.valid)},
        "repeats": repeats,
        "epochs": timed,
        "versions": versions(),
        "ceilings": vars(ceilings),
        "works": {name: _entry(WORKS[name], times[name], compiling[name], dataset, ceilings) for name in works},
        "peak_bytes": peak,
    }


def floor(work: Work, dataset: Dataset, ceilings: roofline.Ceilings) -> float:
    """Seconds that an epoch of `work` takes at least, without its validation pass."""
    shape, classes, rows = dataset.example_shape, len(dataset.classes), len(dataset.train)
    cost = roofline.cost(work.model, shape, classes, rows, work.batch_size, dataset.train.row_bytes)
    return cost.floor(ceilings)


def _entry(
    work: Work, times: Sequence[Timed], compiling: float, dataset: Dataset, ceilings: roofline.Ceilings
) -> dict[str, Any]:
    seconds, floor_seconds = statistics.median(epoch.train for epoch in times), floor(work, dataset, ceilings)
    return {
        "title": work.title,
        "epoch_seconds": seconds,
        "epoch_seconds_all": [epoch.train for epoch in times],
        "valid_seconds": statistics.median(epoch.valid for epoch in times),
        "rows_per_second": len(dataset.train) / seconds,
        "floor_seconds": floor_seconds,
        "of_floor": seconds / floor_seconds,
        "compile_seconds": compiling,
        "valid_percent": 100 * times[-1].wrong / len(dataset.valid),
    }
