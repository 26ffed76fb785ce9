"""Weights, label smoothing, losses, augmentation and optimisers of one's own, against plain loops and optax."""

from dataclasses import replace
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

import epochal
from agreement import drained, outcome, resumed_at_every_step
from conftest import blobs
from epochal.data.dataset import Dataset
from epochal.system.memory import parse_bytes
from epochal.training import loop
from epochal.training.row_weights import weighed

MODEL = epochal.mlp(8, "tanh")
RECIPE = epochal.Recipe(learning_rate=0.2, batch_size=20, epochs=2)


def changed(**options) -> epochal.Recipe:
    return replace(RECIPE, **options)


def plain(data: Dataset, recipe: epochal.Recipe, per_row, optimizer=None):
    """The parameters after the epochs of `recipe`: minibatches as NumPy slices them, one step after another.

    `per_row(logits, y, rows)` is the loss of every row.
    """
    training = epochal.train(MODEL, data, recipe)
    params, plan = jax.tree.map(jnp.copy, training.loop.state.params), training.loop.plan
    optimizer = optimizer or optax.sgd(recipe.learning_rate)
    slots, (x, y) = optimizer.init(params), map(np.asarray, data.train)

    def loss(params, rows):
        losses = per_row(MODEL.logits(params, jnp.asarray(x[rows])), jnp.asarray(y[rows]), rows)
        return losses.sum() / np.float32(len(rows))

    for number in range(recipe.epochs):
        for rows, count in zip(*plan.epoch(number), strict=True):
            updates, slots = optimizer.update(jax.grad(loss)(params, rows[:count]), slots, params)
            params = optax.apply_updates(params, updates)
    return params


def agree(training, expected) -> None:
    # The same operations in float32, summed in another order.
    jax.tree.map(partial(np.testing.assert_allclose, rtol=1e-5, atol=1e-6), training.loop.state.params, expected)


def nll(logits, y, rows):
    return optax.softmax_cross_entropy_with_integer_labels(logits, y)


def weighted(small: Dataset) -> tuple[Dataset, np.ndarray]:
    weight = np.random.default_rng(5).uniform(0, 3, len(small.train)).astype(np.float32)
    weight[::7] = 0
    return replace(small, train=replace(small.train, weight=weight)), weight


def test_weights_of_rows_are_those_of_a_plain_loop(small):
    data, weight = weighted(small)
    expected = plain(data, RECIPE, lambda logits, y, rows: nll(logits, y, rows) * weight[rows])
    agree(drained(MODEL, data, RECIPE), expected)


def test_weights_of_rows_and_of_classes_are_multiplied(small):
    data, weight = weighted(small)
    of_class = np.array([1, 0.25, 2], np.float32)
    recipe = changed(class_weight={"1": 0.25, "2": 2})
    expected = plain(
        data, recipe, lambda logits, y, rows: nll(logits, y, rows) * weight[rows] * of_class[small.train.y[rows]]
    )
    agree(drained(MODEL, data, recipe), expected)


def test_balanced_is_scikit_learns_and_those_weights_given_by_name():
    from sklearn.utils.class_weight import compute_class_weight

    x, y = blobs(100)
    y = np.where(y == 2, 0, y)
    y[:3] = 2
    data = epochal.load({"train": (x, y), "valid": blobs(40, seed=1), "test": blobs(33, seed=2)})
    weights = compute_class_weight("balanced", classes=np.arange(3), y=y)
    assert weights.max() > 5 * weights.min()
    np.testing.assert_allclose(
        weighed(data.train, "balanced", data.classes).weight, weights[y].astype(np.float32), rtol=1e-6
    )
    named = dict(zip(data.classes, weights.tolist(), strict=True))
    balanced = drained(MODEL, data, changed(class_weight="balanced"))
    assert outcome(balanced) == outcome(drained(MODEL, data, changed(class_weight=named)))
    assert outcome(balanced) != outcome(drained(MODEL, data, RECIPE))


def test_balanced_counts_the_weights_of_rows():
    x, y = blobs(90)
    data = epochal.load({"train": (x, y), "valid": blobs(40, seed=1), "test": blobs(33, seed=2)})
    split = replace(data.train, weight=np.where(y == 0, 2, 1).astype(np.float32))
    weight = weighed(split, "balanced", data.classes).weight
    sums = np.bincount(y, weight)
    np.testing.assert_allclose(sums, sums.mean(), rtol=1e-6)


