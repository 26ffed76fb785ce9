"""The three verbs without classes: steps, sums and maps of one's own over rows, against NumPy and plain loops."""

from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import epochal
from conftest import blobs
from epochal.data.dataset import Split
from epochal.device import compiled
from epochal.device.compiled import DeviceRows, Minibatch
from epochal.device.placement import HostRows, fetch, put, put_rows
from epochal.device.plan import Plan
from epochal.device.residency import Resident, place
from epochal.device.scaling import terms
from epochal.training.objective import CLASSIFICATION, Objective
from epochal.training.patience import Patience
from epochal.training.program import Program
from epochal.training.step import Measure, Step

SIZES = [1, 7, 999, 1000, 1001, 2500]  # around a block of 1,000 rows, and more than two


def unlabelled(x: np.ndarray, divisor: float = 1.0) -> DeviceRows:
    rows = put_rows(HostRows(x, None), divisor, "float32")
    assert rows.y is None
    return rows


# Rows without labels


class Autoencoder(NamedTuple):
    """A gradient step of x ≈ (x w) wᵀ, hashable; its report is the mean squared error of the minibatch before it."""

    rate: float

    def __call__(self, w, batch: Minibatch):
        assert batch.y is None

        def loss(w):
            squares = jnp.sum((batch.x @ w @ w.T - batch.x) ** 2, axis=1)
            return jnp.sum(jnp.where(batch.counted, squares, 0)) / batch.count.astype(squares.dtype)

        value, gradient = jax.value_and_grad(loss)(w)
        return w - self.rate * gradient, {"loss": value, "rows": batch.count}


def numpy_autoencoder(w, x, index, counts, rate):
    """The same steps in float64, the gradient written out by hand: 2 (eᵀ x w + xᵀ e w) / rows, with e = x w wᵀ - x."""
    losses = []
    for rows, count in zip(index, counts, strict=True):
        batch = x[rows[:count]].astype(np.float64)
        error = batch @ w @ w.T - batch
        losses.append((error**2).sum() / count)
        w = w - rate * 2 * (error.T @ batch @ w + batch.T @ error @ w) / count
    return w, losses


@pytest.mark.parametrize("stored", ["float32", "uint8"])
def test_a_step_of_ones_own_over_rows_without_labels_is_a_plain_loop(stored):
    x, divisor = blobs(101)[0], 1.0
    if stored == "uint8":
        x, divisor = np.clip(x * 32 + 128, 0, 255).astype(np.uint8), 255.0
    plan, step = Plan(101, 20), Autoencoder(0.02)
    w = np.random.default_rng(1).normal(size=(6, 2)).astype(np.float32) / 2
    expected, expected_losses, state, losses = w.astype(np.float64), [], put(w), []
    placed = Resident(unlabelled(x, divisor), plan)
    for epoch in range(3):
        expected, of_epoch = numpy_autoencoder(expected, x / divisor, *plan.epoch(epoch), step.rate)
        expected_losses += of_epoch
        for first, last in ((0, 2), (2, plan.steps)):  # a stretch may end anywhere
            (work,) = placed.work(epoch, first, last)
            state, record = compiled.run_steps(step, state, *work)
            record = fetch(record)
            losses += record["loss"][first:last].tolist()
            assert record["rows"][first:last].tolist() == plan.counts[first:last].tolist()
            outside = np.delete(record["loss"], slice(first, last))
            assert not outside.any(), "reports of other steps are zero"
    placed.close()
    # Float32 against float64, over 18 steps.
    np.testing.assert_allclose(losses, expected_losses, rtol=2e-5)
    np.testing.assert_allclose(fetch(state), expected, rtol=2e-5, atol=2e-6)
    assert losses[-1] < losses[0]


def test_all_of_a_plan_in_one_program():
    plan, placed = Plan(101, 20), None
    step = Autoencoder(0.015625)  # of this test alone, so that nothing is compiled for it yet
    placed = Resident(unlabelled(blobs(101)[0]), plan)
    before, state = compiled.run_steps._cache_size(), put(np.ones((6, 2), np.float32))
    for epoch, first, last in ((0, 0, 1), (0, 1, plan.steps), (1, 0, plan.steps), (2, 3, 3)):
        (work,) = placed.work(epoch, first, last)
        state, _ = compiled.run_steps(step, state, *work)
    placed.close()
    assert compiled.run_steps._cache_size() == before + 1


