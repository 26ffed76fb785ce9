"""Where the time of a step goes: its parts alone, in a loop of the same length, beside the whole.

    EPOCHAL_DATA=… python benchmarks/steps.py [--repeats 9]

For logistic regression (W1) and the perceptron (W2, W3): gathering the minibatch (also of rows that are in the caches,
which is the same work without waiting for memory), the products with the first layer's weights, and all of an epoch
divided by its steps. Each part is a compiled loop over the minibatches of one epoch, as the training is; microseconds a
step, the least of the repeats. Beside them what the part takes at the peak of a square product, or of a copy, measured
in the same run.
"""

import argparse
import time
from collections.abc import Callable
from importlib.metadata import version
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array

from epochal.device.placement import HostRows, put_rows
from epochal.device.scaling import features
from epochal.reports import bench, roofline
from epochal.training.training import train

WORKS = {"W1": 10, "W2": 500, "W3": 500}
"""Width of the first layer."""

CACHED = 500
"""Rows of which a gather finds all in the caches: 0.4 MB."""


def microseconds(body: Callable[..., Any], carry: Any, repeats: int, index: Array, *given: Any) -> float:
    """The least time of one turn of a loop over `index`, whose `body(carry, index, *given)` returns the next carry."""
    steps = len(index)

    @jax.jit
    def loop(carry: Any, index: Array, *given: Any) -> Any:
        return jax.lax.fori_loop(0, steps, lambda i, carry: body(carry, index[i], *given), carry)

    seconds = []
    for _ in range(repeats + 1):  # the first compiles
        begun = time.perf_counter()
        jax.block_until_ready(loop(carry, index, *given))
        seconds.append(time.perf_counter() - begun)
    return 1e6 * min(seconds[1:]) / steps


def parts(name: str, repeats: int, ceilings: roofline.Ceilings) -> list[tuple[str, float, float]]:
    """The name, the time and the least possible time of each part of a step, in microseconds; the last is the whole."""
    data, work, width = bench.data(), bench.WORKS[name], WORKS[name]
    x, batch = data.train.x.reshape(len(data.train), -1), work.batch_size
    rows = put_rows(HostRows(x, data.train.y), data.divisor, "float32")
    generator = np.random.default_rng(0)
    order = generator.permutation(len(x))[: len(x) // batch * batch].reshape(-1, batch).astype(np.int32)
    index, few = jnp.asarray(order), jnp.asarray(order % CACHED)
    w = jnp.asarray(generator.normal(size=(width, x.shape[1])) / 100, jnp.float32)
    d = jnp.asarray(generator.normal(size=(batch, width)) / 1e6, jnp.float32)

    def gathered(at: Array, rows: Any) -> Array:
        return features(rows.x[at], rows.scale)

    def gather(total: Array, at: Array, rows: Any) -> Array:
        return total + gathered(at, rows)

    def forward(total: Array, at: Array, rows: Any, w: Array) -> Array:
        return total + gathered(at, rows) @ w.T

    def update(w: Array, at: Array, rows: Any, d: Array) -> Array:
        return w + d.T @ gathered(at, rows)

    def both(w: Array, at: Array, rows: Any) -> Array:
        x = gathered(at, rows)
        return w + (1e-7 * (x @ w.T)).T @ x

    product = 1e6 * 2 * batch * w.size / ceilings.flops
    copied = 1e6 * batch * x.shape[1] * (1 + 4) / ceilings.cache_bytes
    nothing = jnp.zeros((batch, x.shape[1]))
    found = [
        ("gather, rows in cache", microseconds(gather, nothing, repeats, few, rows), copied),
        ("gather", microseconds(gather, nothing, repeats, index, rows), copied),
        ("gather, forward", microseconds(forward, jnp.zeros((batch, width)), repeats, index, rows, w), product),
        ("gather, update", microseconds(update, w, repeats, index, rows, d), product),
        ("gather, forward, update", microseconds(both, w, repeats, index, rows), 2 * product),
    ]
    training = train(work.model, data, work.recipe(1 + repeats, seed=0))
    whole = min(epoch.train for epoch in list(bench.epochs(training))[1:]) / len(training.loop.plan.counts)
    least = 1e6 * bench.floor(work, data, ceilings) / len(training.loop.plan.counts)
    return [*found, ("the whole step", 1e6 * whole, least)]


def main() -> None:
    """Print a table a work."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--repeats", type=int, default=9)
    options = parser.parse_args()
    ceilings = roofline.measure()
    print(f"jax {version('jax')}; {ceilings.flops / 1e9:.0f} GFLOP/s, copies {ceilings.cache_bytes / 1e9:.0f} GB/s")
    for name in WORKS:
        print(f"\n{name} {bench.WORKS[name].title:<30} µs  at peak")
        for part, taken, least in parts(name, options.repeats, ceilings):
            print(f"  {part:<27} {taken:8.1f} {least:8.1f}")


if __name__ == "__main__":
    main()
