"""What two runs must agree on, and a run taken up again at every one of its steps."""

import hashlib
import json
from typing import Any

import jax
import numpy as np

import epochal
from epochal.data.dataset import Dataset
from epochal.device.residency import Needs
from epochal.training.training import Training


def outcome(run: Training) -> tuple:
    """A digest of the final state, one of the best parameters, where they were reached, and the history."""
    state = hashlib.sha256(b"".join(np.asarray(leaf).tobytes() for leaf in jax.tree.leaves(run.loop.state))).hexdigest()
    history = [(e.epoch, e.step, e.loss, e.valid, e.best, e.validations) for e in run.epochs]
    return state, run.fit().parameters_sha256, run.best, history, run.stopped


def drained(model: Any, data: Dataset, recipe: epochal.Recipe, memory_bytes: int | None = None) -> Training:
    """A run, done."""
    training = epochal.train(model, data, recipe, memory_bytes=memory_bytes)
    for _ in training:
        pass
    return training


def too_little(model: Any, data: Dataset, recipe: epochal.Recipe) -> int:
    """One byte less than a resident run needs."""
    training = epochal.train(model, data, recipe)
    training.loop.placed.close()
    program, plan = training.loop.program, training.loop.plan
    taken = program._compile(plan, data.train, len(data.train), plan.steps)
    row_bytes = program._row_bytes(data.train)
    return Needs(len(data.train), len(data.valid), row_bytes, plan.numbers, plan.steps, taken).resident - 1


def resumed_at_every_step(model: Any, data: Dataset, recipe: epochal.Recipe, memory_bytes: int | None = None) -> int:
    """Assert that a run taken up after any of its steps ends as it does; returns the steps.

    Compiled stretches must be single steps: patch `loop.STRETCH_SECONDS` to 0.
    """
    whole = epochal.train(model, data, recipe, memory_bytes=memory_bytes)
    snapshots = [(whole.snapshot(), ())]
    for _ in whole.progress():
        snapshots.append((whole.snapshot(), tuple(whole.epochs)))
    assert len(snapshots) == 1 + whole.step
    for step, (snapshot, epochs) in enumerate(snapshots):
        again = epochal.train(model, data, recipe, memory_bytes=memory_bytes)
        metadata = json.loads(json.dumps(snapshot.metadata))
        again.load_snapshot(snapshot._replace(metadata=metadata), epochs)
        assert again.step == step
        for _ in again.progress():
            pass
        assert outcome(again) == outcome(whole), f"resumed at step {step}"
    return whole.step
