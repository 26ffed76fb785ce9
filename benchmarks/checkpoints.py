"""What keeping a run costs: the same training with and without a run folder, interleaved.

    python benchmarks/checkpoints.py

Prints the median of the seconds that the whole loop took, for an MLP on rows of MNIST's shape.
"""

import os
import statistics
import tempfile
import time
from importlib.metadata import version
from pathlib import Path

import numpy as np

import epochal
from epochal.runs.writer import CheckpointOptions, RunWriter

REPEATS = 5


def main() -> None:
    generator = np.random.default_rng(0)
    y = np.arange(60_000) % 10
    x = np.clip(generator.normal(128, 60, (60_000, 784)) + 3 * y[:, None], 0, 255).astype(np.uint8)
    data = epochal.load((x, y), divisor=255)
    recipe = epochal.Recipe(batch_size=500, epochs=20, learning_rate=0.05)
    seconds: dict[str, list[float]] = {"without": [], "with": []}
    for _ in range(REPEATS + 1):
        for name, told in seconds.items():
            training = epochal.train(epochal.mlp(500), data, recipe)
            with tempfile.TemporaryDirectory() as place:
                begun = time.perf_counter()
                if name == "with":
                    folder = RunWriter.create(Path(place) / "run", training, CheckpointOptions())
                    for _ in folder.progress():
                        pass
                else:
                    for _ in training.progress():
                        pass
                told.append(time.perf_counter() - begun)
    without, kept = (statistics.median(values[1:]) for values in seconds.values())
    work = f"mlp 784-500-10, batch 500, 20 epochs of {len(data.train):,} rows"
    print(f"{os.cpu_count()} cores, jax {version('jax')}: {work}")
    print(f"without a run folder {without:.2f} s, with one {kept:.2f} s ({kept / without - 1:+.1%})")


if __name__ == "__main__":
    main()