# The next data set


def encode(w, batch: Minibatch):
    return jnp.tanh(batch.x @ w)


def test_what_map_rows_gives_is_the_data_set_of_the_next_training_without_leaving_the_device(monkeypatch):
    x, y = blobs(1201)
    y = y.astype(np.int32)
    w = put(np.random.default_rng(2).normal(size=(6, 4)).astype(np.float32))
    rows = put_rows(HostRows(x, y), 1.0, "float32")
    plan, recipe = Plan(1201, 100), epochal.Recipe(batch_size=100, learning_rate=0.3)
    program = Program(epochal.logistic(), recipe, (4,), 3)
    scale = put(terms(1.0, np.dtype("float32"), "float32"))

    def trained(placed):
        state = program.start(plan)
        for epoch in range(2):
            for work in placed.work(epoch, 0, plan.steps):
                state, _ = compiled.run_steps(program.step, state, *work)
        placed.close()
        sums = compiled.sum_rows(
            Measure(program.step.model, program.step.objective), state.params, placed.rows, np.int32(placed.size)
        )
        return state.params, sums

    with monkeypatch.context() as patch, jax.transfer_guard_device_to_host("disallow_explicit"):
        patch.setattr("epochal.device.placement.fetch", None)
        hidden = compiled.map_rows(encode, w, rows, np.int32(1201))
        on_device = trained(Resident(DeviceRows(hidden, rows.y, scale), plan))
    fetched = fetch(hidden)
    np.testing.assert_allclose(fetched, np.tanh(x @ fetch(w)), rtol=1e-5, atol=1e-6)
    over_the_host = trained(place(Split(fetched, y), "float32", 1201, plan, plan.steps))
    jax.tree.map(np.testing.assert_array_equal, on_device, over_the_host)
    assert int(on_device[1]["wrong"]) < 600, "it has learnt something"