def test_a_weight_of_a_class_that_is_not_there_is_refused(small):
    with pytest.raises(epochal.RecipeError, match="class_weight: there is no class 'x'; there are 0, 1, 2"):
        epochal.train(MODEL, small, changed(class_weight={"x": 2}))


def test_weights_count_in_the_loss_and_not_in_scores(small):
    data, _ = weighted(small)
    training = drained(MODEL, data, RECIPE)
    fit = training.fit()
    assert fit.best.valid.of == 40
    assert fit.score(data.train).of == 101
    np.testing.assert_array_equal((fit.predict(data.train.x) != data.train.y).sum(), fit.score(data.train).wrong)


@pytest.mark.parametrize("smoothing", [0.1, 0.6])
def test_label_smoothing_is_optaxs(small, smoothing):
    def smoothed(logits, y, rows):
        return optax.softmax_cross_entropy(logits, optax.smooth_labels(jax.nn.one_hot(y, 3), smoothing))

    recipe = changed(label_smoothing=smoothing)
    with jax.numpy_dtype_promotion("standard"):  # optax's functions mix dtypes
        expected = plain(small, recipe, smoothed)
    agree(drained(MODEL, small, recipe), expected)


def hinge(logits, y):
    """Crammer and Singer's multi-class hinge loss."""
    right = jnp.take_along_axis(logits, y[:, None], axis=1)
    return jnp.sum(jnp.maximum(0, 1 + logits - right), axis=1) - 1


LOSS = """
import jax.numpy as jnp

def hinge(logits, y):
    right = jnp.take_along_axis(logits, y[:, None], axis=1)
    return jnp.sum(jnp.maximum(0, 1 + logits - right), axis=1) - 1
"""


def test_a_loss_of_ones_own_by_value_and_by_reference(small, tmp_path):
    (tmp_path / "mine.py").write_text(LOSS)
    training = drained(MODEL, small, changed(loss=hinge))
    agree(training, plain(small, RECIPE, lambda logits, y, rows: hinge(logits, y)))
    by_reference = drained(MODEL, small, changed(loss=f"{tmp_path}/mine.py:hinge"))
    assert outcome(by_reference) == outcome(training)
    assert outcome(training) != outcome(drained(MODEL, small, RECIPE))


def test_weight_decay_reaches_what_its_mask_lets_through(small):
    def weights_alone(params):
        return jax.tree.map(lambda p: p.ndim > 1, params)

    optimizer = optax.chain(optax.add_decayed_weights(0.3, weights_alone), optax.sgd(0.2))
    recipe = epochal.Recipe(optimizer=optimizer, batch_size=20, epochs=2)
    training = drained(MODEL, small, recipe)
    agree(training, plain(small, recipe, nll, optimizer))
    agree(
        drained(MODEL, small, changed(l2=0.15)), training.loop.state.params
    )  # the gradient of l2 * w² is 2 * l2 * w: the tutorials' penalty leaves biases out as well


def shake(key, x):
    return x + 0.3 * jax.random.normal(key, x.shape, x.dtype)


AUGMENTED = changed(augment=shake, epochs=2, optimizer="momentum", batch_size=32, learning_rate=0.05)


@pytest.fixture
def single_steps(monkeypatch):
    monkeypatch.setattr(loop, "STRETCH_SECONDS", 0)


def too_little(resident):
    """Bytes that do not hold all rows; the program's share of what they need depends on the version of JAX."""
    return parse_bytes(resident.residency.why.split(" of ")[0]) * 95 // 100


@pytest.mark.parametrize("chunked", [False, True], ids=["resident", "chunked"])
def test_an_augmented_run_resumes_at_every_step_to_the_same_bits(small, single_steps, chunked):
    memory_bytes = too_little(epochal.train(MODEL, small, AUGMENTED)) if chunked else None
    training = epochal.train(MODEL, small, AUGMENTED, memory_bytes=memory_bytes)
    assert training.residency.kind == ("chunked" if memory_bytes else "resident")
    assert resumed_at_every_step(MODEL, small, AUGMENTED, memory_bytes) == 8


