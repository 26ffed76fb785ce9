"""Resident or chunked: the decision at its boundaries, and the same bits either way."""

import hashlib
import re
import threading
import time

import jax
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import epochal
from conftest import blobs
from epochal.data.dataset import Split
from epochal.device import chunked, placement
from epochal.device.chunked import Chunked
from epochal.device.plan import Plan
from epochal.device.residency import Needs, decide, place, scoring
from epochal.system.prefetch import BUFFERS, Prefetcher

NEEDS = Needs(train_rows=1000, valid_rows=200, row_bytes=100, batch_size=20, steps=50, program=5000)
STEP = 20 * 104 + 4
ONE = STEP + 20 * 4 + 4  # a chunk of one minibatch has a plan of two


def test_residency_is_given_up_at_exactly_one_byte_too_few():
    assert NEEDS.resident == 1200 * 100 + 2 * 50 * 21 * 4 + 5000
    fits = decide(NEEDS, NEEDS.resident)
    assert (fits.kind, fits.chunk_steps, fits.block_rows) == ("resident", 50, 200)
    assert fits.why == "133 kB of 133 kB"
    gives_up = decide(NEEDS, NEEDS.resident - 1)
    assert gives_up.kind == "chunked"
    assert re.fullmatch(r"133,400 bytes do not fit 133,399 bytes; 2 chunks of 25 steps, 52 kB each", gives_up.why)


@given(
    st.builds(
        Needs, st.integers(1, 10**7), st.integers(1, 10**6), st.integers(5, 10**6), st.integers(1, 1000),
        st.integers(1, 10**5), st.integers(0, 10**9),
    ),
    st.integers(0, 10**13),
)  # fmt: skip
def test_what_is_decided_never_takes_more_than_is_granted(needs, granted):
    try:
        residency = decide(needs, granted)
    except epochal.CapacityError as error:
        least = re.search(r"grant memory_bytes=\d+", str(error))
        assert least
        return
    if residency.kind == "resident":
        assert needs.resident <= granted
    else:
        assert needs.resident > granted
        assert residency.bytes + needs.program <= granted
        assert 1 <= residency.chunk_steps <= needs.steps
        assert 1 <= residency.block_rows <= needs.valid_rows


