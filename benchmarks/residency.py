"""What chunks cost against resident rows for the same work, whether transfer hides behind work, and cost a row.

    python benchmarks/residency.py [--json FILE]

Every figure is the median of repeats that are interleaved with those of the others, after one epoch to warm up.
"""

import argparse
import json
import os
import platform
import statistics
import time
from importlib.metadata import version
from pathlib import Path

import numpy as np

import epochal
from epochal.device.residency import place
from epochal.system.prefetch import BUFFERS
from epochal.training.training import Training

REPEATS = 5


def data_of(rows: int, features: int = 784) -> epochal.Dataset:
    generator = np.random.default_rng(0)
    x = generator.integers(0, 256, (rows, features), dtype=np.uint8)
    y = np.arange(rows) % 10
    few = (x[:100], y[:100])
    return epochal.load({"train": (x, y), "valid": few, "test": (255 - x[:100], y[:100])}, divisor=255)


def epoch_seconds(training: Training, number: int) -> float:
    """One epoch without validation, in one stretch, as the loop would run it."""
    if not hasattr(training, "state"):
        training.loop.state = training.loop.program.start(training.loop.plan)
    begun, steps = time.perf_counter(), training.loop.plan.steps
    training.loop.state, _ = training.loop.program.run_steps(
        training.loop.state, training.loop.placed, training.loop.plan, number, 0, steps
    )
    return time.perf_counter() - begun


def compare(model: epochal.Model, recipe: epochal.Recipe, data: epochal.Dataset) -> dict[str, float]:
    """Median seconds an epoch, resident and in 2, 8 and 32 chunks."""
    trainings = {"resident": epochal.train(model, data, recipe)} | {
        f"{chunks} chunks": in_chunks(epochal.train(model, data, recipe), chunks) for chunks in (2, 8, 32)
    }
    seconds: dict[str, list[float]] = {name: [] for name in trainings}
    for repeat in range(REPEATS + 1):
        for name, training in trainings.items():
            seconds[name].append(epoch_seconds(training, repeat))
            training.loop.placed.close()  # so that nothing is gathered while another is timed
    return {name: statistics.median(values[1:]) for name, values in seconds.items()}


def in_chunks(training: Training, chunks: int) -> Training:
    """The same run with its train rows brought in so many chunks."""
    steps = -(-training.loop.plan.steps // chunks)
    training.loop.placed = place(training.data.train, training.recipe.dtype, 0, training.loop.plan, steps)
    return training


def overlap(data: epochal.Dataset) -> dict[str, float]:
    """Seconds to gather all chunks, to train on resident rows, and to do both at once, chunk by chunk."""
    recipe = epochal.Recipe(batch_size=500)
    resident = epochal.train(epochal.mlp(500), data, recipe)
    epoch_seconds(resident, 0)
    work = statistics.median(epoch_seconds(resident, n) for n in range(1, 4))
    streamed = in_chunks(epochal.train(epochal.mlp(500), data, recipe), 8)
    epoch_seconds(streamed, 0)
    both = statistics.median(epoch_seconds(streamed, n) for n in range(1, 4))
    streamed.loop.placed.close()
    begun = time.perf_counter()
    for chunk in range(-(-streamed.loop.plan.steps // streamed.loop.placed.chunk_steps)):
        streamed.loop.placed._chunk((0, chunk))
    return {"gather": time.perf_counter() - begun, "train": work, "both": both}


def per_row() -> dict[int, float]:
    """Nanoseconds a row of an epoch of logistic regression in 8 chunks, from 10 thousand to 10 million rows."""
    found = {}
    for rows in (10_000, 100_000, 1_000_000, 10_000_000):
        data = data_of(rows, 32)
        recipe = epochal.Recipe(batch_size=1000)
        training = in_chunks(epochal.train(epochal.logistic(), data, recipe), 8)
        epoch_seconds(training, 0)
        found[rows] = 1e9 / rows * min(epoch_seconds(training, n) for n in range(1, 4))
        training.loop.placed.close()
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--json", help="write the figures to this file")
    arguments = parser.parse_args()
    told: dict[str, object] = {
        "versions": {name: version(name) for name in ("jax", "numpy", "epochal")},
        "machine": f"{platform.machine()}, {os.cpu_count()} cores, Python {platform.python_version()}",
        "buffers": BUFFERS,
    }
    data = data_of(50_000)
    works = {
        "logistic, batch 600": (epochal.logistic(), epochal.Recipe(batch_size=600)),
        "mlp 500, batch 20": (epochal.mlp(500), epochal.Recipe(batch_size=20)),
        "mlp 500, batch 500": (epochal.mlp(500), epochal.Recipe(batch_size=500)),
    }
    print(f"{told['machine']}, jax {version('jax')}; 50,000 rows of 784 uint8, seconds an epoch")
    for name, (model, recipe) in works.items():
        told[name] = found = compare(model, recipe, data)
        base = found["resident"]
        print(f"{name:<22}" + "".join(f"{key}: {s:.4f} ({s / base:.2f})   " for key, s in found.items()))
    told["overlap"] = both = overlap(data)
    print(f"mlp 500, batch 500, chunked: gathering alone {both['gather']:.3f} s, training alone {both['train']:.3f} s, "
          f"together {both['both']:.3f} s")  # fmt: skip
    told["per_row"] = rows = per_row()
    print(
        "logistic, 32 features, in 8 chunks, nanoseconds a row: "
        + ", ".join(f"{n:,} rows {s:.0f}" for n, s in rows.items())
    )
    if arguments.json:
        Path(arguments.json).write_text(json.dumps(told, indent=2) + "\n")


if __name__ == "__main__":
    main()
