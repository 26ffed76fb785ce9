"""Flax NNX with NumPy minibatches, a loop of one's own; the base of nnx_step.py and nnx_cached.py."""

import time

import numpy as np
import optax
from flax import nnx
from nnx_models import count_wrong, network, train_step
from protocol import Job, Report


def train(*, cached: bool) -> None:
    """Train by a jitted step; `cached` binds model and optimizer to it, so that they are not traversed each time."""
    job = Job.given()
    x, y, x_valid, y_valid = job.splits()
    report = Report(job)
    generator = np.random.default_rng(job.seed)
    model = network(job, x.shape[1:], int(y.max()) + 1)
    optimizer = nnx.Optimizer(model, optax.sgd(job.learning_rate), wrt=nnx.Param)
    if cached:
        step = nnx.cached_partial(train_step, model, optimizer)
    else:

        def step(xs, ys):
            return train_step(model, optimizer, xs, ys)

    done = False
    while not done:
        begun, losses = time.perf_counter(), []
        order = generator.permutation(len(x))
        for first in range(0, len(x), job.batch_size):
            rows = order[first : first + job.batch_size]
            losses.append((step(x[rows], y[rows]), len(rows)))
        mean = sum(float(loss) * count for loss, count in losses) / len(x)
        trained = time.perf_counter()
        wrong = sum(
            int(count_wrong(model, x_valid[first : first + 1000], y_valid[first : first + 1000]))
            for first in range(0, len(x_valid), 1000)
        )
        done = report.epoch(trained - begun, time.perf_counter() - trained, mean, wrong)
    report.print("flax", "jax", "optax", "numpy")