def test_the_least_that_the_message_names_is_enough_and_a_little_less_is_not():
    with pytest.raises(epochal.CapacityError, match=r"two chunks of one minibatch do not fit: 20 rows of 100 bytes"):
        decide(NEEDS, 6000)
    least = 5000 + -(-BUFFERS * ONE * 4 // 3) + 1
    assert decide(NEEDS, least).chunk_steps == 1
    with pytest.raises(epochal.CapacityError, match=r"grant memory_bytes=11322, or take a smaller batch_size=…"):
        decide(NEEDS, least - 400)
    assert decide(NEEDS, 11322).chunk_steps >= 1


def test_scoring_takes_whole_blocks_of_the_count_where_they_fit():
    assert (scoring(5000, 10, 50_000).kind, scoring(5000, 10, 50_000).block_rows) == ("resident", 5000)
    assert scoring(5000, 10, 49_999).block_rows == 2000
    assert scoring(5000, 10, 300).block_rows == 15
    with pytest.raises(epochal.CapacityError, match="two rows of 10 bytes do not fit the 19 bytes granted"):
        scoring(5000, 10, 19)


def digest(tree) -> str:
    return hashlib.sha256(b"".join(np.asarray(leaf).tobytes() for leaf in jax.tree.leaves(tree))).hexdigest()


def run(model, data, recipe, memory_bytes=None):
    """Digests of the final state, the best parameters and the history (seconds apart), and what was decided."""
    training = epochal.train(model, data, recipe, memory_bytes=memory_bytes)
    history = [(e.epoch, e.step, e.loss, e.valid, e.best, e.validations) for e in training]
    fit = training.fit()
    training.loop.placed.close()
    return digest(training.loop.state), fit.parameters_sha256, history, training.residency


def images(rows, seed=0):
    x, y = blobs(rows, 64, 3, seed)
    return np.clip(128 + 40 * x, 0, 255).astype(np.uint8).reshape(rows, 8, 8), y


MODELS = {
    "logistic": (epochal.logistic(), {}),
    "mlp with momentum": (epochal.mlp(16, "tanh"), {"optimizer": "momentum"}),
    "lenet with adam": (epochal.lenet((3, 4), 8, kernel_size=2), {"optimizer": "adam"}),
}


@pytest.mark.parametrize("shuffle", ["none", "full", "blocks"])
@pytest.mark.parametrize("name", MODELS)
def test_chunked_and_resident_runs_have_the_same_bits(name, shuffle, optax_promotes):
    model, options = MODELS[name]
    data = epochal.load({"train": images(1013), "valid": images(300, 1), "test": images(50, 2)})
    recipe = epochal.Recipe(
        batch_size=16, epochs=3, shuffle=shuffle, block_rows=50 if shuffle == "blocks" else None, **options
    )
    *resident, placed = run(model, data, recipe)
    assert placed.kind == "resident"
    assert 1013 % 16, "the last minibatch must be smaller"
    needed = 1313 * data.train.row_bytes
    program = _program_bytes(placed, needed)
    seen = set()
    for part in (0.9, 0.45, 0.2):
        *streamed, decided = run(model, data, recipe, program + int(part * needed))
        assert decided.kind == "chunked"
        assert streamed == resident
        seen.add(decided.chunk_steps)
    assert any(64 % steps for steps in seen), "a chunk size must divide nothing"
    assert len(seen) == 3


def _program_bytes(placed, needed) -> int:
    from epochal.system.memory import parse_bytes

    return int(1.05 * parse_bytes(placed.why.split(" of ")[0].replace(" bytes", ""))) - needed


def test_a_stop_in_the_middle_of_a_chunk_and_of_an_epoch_has_the_same_bits():
    data = epochal.load({"train": images(1013), "valid": images(300, 1), "test": images(50, 2)})
    recipe = epochal.Recipe(batch_size=16, epochs=9, patience_steps=45, patience_increase=1)
    resident, streamed = run(epochal.logistic(), data, recipe), run(epochal.logistic(), data, recipe, 60_000)
    assert streamed[:3] == resident[:3]
    assert streamed[3].kind == "chunked"
    assert resident[2][-1][1] % 64, "the run must end in the middle of an epoch"


def test_scoring_in_blocks_counts_what_scoring_whole_counts():
    data = epochal.load({"train": blobs(101), "valid": blobs(40, seed=1), "test": blobs(5003, seed=2)})
    fit = epochal.fit(epochal.mlp(8), data, epochal.Recipe(epochs=2))
    whole = fit.program.count_errors(fit.params, fit.program.place(data.test))
    p = fit.program.probabilities(fit.params, fit.program.place(data.test))
    for memory in (100_000, 60_000, 1000):
        fit.program.memory_bytes = memory
        placed = fit.program.place(data.test)
        assert isinstance(placed, Chunked)
        assert fit.program.count_errors(fit.params, placed) == whole
        np.testing.assert_allclose(fit.program.probabilities(fit.params, placed), p, rtol=1e-6)


def test_double_precision_is_streamed_in_double_precision():
    x, y = blobs(500)
    data = epochal.load({"train": (x.astype(np.float64) / 3, y), "valid": blobs_64(1), "test": blobs_64(2)})
    recipe = epochal.Recipe(dtype="float64", batch_size=16, epochs=2)
    resident, streamed = run(epochal.mlp(8), data, recipe), run(epochal.mlp(8), data, recipe, 22_000)
    assert streamed[3].kind == "chunked"
    assert streamed[:3] == resident[:3]


def blobs_64(seed):
    x, y = blobs(100, seed=seed)
    return x.astype(np.float64) / 3, y


def test_a_run_in_chunks_compiles_one_stretch_for_all_of_them(compilations):
    model = epochal.Model(epochal.mlp(8).init, epochal.mlp(8).logits)
    data = epochal.load({"train": images(1013), "valid": images(300, 1), "test": images(50, 2)})
    run(model, data, epochal.Recipe(batch_size=16, epochs=3), 70_000)
    # One to learn what the program takes with all rows on the device, one that is run.
    assert compilations.count("jit(run_steps)") == 2
    assert compilations.count("jit(sum_rows)") == 1


def test_no_value_on_the_device_changes_through_10_000_chunks():
    generator = np.random.default_rng(0)
    x = generator.integers(0, 256, (4000, 16), dtype=np.uint8)
    split, plan = Split(x, np.arange(4000, dtype=np.int32)), Plan(4000, 20)
    placed = Chunked(split, "float32", 100, plan, 4)
    kept = []
    for number in range(200):
        index = plan.epoch(number)[0]
        for chunk in range(50):
            work = next(placed.work(number, chunk * 4, chunk * 4 + 4))
            rows = index[chunk * 4 : chunk * 4 + 4].reshape(-1)
            assert np.array_equal(work.rows.x, x[rows])
            assert np.array_equal(work.rows.y, rows)
            if generator.random() < 0.01:
                kept.append((work.rows.x, rows))
    placed.close()
    assert len(kept) > 50
    for device, rows in kept:  # chunks that were held on to, long after their buffers were replaced
        np.testing.assert_array_equal(device, x[rows])


def test_never_more_than_two_chunks_are_alive():
    alive, most, lock = 0, 0, threading.Lock()

    def make():
        nonlocal alive, most
        with lock:
            alive += 1
            most = max(most, alive)
        return object()

    stream = Prefetcher(iter([make] * 50))
    for _ in range(50):
        stream.take()
        time.sleep(0.001)
        with lock:
            alive -= 1  # the consumer lets go of it before it asks for the next
    stream.close()
    assert most == BUFFERS


def test_an_error_in_the_readers_thread_reaches_the_loop(monkeypatch, small):
    calls = []

    def broken(x, rows, out):
        calls.append(len(rows))
        if len(calls) == 8:
            raise epochal.DataError("disk: gone")
        return gather(x, rows, out)

    gather = chunked.gather
    monkeypatch.setattr(chunked, "gather", broken)
    training = epochal.train(epochal.logistic(), small, epochal.Recipe(batch_size=10, epochs=50), memory_bytes=4500)
    assert training.residency.kind == "chunked"
    with pytest.raises(epochal.DataError, match="disk: gone"):
        list(training)


@pytest.mark.parametrize("chunk_steps", [2, 10])
def test_closing_ends_the_thread(chunk_steps):
    split = Split(np.zeros((100, 4), np.float32), np.zeros(100, np.int32))
    placed = place(split, "float32", 10, Plan(100, 10), chunk_steps)
    assert isinstance(placed, Chunked) == (chunk_steps == 2)
    before = set(threading.enumerate())  # other tests may have left trainings in their middle
    next(placed.work(0, 0, 1))
    (started,) = set(threading.enumerate()) - before
    assert started.name == "epochal-prefetch"
    placed.close()
    assert not started.is_alive()


def test_resident_rows_have_the_order_of_any_epoch_that_is_asked_for():
    plan = Plan(100, 10, seed=3)
    placed = place(Split(np.zeros((100, 4), np.float32), np.zeros(100, np.int32)), "float32", 10, plan, 10)
    for number in (0, 1, 5, 6, 5, 0):
        (work,) = placed.work(number, 2, 4)
        np.testing.assert_array_equal(work.index, plan.epoch(number)[0])
        np.testing.assert_array_equal(work.counts, plan.epoch(number)[1])
    placed.close()
    next(placed.work(7, 0, 1))  # and again after it was closed
    placed.close()


def test_on_a_cpu_a_frozen_array_is_not_copied_and_a_writable_one_is():
    x = np.zeros((1000, 16), np.float32)
    device = placement.put(x)
    x[:] = 1
    assert not np.asarray(device).any()
