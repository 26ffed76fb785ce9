"""Data larger than all memory granted, through the command line: memory stays bounded and no row is lost.

`make slow` makes 1 GB; EPOCHAL_LARGE_GB=8 makes the size that docs/residency.md reports.
"""

import json
import os
import re
import subprocess
import sys

import numpy as np
import pytest

import epochal

GIGABYTES = float(os.environ.get("EPOCHAL_LARGE_GB", "1"))


def write_rows(path, rows: int) -> np.ndarray:
    """uint8 [rows, 784] on disk, ten overlapping classes; returns the labels."""
    y = (np.arange(rows) * 7919 % 10).astype(np.uint8)
    generator = np.random.default_rng(0)
    means, noise = generator.integers(60, 190, (10, 784)) // 4 + 96, generator.normal(0, 60, (10_000, 784))
    x = np.lib.format.open_memmap(path, "w+", np.uint8, (rows, 784))
    for begin in range(0, rows, 10_000):
        part = y[begin : begin + 10_000]
        x[begin : begin + len(part)] = np.clip(means[part] + np.roll(noise, begin // 10_000, 1)[: len(part)], 0, 255)
    return y


@pytest.mark.slow
@pytest.mark.parametrize("shuffle", ["full", "blocks"])
def test_rows_beyond_all_memory_granted_are_trained_on_and_counted_exactly(tmp_path, shuffle):
    granted = f"{GIGABYTES / 8:g}GB"
    y = write_rows(tmp_path / "x.npy", int(GIGABYTES * 1e9 / 784))
    np.save(tmp_path / "y.npy", y)
    words = [
        "train",
        "x.npy",
        "--labels-from",
        "y.npy",
        "--memory",
        granted,
        "--host-memory",
        granted,
        "--model",
        "logistic",
    ]
    words += [
        "--batch-size",
        "1000",
        "--epochs",
        "1",
        "--learning-rate",
        "0.0001",
        "--shuffle",
        shuffle,
        "--out",
        "run",
    ]
    # VmHWM is this program's own peak; ru_maxrss would count the process that started it, before it became another.
    code = "import sys, epochal.cli as c; code = c.main(); print(open('/proc/self/status').read(), file=sys.stderr)"
    code += "; sys.exit(code)"
    command = [sys.executable, "-c", code, *words, "--json", "--quiet"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    peak = 1024 * int(re.search(r"VmHWM:\s+(\d+) kB", done.stderr)[1])
    # What is granted, the program without rows (half a gigabyte, most of it libraries), and 60 bytes a row for orders,
    # labels and hashes.
    assert peak < 1.3 * GIGABYTES / 8 * 1e9 + 0.5e9 + 60 * len(y)
    told = json.loads(done.stdout)
    assert told["residency"]["kind"] == "chunked"

    fit = epochal.load_run(tmp_path / "run")
    data = epochal.load(tmp_path / "x.npy", labels_from=tmp_path / "y.npy", host_memory=granted)
    weights, bias = np.asarray(fit.params["W"]).T, np.asarray(fit.params["b"])
    for name, split in (("best_validation", data.valid), ("test", data.test)):
        wrong = close = 0
        for begin in range(0, len(split), 50_000):
            rows = np.arange(begin, min(begin + 50_000, len(split)))
            logits = split.x.gather(rows).astype(np.float32) @ weights + bias
            wrong += int((logits.argmax(1) != split.y[rows]).sum())
            top = np.sort(logits, 1)
            close += int((top[:, -1] - top[:, -2] < 1e-4 * np.abs(top).max()).sum())
        # Sums in another order may turn rows whose two best classes are equal but for rounding.
        assert abs(told[name]["wrong"] - wrong) <= close // 50 + 1
        assert told[name]["of"] == len(split)