@pytest.mark.parametrize("size", SIZES)
def test_map_rows_gives_a_pytree_of_the_first_count_rows_and_zero_behind_them(size):
    x = blobs(size)[0]
    rows = unlabelled(x)

    def both(offset, batch):
        return {"sum": jnp.sum(batch.x, axis=1) + offset, "row": jnp.stack([batch.x, -batch.x], axis=1)}

    for count in sorted({0, 1, size // 2, size}):
        out = fetch(compiled.map_rows(both, jnp.float32(1), rows, np.int32(count)))
        assert out["row"].shape == (size, 2, 6)
        np.testing.assert_array_equal(out["row"][:count], np.stack([x, -x], axis=1)[:count])
        np.testing.assert_allclose(out["sum"][:count], x[:count].sum(1) + 1, rtol=1e-5, atol=1e-5)
        assert not out["sum"][count:].any()
        assert not out["row"][count:].any()


# Sums


def sums(variables, batch: Minibatch):
    """A count, sums of floats, and a confusion matrix of labels against the greatest of the first three features."""
    predicted = jnp.argmax(batch.x[:, :3], axis=1)
    weight = batch.counted.astype(jnp.int32)
    return {
        "rows": jnp.sum(weight),
        "floats": (jnp.sum(jnp.where(batch.counted[:, None], batch.x * variables, 0), axis=0),),
        "confusion": jnp.zeros((3, 3), jnp.int32).at[batch.y, predicted].add(weight),
    }


@pytest.mark.parametrize("size", SIZES)
def test_sums_of_a_pytree_are_numpys(size):
    x, y = blobs(size)
    rows = put_rows(HostRows(x, y.astype(np.int32)), 1.0, "float32")
    for count in sorted({0, 1, size // 2, size - 1, size}):
        found = fetch(compiled.sum_rows(sums, jnp.float32(2), rows, np.int32(count)))
        assert found["rows"] == count
        # The sum over float32 rows in blocks of 1,000 against float64: rounding of a sum of up to 2,500 terms.
        np.testing.assert_allclose(found["floats"][0], 2 * x[:count].sum(0, dtype=np.float64), rtol=1e-4, atol=1e-3)
        confusion = np.zeros((3, 3), np.int32)
        np.add.at(confusion, (y[:count], x[:count, :3].argmax(1)), 1)
        np.testing.assert_array_equal(found["confusion"], confusion)
        assert found["confusion"].dtype == np.int32


# Several members


def test_two_members_in_one_program_are_each_of_them_alone():
    x, plan, step = blobs(101)[0], Plan(101, 20), Autoencoder(0.02)
    generator = np.random.default_rng(3)
    starts = [generator.normal(size=(6, 2)).astype(np.float32) / 2 for _ in range(2)]
    rows = unlabelled(x)
    index, counts = plan.epoch(0)
    arguments = (rows, put(index), put(counts), np.int32(0), np.int32(plan.steps))
    alone = [fetch(compiled.run_steps(step, put(w), *arguments)) for w in starts]
    state = compiled.stack([put(w) for w in starts])
    state, record = compiled.run_steps(compiled.Vectorized(step), state, *arguments)
    assert record["loss"].shape == (plan.steps, 2)
    for member, (w, of_one) in enumerate(alone):
        # A product of matrices for two members is summed in another order than one for each.
        np.testing.assert_allclose(fetch(compiled.pick(state, member)), w, rtol=1e-5, atol=1e-6)
        np.testing.assert_allclose(fetch(record["loss"])[:, member], of_one["loss"], rtol=1e-5)
    measured = fetch(compiled.sum_rows(compiled.Vectorized(squares), state, rows, np.int32(77)))
    for member in range(2):
        one = fetch(compiled.sum_rows(squares, compiled.pick(state, member), rows, np.int32(77)))
        np.testing.assert_allclose(measured[member], one, rtol=1e-5)


def squares(w, batch: Minibatch):
    return jnp.sum(jnp.where(batch.counted[:, None], (batch.x @ w @ w.T - batch.x) ** 2, 0))


def test_two_members_with_orders_of_their_own_are_each_of_them_alone():
    x, step = blobs(101)[0], Autoencoder(0.02)
    plans = [Plan(101, 20, seed=seed) for seed in (1, 2)]
    w, rows = np.random.default_rng(3).normal(size=(6, 2)).astype(np.float32) / 2, unlabelled(x)
    orders = [plan.epoch(0) for plan in plans]
    last = np.int32(plans[0].steps)
    index = put(np.stack([index for index, _ in orders], axis=1))
    state = compiled.stack([put(w), put(w)])
    state, record = compiled.run_steps(
        compiled.Vectorized(step, own_order=True), state, rows, index, put(orders[0][1]), np.int32(0), last
    )
    for member, (index, counts) in enumerate(orders):
        alone, of_one = compiled.run_steps(step, put(w), rows, put(index), put(counts), np.int32(0), last)
        np.testing.assert_allclose(fetch(compiled.pick(state, member)), fetch(alone), rtol=1e-5, atol=1e-6)
        np.testing.assert_allclose(fetch(record["loss"])[:, member], fetch(of_one["loss"]), rtol=1e-5)
    assert not np.array_equal(*(fetch(compiled.pick(state, member)) for member in range(2)))


# Objectives


RIGHT = Objective(
    CLASSIFICATION.loss,
    lambda outputs, y, counted: {"right": jnp.sum((jnp.argmax(outputs, axis=1) == y) & counted, dtype=jnp.int32)},
    "right",
    higher_is_better=True,
)


def test_an_objective_whose_higher_value_is_better_stops_where_its_complement_does():
    """Right rows watched upwards are wrong rows watched downwards: the same bests, at the same steps."""
    x, y = blobs(600)
    program = Program(epochal.logistic(), epochal.Recipe(batch_size=50, learning_rate=0.5), (6,), 3)
    plan = Plan(600, 50)
    placed = place(Split(x, y.astype(np.int32)), "float32", 600, plan, plan.steps)
    state, bests = program.start(plan), []
    up, down = Patience(10, threshold=1.0, higher_is_better=RIGHT.higher_is_better), Patience(10, threshold=1.0)
    for epoch in range(4):
        state, _ = program.run_steps(state, placed, plan, epoch, 0, plan.steps)
        step = (epoch + 1) * plan.steps
        right = compiled.sum_rows(Measure(program.step.model, RIGHT), state.params, placed.rows, np.int32(600))
        wrong = compiled.sum_rows(Measure(program.step.model, CLASSIFICATION), state.params, placed.rows, np.int32(600))
        assert int(right["right"]) == 600 - int(wrong["wrong"])
        up, better = up.observe(step, int(right[RIGHT.monitor]))
        down, same = down.observe(step, int(wrong[CLASSIFICATION.monitor]))
        assert better == same
        assert (up.best_step, up.steps) == (down.best_step, down.steps)
        bests.append(better)
    placed.close()
    assert bests[0]


def test_patience_of_values_whose_higher_one_is_better():
    rule, better = Patience(10, 2.0, 0.5, higher_is_better=True).observe(4, 10)
    assert better
    assert (rule.best, rule.best_step, rule.steps) == (10, 4, 10)
    assert rule.observe(8, 10) == (rule, False), "a tie is no new best"
    assert rule.observe(8, 9) == (rule, False)
    small, better = rule.observe(40, 20)
    assert better, "20 is better than 10, but not beyond the threshold of one half"
    assert (small.best, small.best_step, small.steps) == (20, 40, 10)
    large, better = rule.observe(40, 21)
    assert better
    assert (large.best, large.best_step, large.steps) == (21, 40, 2 * 39)


REGRESSION = Objective(
    lambda outputs, y: (outputs[:, 0] - y) ** 2,
    lambda outputs, y, counted: {
        "squares": jnp.sum(jnp.where(counted, (outputs[:, 0] - y) ** 2, 0)),
        "absolute": jnp.sum(jnp.where(counted, jnp.abs(outputs[:, 0] - y), 0)),
        "rows": jnp.sum(counted, dtype=jnp.int32),
    },
    "squares",
)


def linear() -> epochal.Model:
    return epochal.Model(
        lambda key, shape, outputs: {"w": jnp.zeros((shape[0], outputs)), "b": jnp.zeros(outputs)},
        lambda params, x: x @ params["w"] + params["b"],
    )


def test_a_regression_is_trained_and_measured_as_numpy_has_it():
    generator = np.random.default_rng(4)
    x = generator.normal(size=(1203, 6)).astype(np.float32)
    y = (x @ generator.normal(size=6) + 3 + generator.normal(size=1203) / 10).astype(np.float32)
    model, plan = linear(), Plan(1203, 100)
    recipe = epochal.Recipe(batch_size=100, learning_rate=0.1)
    program = Program(model, recipe, (6,), 1)
    program.step = Step(model, objective=REGRESSION)
    rows = put_rows(HostRows(x, y), 1.0, "float32")
    placed, state = Resident(rows, plan), program.start(plan)
    w, b = np.zeros(6), 0.0
    for epoch in range(3):
        state, losses = program.run_steps(state, placed, plan, epoch, 0, plan.steps)
        expected = []
        for index, count in zip(*plan.epoch(epoch), strict=True):
            batch = x[index[:count]].astype(np.float64)
            error = batch @ w + b - y[index[:count]]
            expected.append((error**2).mean())
            w, b = w - 0.1 * 2 * batch.T @ error / count, b - 0.1 * 2 * error.mean()
        np.testing.assert_allclose(losses[0], expected, rtol=1e-4)
    placed.close()
    np.testing.assert_allclose(fetch(state.params["w"])[:, 0], w, rtol=1e-4)
    np.testing.assert_allclose(fetch(state.params["b"]), [b], rtol=1e-4)
    for count in (0, 1, 999, 1203):
        found = fetch(compiled.sum_rows(Measure(model, REGRESSION), state.params, rows, np.int32(count)))
        error = (x[:count].astype(np.float64) @ w + b) - y[:count]
        assert found["rows"] == count
        np.testing.assert_allclose(found["squares"], (error**2).sum(), rtol=1e-3)
        np.testing.assert_allclose(found["absolute"], np.abs(error).sum(), rtol=1e-3)
