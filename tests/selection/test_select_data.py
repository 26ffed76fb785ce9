"""On MNIST: halving against the grid."""

import pytest

import epochal
from needs import require

pytestmark = [pytest.mark.slow, pytest.mark.data]


def test_halving_finds_the_grids_winner_or_one_within_a_standard_error_at_a_third_of_the_steps():
    data = epochal.load(require("mnist.pkl.gz"))
    recipes = [
        epochal.Recipe(learning_rate=rate, l2=l2, batch_size=600, epochs=18)
        for rate in (0.003, 0.01, 0.03, 0.1, 0.3, 1.0)
        for l2 in (1e-5, 1e-3)
    ]
    grid = epochal.select(epochal.logistic(), data, recipes, vectorize="always")
    halved = epochal.select(epochal.logistic(), data, recipes, vectorize="always", halving=True)
    best, found = grid.chosen.score, halved.chosen.score
    p = best.wrong / best.of
    assert found.wrong - best.wrong <= (p * (1 - p) * best.of) ** 0.5
    assert halved.steps <= 0.37 * grid.steps
    print(f"grid {grid.chosen.candidate} {best}; halving {halved.chosen.candidate} {found}, "
          f"{halved.steps / grid.steps:.0%} of the steps")  # fmt: skip
