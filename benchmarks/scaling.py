"""Cost in rows and steps: logistic regression on 10³ to 10⁷ rows of 32 features, each point a process of its own.

    python benchmarks/scaling.py [--most 10000000] [--epochs 5]

Writes benchmarks/results/scaling-DATE.json, which page.py puts into docs/benchmarks.md. Rows are uint8 in a file that
epochal reads. The memory besides the data is the peak of the process less the bytes of all rows and labels.
"""

import argparse
import datetime
import json
import platform
import shlex
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np

import epochal
from epochal.system.memory import peak_bytes
from page import processor
from residency import in_chunks

RESULTS = Path(__file__).parent / "results"
FEATURES, FEW = 32, 1000
SERIES = {"resident, batch 1000": (1000, 1), "resident, batch 100": (100, 1), "8 chunks, batch 1000": (1000, 8)}


def write_rows(path: Path, rows: int) -> None:
    """Rows of ten classes; a few for validation and test."""
    generator = np.random.default_rng(0)
    patterns = generator.integers(0, 100, (10, FEATURES), np.uint8)
    arrays = {}
    for name, count in (("train", rows), ("valid", FEW), ("test", FEW)):
        y = (np.arange(count) % 10).astype(np.int32)
        noise = generator.integers(0, 156, (count, FEATURES), np.uint8)
        arrays |= {f"x_{name}": patterns[y] + noise, f"y_{name}": y}
    np.savez(path, **arrays)


def point(path: str, batch_size: int, chunks: int, epochs: int) -> dict[str, Any]:
    """One point, measured in this process: the median epoch after the first, order of the rows included."""
    data = epochal.load(path)
    recipe = epochal.Recipe(batch_size=batch_size, learning_rate=0.01)
    training = epochal.train(epochal.logistic(), data, recipe)
    if chunks > 1:
        training = in_chunks(training, chunks)
    seconds = []
    for number in range(1 + epochs):
        begun = time.perf_counter()
        training.loop.state, _ = training.loop.program.run_steps(
            training.loop.state, training.loop.placed, training.loop.plan, number, 0, training.loop.plan.steps
        )
        seconds.append(time.perf_counter() - begun)
    training.loop.placed.close()
    held = sum(len(split) * split.row_bytes for split in data)
    return {
        "rows": len(data.train),
        "steps": training.loop.plan.steps,
        "epoch_seconds": statistics.median(seconds[1:]),
        "data_bytes": held,
        "own_bytes": peak_bytes() - held,
    }


def measured(path: Path, batch_size: int, chunks: int, epochs: int) -> dict[str, Any]:
    """The same in a process of its own, so that the peak of memory is that of this point."""
    words = [sys.executable, __file__, "--point", json.dumps([str(path), batch_size, chunks, epochs])]
    done = subprocess.run(words, stdout=subprocess.PIPE, text=True, check=True)
    return json.loads(done.stdout.splitlines()[-1])


def main(words: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--most", type=int, default=10**7, help="rows at most")
    parser.add_argument("--epochs", type=int, default=5, help="epochs timed a point")
    parser.add_argument("--results", type=Path, default=RESULTS, help="folder of the raw results")
    parser.add_argument("--point", help=argparse.SUPPRESS)
    options = parser.parse_args(words)
    if options.point:
        print(json.dumps(point(*json.loads(options.point))))
        return
    sizes = [10**power for power in range(3, 8) if 10**power <= options.most]
    series: dict[str, list[dict[str, Any]]] = {name: [] for name in SERIES}
    with tempfile.TemporaryDirectory() as folder:
        for rows in sizes:
            path = Path(folder) / f"{rows}.npz"
            write_rows(path, rows)
            for name, (batch_size, chunks) in SERIES.items():
                if rows // batch_size >= chunks:
                    found = measured(path, batch_size, chunks, options.epochs)
                    series[name].append(found)
                    print(f"{name:<24}{rows:>12,} rows{1e9 * found['epoch_seconds'] / rows:>10,.0f} ns/row"
                          f"{found['own_bytes'] / 1e6:>10,.0f} MB besides data", file=sys.stderr)  # fmt: skip
            path.unlink()
    now = datetime.datetime.now(datetime.UTC)
    told = {
        "date": now.isoformat(timespec="seconds"),
        "command": shlex.join(["python", "benchmarks/scaling.py", *(sys.argv[1:] if words is None else words)]),
        "machine": f"{processor()}, {platform.platform()}",
        "what": f"Logistic regression on {FEATURES} uint8 features and 10 classes.",
        "series": {name: points for name, points in series.items() if points},
    }
    options.results.mkdir(parents=True, exist_ok=True)
    path = options.results / f"scaling-{now:%Y-%m-%d-%H%M}.json"
    path.write_text(json.dumps(told, indent=1) + "\n")
    print(path)


if __name__ == "__main__":
    main()
