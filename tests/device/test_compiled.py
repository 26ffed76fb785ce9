"""The compiled stretch against a plain Python loop of the same steps, and the compiled count against NumPy."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

import epochal
from conftest import blobs
from epochal.data.dataset import Split
from epochal.device import compiled
from epochal.device.plan import Plan
from epochal.device.residency import place
from epochal.training.program import Program
from epochal.training.step import Measure

RECIPES = {
    "sgd": epochal.Recipe(learning_rate=0.1, batch_size=20),
    "sgd with penalties": epochal.Recipe(learning_rate=0.1, batch_size=20, l1=1e-3, l2=1e-2),
    "momentum": epochal.Recipe(optimizer="momentum", batch_size=16),
    "nesterov decaying": epochal.Recipe(optimizer="nesterov", batch_size=16, schedule="inverse_time", decay=0.5),
    "adam": epochal.Recipe(optimizer="adam", batch_size=20),
    "adamw cosine": epochal.Recipe(optimizer="adamw", batch_size=20, schedule="cosine", epochs=3, weight_decay=0.1),
    "optax by value": epochal.Recipe(optimizer=optax.rmsprop(1e-3), batch_size=20),
    "in order, last dropped": epochal.Recipe(batch_size=20, shuffle="none", drop_last=True),
}


def resident(split: Split, plan: Plan):
    return place(split, "float32", len(split), plan, plan.steps)


def reference_optimizer(recipe: epochal.Recipe, steps: int) -> optax.GradientTransformation:
    """The optax optimizer that a recipe means, written out by hand."""
    if not isinstance(recipe.optimizer, str):
        return recipe.optimizer
    total = steps * recipe.epochs
    rate = {
        "constant": lambda step: recipe.learning_rate,
        "inverse_time": lambda step: recipe.learning_rate / (1 + recipe.decay * jnp.floor(step / steps)),
        "cosine": optax.cosine_decay_schedule(recipe.learning_rate, total),
    }[recipe.schedule]
    return {
        "sgd": lambda: optax.sgd(rate),
        "momentum": lambda: optax.sgd(rate, recipe.momentum),
        "nesterov": lambda: optax.sgd(rate, recipe.momentum, nesterov=True),
        "adam": lambda: optax.adam(rate),
        "adamw": lambda: optax.adamw(rate, weight_decay=recipe.weight_decay),
    }[recipe.optimizer]()


def plain_loop(model, recipe, x, y, plan, params, epochs):
    """The same steps, one by one, without a compiled loop, padding or masks: minibatches as NumPy slices them."""
    optimizer = reference_optimizer(recipe, plan.steps)
    slots, losses = optimizer.init(params), []

    def loss(params, xb, yb):
        p = jax.nn.softmax(model.logits(params, xb))
        weights = [leaf for leaf in jax.tree.leaves(params) if leaf.ndim >= 2]
        penalty = recipe.l1 * sum(jnp.abs(w).sum() for w in weights) + recipe.l2 * sum((w**2).sum() for w in weights)
        return epochal.negative_log_likelihood(p, yb) + penalty

    for number in range(epochs):
        index, counts = plan.epoch(number)
        for rows, count in zip(index, counts, strict=True):
            rows = rows[:count]
            value, gradient = jax.value_and_grad(loss)(params, x[rows], y[rows])
            updates, slots = optimizer.update(gradient, slots, params)
            params = optax.apply_updates(params, updates)
            losses.append(float(value))
    return params, losses


@pytest.mark.parametrize("name", RECIPES)
@pytest.mark.parametrize("model", [epochal.logistic(), epochal.mlp(8, "tanh")], ids=["logistic", "mlp"])
def test_a_stretch_is_a_plain_loop_of_the_same_steps(name, model, optax_promotes):
    # Float32 and the same operations, summed in another order: 1e-5 relative is some 80 units in the last place.
    recipe, (x, y) = RECIPES[name], blobs(101)
    plan = Plan(101, recipe.batch_size, recipe.shuffle, recipe.drop_last, recipe.seed)
    program = Program(model, recipe, (6,), 3)
    placed, state = resident(Split(x, y.astype(np.int32)), plan), program.start(plan)
    expected, expected_losses = plain_loop(
        model, recipe, jnp.asarray(x), jnp.asarray(y.astype(np.int32)), plan, jax.tree.map(jnp.copy, state.params), 2
    )
    losses = []
    for number in range(2):
        state, record = program.run_steps(state, placed, plan, number, 0, plan.steps)
        losses += record[0].tolist()
    np.testing.assert_allclose(losses, expected_losses, rtol=1e-5)
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-6), state.params, expected)
    assert int(state.step) == 2 * plan.steps


def test_cutting_a_stretch_changes_no_bit():
    recipe, (x, y) = RECIPES["momentum"], blobs(101)
    plan, program = Plan(101, 16), Program(epochal.mlp(8), recipe, (6,), 3)
    placed = resident(Split(x, y.astype(np.int32)), plan)
    whole, losses = program.run_steps(program.start(plan), placed, plan, 0, 0, plan.steps)
    state, parts = program.start(plan), []
    for first, last in ((0, 1), (1, 1), (1, 4), (4, plan.steps)):
        state, record = program.run_steps(state, placed, plan, 0, first, last)
        parts.append(record)
    np.testing.assert_array_equal(np.concatenate(parts, axis=1), losses)
    jax.tree.map(np.testing.assert_array_equal, state, whole)


def test_uint8_on_the_device_trains_like_floats_of_the_same_values():
    generator = np.random.default_rng(0)
    pixels, y = generator.integers(0, 256, (90, 5, 4), dtype=np.uint8), generator.integers(0, 3, 90).astype(np.int32)
    plan, program = Plan(90, 20), Program(epochal.mlp(8), epochal.Recipe(), (5, 4), 3)
    states = []
    for split in (Split(pixels, y, 255.0), Split(pixels.astype(np.float32) / np.float32(255), y)):
        placed = resident(split, plan)
        states.append(program.run_steps(program.start(plan), placed, plan, 0, 0, plan.steps))
    assert program.place(Split(pixels, y, 255.0)).rows.x.dtype == np.uint8
    jax.tree.map(np.testing.assert_array_equal, states[0], states[1])


@pytest.mark.parametrize("rows", [1, 7, 999, 1000, 1001, 2500])
def test_the_count_of_errors_is_numpys_over_every_row(rows):
    x, y = blobs(rows)
    program = Program(epochal.mlp(8), epochal.Recipe(), (6,), 3)
    params = jax.tree.map(lambda p: p + 0.1, program.start(Plan(rows, 20)).params)
    params["output"]["W"] = jax.random.normal(jax.random.key(1), (3, 8))
    placed = program.place(Split(x, y.astype(np.int32)))
    p = program.probabilities(params, placed)
    logits = np.asarray(epochal.mlp(8).logits(params, jnp.asarray(x)))
    np.testing.assert_allclose(p, np.exp(logits) / np.exp(logits).sum(1, keepdims=True), rtol=1e-5, atol=1e-7)
    (score,) = program.count_errors(params, placed)
    assert (score.wrong, score.of) == (int((logits.argmax(1) != y).sum()), rows)


def test_only_the_first_count_rows_are_counted():
    x, y = blobs(50)
    program = Program(epochal.logistic(), epochal.Recipe(), (6,), 3)
    params = program.start(Plan(50, 20)).params  # all zero: class 0 for every row
    rows = program.place(Split(x, y.astype(np.int32))).rows
    for count in (0, 1, 2, 49, 50):
        sums = compiled.sum_rows(Measure(program.step.model, program.step.objective), params, rows, np.int32(count))
        assert int(sums["wrong"]) == int((y[:count] != 0).sum())
