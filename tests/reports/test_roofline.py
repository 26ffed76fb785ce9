"""Ceilings and floors: counts against numbers worked out by hand, and against the products of the traced gradient."""

import jax
import numpy as np
import pytest
from jax.extend.core import jaxprs_in_params

from epochal.errors import RecipeError
from epochal.models import Model, lenet, logistic, mlp
from epochal.reports import roofline
from epochal.system.memory import peak_bytes
from epochal.training.losses import nll_of_logits


def flops_of(model: Model, rows: int = 50_000, batch_size: int = 500) -> int:
    return roofline.cost(model, (28, 28), 10, rows, batch_size, 788).flops


def test_the_flops_of_an_epoch_are_those_counted_by_hand():
    # 784 × 10 weights, two FLOPs each, forward and for the weights' gradient
    assert flops_of(logistic()) == 50_000 * 2 * 2 * 784 * 10 == 1_568_000_000
    # the second layer's input has a gradient, too
    assert flops_of(mlp(500)) == 50_000 * (2 * 2 * (784 * 500 + 500 * 10) + 2 * 500 * 10) == 79_900_000_000
    conv1, conv2 = 2 * 24 * 24 * 25 * 20, 2 * 8 * 8 * 500 * 50
    hidden, output = 2 * 800 * 500, 2 * 500 * 10
    assert flops_of(lenet()) == 50_000 * (2 * conv1 + 3 * (conv2 + hidden + output)) == 659_100_000_000


def test_the_flops_are_those_of_the_products_in_the_traced_gradient():
    rows = 7
    x, y = np.zeros((rows, 28, 28), np.float32), np.zeros(rows, np.int32)
    for model in (logistic(), mlp(500), mlp((30, 20))):
        params = model.init(jax.random.key(0), (28, 28), 10)
        traced = jax.make_jaxpr(jax.grad(lambda p, m=model: nll_of_logits(m.logits(p, x), y).sum()))(params)
        assert _dot_flops(traced.jaxpr) == flops_of(model, rows, rows), model


def _dot_flops(jaxpr) -> int:
    total = 0
    for equation in jaxpr.eqns:
        if equation.primitive.name == "dot_general":
            (contracted, _), _ = equation.params["dimension_numbers"]
            shape = equation.invars[0].aval.shape
            inner = int(np.prod([shape[axis] for axis in contracted]))
            total += 2 * inner * equation.outvars[0].aval.size
        for inside in jaxprs_in_params(equation.params):
            total += _dot_flops(inside)
    return total


def test_the_floor_is_the_longer_of_arithmetic_and_traffic():
    cost = roofline.cost(logistic(), (28, 28), 10, rows=1000, batch_size=300, row_bytes=788)
    assert cost.row_bytes == 788_000
    assert cost.weight_bytes == 2 * 4 * (784 * 10 + 10) * 4, "read and written in each of four steps"
    slow_products = roofline.Ceilings(flops=1e6, cache_bytes=1e9, memory_bytes=1e9)
    assert cost.floor(slow_products) == pytest.approx(1000 * 31_360 / 1e6)
    slow_copies = roofline.Ceilings(flops=1e15, cache_bytes=1e6, memory_bytes=1e5)
    assert cost.floor(slow_copies) == pytest.approx(788_000 / 1e5 + 251_200 / 1e6)


def test_the_better_of_two_measurements_counts():
    better = roofline.Ceilings(3.0, 1.0, 5.0).best(roofline.Ceilings(2.0, 4.0, 5.0))
    assert better == roofline.Ceilings(3.0, 4.0, 5.0)


def test_a_model_of_ones_own_has_no_floor():
    for name in ("mine", "mlp"):
        own = Model(lambda key, shape, classes: {}, lambda params, x: x, name)
        with pytest.raises(RecipeError, match=rf"counted for logistic, mlp and lenet, got the model '{name}'"):
            roofline.cost(own, (28, 28), 10, rows=1, batch_size=1, row_bytes=1)


def test_peak_memory_holds_what_has_been_touched():
    before = peak_bytes()
    assert before > 1 << 20
    touched = np.ones(before // 8 + (8 << 20), np.float64)
    assert peak_bytes() >= touched.nbytes
