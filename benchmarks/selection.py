"""Many recipes in one program against one run after another, interleaved in one process.

    EPOCHAL_DATA=… python benchmarks/selection.py            16 logistic recipes on MNIST; 64 MLPs where there is a GPU
    EPOCHAL_DATA=… python benchmarks/selection.py choice     Fashion-MNIST: rate x width x L2 against the default recipe

Prints the seconds of training, compilation left out and told apart, and their ratio; each is the median of the repeats.
"""

import os
import statistics
import sys
from collections.abc import Sequence
from dataclasses import replace
from importlib.metadata import version
from itertools import product
from math import erfc, sqrt

import jax

import epochal
from epochal.training.loop import Loop
from epochal.training.score import Score

REPEATS = 3


def seconds_of(loop: Loop) -> tuple[float, float]:
    for _ in loop.run():
        pass
    return loop.seconds["compile"], loop.seconds["train"]


def measure(what: str, model: epochal.Model, data: epochal.Dataset, recipes: Sequence[epochal.Recipe]) -> None:
    together: list[tuple[float, float]] = []
    alone: list[tuple[float, float]] = []
    differ = 0
    for _ in range(REPEATS):
        loop = Loop(model, data, recipes)
        together.append(seconds_of(loop))
        singles = [Loop(model, data, [recipe]) for recipe in recipes]
        parts = [seconds_of(single) for single in singles]
        alone.append((sum(compile for compile, _ in parts), sum(train for _, train in parts)))
        pairs = zip(loop.trackers, (single.trackers[0] for single in singles), strict=True)
        differ = sum(member.best != other.best for member, other in pairs)
    one, many = (statistics.median(train for _, train in each) for each in (together, alone))
    print(f"{what}: {one:.2f} s together, {many:.2f} s one after another: ratio {one / many:.2f}; "
          f"to compile, at first, {together[0][0]:.2f} s and {alone[0][0]:.2f} s; "
          f"{differ} of {len(recipes)} bests differ by rounding")  # fmt: skip


def speed() -> None:
    data = epochal.load("mnist")
    rates, penalties = (0.01, 0.03, 0.1, 0.3), (1e-6, 1e-5, 1e-4, 1e-3)
    recipes = [epochal.Recipe(learning_rate=r, l2=p, batch_size=600, epochs=12) for r, p in product(rates, penalties)]
    measure("16 logistic recipes, batch 600, 12 epochs", epochal.logistic(), data, recipes)
    if jax.default_backend() == "gpu":
        base = epochal.Recipe(batch_size=100, epochs=5)
        recipes = [replace(base, learning_rate=0.01 * 1.08**i) for i in range(64)]
        measure("64 MLPs 784-500-10, batch 100, 5 epochs", epochal.mlp(500), data, recipes)
    else:
        print("64 MLPs: skipped, there is no GPU")


def two_samples(one: Score, other: Score) -> float:
    """p of two error rates on different rows, if both were the same: the pooled z test."""
    rows = one.of, other.of
    pooled = (one.wrong + other.wrong) / sum(rows)
    z = (one.wrong / one.of - other.wrong / other.of) / sqrt(pooled * (1 - pooled) * (1 / rows[0] + 1 / rows[1]))
    return erfc(abs(z) / sqrt(2))


def choice() -> None:
    data = epochal.load("fashion-mnist")
    base = epochal.Recipe(epochs=10)
    recipes = [replace(base, learning_rate=r, l2=p) for r, p in product((0.03, 0.1, 0.2), (0.0, 1e-5, 1e-4))]
    models = [epochal.mlp(width) for width in (300, 500, 1000)]
    for seed in range(3):
        default = epochal.fit(epochal.mlp(), data, replace(base, seed=seed))
        # What nobody has chosen tells how much the two splits differ by themselves.
        print(f"seed {seed}: the default recipe: valid {default.best.valid}, test {default.test()}")
        seeded = [replace(recipe, seed=seed) for recipe in recipes]
        selected = epochal.select(models, data, seeded, halving=True)
        assert selected.fit is not None
        valid, test = selected.fit.best.valid, selected.test()
        low, high = valid.interval95
        where = "inside" if low <= test.percent <= high else "outside"
        print(f"seed {seed}: {selected.standings[0].candidate}: valid {valid}, interval {low:.2f}–{high:.2f} %; "
              f"test {test}: {where}, p {two_samples(valid, test):.2f}")  # fmt: skip


if __name__ == "__main__":
    print(
        f"{os.cpu_count()} cores, {jax.devices()[0].device_kind}, jax {version('jax')}, epochal {epochal.__version__}"
    )
    choice() if sys.argv[1:] == ["choice"] else speed()