@pytest.mark.parametrize("shuffle", ["full", "none", "blocks"])
def test_an_augmented_and_weighted_run_in_chunks_has_the_bits_of_a_resident_one(small, shuffle):
    data, _ = weighted(small)
    recipe = replace(AUGMENTED, shuffle=shuffle, block_rows=10 if shuffle == "blocks" else None)
    resident = drained(MODEL, data, recipe)
    chunked = drained(MODEL, data, recipe, too_little(resident))
    assert (resident.residency.kind, chunked.residency.kind) == ("resident", "chunked")
    assert outcome(chunked) == outcome(resident)
    assert outcome(resident) != outcome(drained(MODEL, data, replace(recipe, augment=None)))


def test_the_key_of_a_row_depends_on_seed_epoch_and_row_alone(small):
    """The augmented features of every row, seen by a loss whose model hands them on, whatever minibatch it is in."""
    seen: dict[tuple, np.ndarray] = {}

    def seeing(tag):
        def note(epoch, rows, x):
            for row, of in zip(rows, x, strict=True):
                seen.setdefault((*tag, int(epoch), int(row)), of.copy())

        return note

    x = np.zeros((30, 4), np.float32)
    x[:, 0] = np.arange(30)
    y = np.arange(30) % 3
    data = epochal.load({"train": (x, y), "valid": (x[:6] + 50, y[:6]), "test": (x[:6] + 70, y[:6])})

    def shaken(key, x):
        return x.at[1:].set(jax.random.normal(key, (3,), x.dtype))

    def run(tag, **options):
        note = seeing(tag)

        def forward(params, x, key):
            jax.debug.callback(lambda x: note(0, x[:, 0].astype(int), x[:, 1:]), x)
            return epochal.logistic().logits(params, x), ()

        model = epochal.Model(epochal.logistic().init, epochal.logistic().logits, forward=forward)
        training = drained(model, data, epochal.Recipe(augment=shaken, epochs=1, **options))
        jax.effects_barrier()
        return training

    run(("a",), batch_size=7)
    run(("b",), batch_size=20, shuffle="none", optimizer="momentum")
    run(("c",), batch_size=7, seed=1)
    rows = [{key[-1]: of for key, of in seen.items() if key[0] == tag} for tag in "abc"]
    assert [len(of) for of in rows] == [30, 30, 30]
    for row in range(30):
        np.testing.assert_array_equal(rows[0][row], rows[1][row])
        assert (rows[0][row] != rows[2][row]).any(), "another seed, another key"
    assert len({of.tobytes() for of in rows[0].values()}) == 30, "every row has a key of its own"


def test_every_epoch_has_new_keys_and_they_are_folded_in_the_order_that_is_documented(small):
    from epochal.device.compiled import minibatch

    training = epochal.train(MODEL, small, AUGMENTED)
    step, state = training.loop.program.step, training.loop.state
    (work,) = training.loop.placed.work(0, 0, 1)
    batch = minibatch(work.rows, work.index[0], work.counts[0])
    first = step._augmented(state, batch)
    later = step._augmented(state._replace(step=jnp.int32(training.loop.plan.steps)), batch)
    same = step._augmented(state._replace(step=jnp.int32(training.loop.plan.steps - 1)), batch)
    np.testing.assert_array_equal(first, same)
    assert (np.asarray(first) != np.asarray(later)).any()
    key = jax.random.fold_in(jax.random.fold_in(jax.random.key(AUGMENTED.seed), 1), 0)
    row = int(work.index[0, 3])
    expected = shake(jax.random.fold_in(key, row), jnp.asarray(small.train.x[row]))
    np.testing.assert_allclose(first[3], expected, rtol=1e-6)
    training.loop.placed.close()


def test_scoring_and_predicting_do_not_augment(small):
    def ruin(key, x):
        return x * 0 + 1e3

    fit = drained(MODEL, small, changed(augment=ruin)).fit()
    logits = MODEL.logits(fit.params, jnp.asarray(small.valid.x))
    np.testing.assert_allclose(fit.predict_proba(small.valid.x), jax.nn.softmax(logits), rtol=1e-5, atol=1e-6)
    assert fit.best.valid.wrong == int((np.asarray(logits).argmax(1) != small.valid.y).sum())
