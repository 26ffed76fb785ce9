"""Peak memory of training on tables and images that are larger than the memory granted, against a small table.

    python benchmarks/larger_than_memory.py [--grant 200MB] [--folder FOLDER] [--only csv,parquet,images] [--json FILE]

Makes the data in FOLDER (about 4 GB, and 6 GB more for what is kept of them; all is removed at the end), and trains
logistic regression for one epoch, twice: the first run converts, the second finds what was kept.
"""

import argparse
import json
import os
import re
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np

FEATURES = 50
PARQUET_ROWS = 5_000_000
CSV_ROWS = 1_500_000
IMAGES = 90_000
SIDE = 64

# VmHWM is the program's own peak; a thread looks at its children, which end before they could be asked.
RUN = """
import re, sys, epochal.cli as cli
code = cli.main()
print("peak", re.search(r"VmHWM:\\s+(\\d+)", open("/proc/self/status").read())[1], file=sys.stderr)
sys.exit(code)
"""


def features(rows: int, columns: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    generator = np.random.default_rng(seed)
    y = generator.integers(0, 3, rows)
    return generator.normal(size=(rows, columns)) + y[:, None] / 2, y


def make_small(path: Path) -> list[str]:
    make_text(path, 1_000)
    return ["--label", "y"]


def make_text(path: Path, rows: int) -> None:
    with path.open("w") as file:
        file.write(",".join([*(f"c{i}" for i in range(20)), "y"]) + "\n")
        for seed, begin in enumerate(range(0, rows, 10_000)):
            x, y = features(min(10_000, rows - begin), 20, seed)
            lines = (
                "%.6f," * 20 % tuple(row) + "pqr"[label] for row, label in zip(x.tolist(), y.tolist(), strict=True)
            )
            file.write("\n".join(lines) + "\n")


def make_csv(path: Path) -> list[str]:
    make_text(path, CSV_ROWS)
    return ["--label", "y"]


def make_parquet(path: Path) -> list[str]:
    import pyarrow as pa
    from pyarrow import parquet

    names = [f"c{i}" for i in range(FEATURES)]
    schema = pa.schema([*((name, pa.float64()) for name in names), ("y", pa.int64())])
    with parquet.ParquetWriter(path, schema) as file:
        for seed in range(PARQUET_ROWS // 100_000):
            x, y = features(100_000, FEATURES, seed)
            file.write_table(pa.table([*(pa.array(column) for column in x.T), pa.array(y)], schema=schema))
    return ["--label", "y"]


def make_images(path: Path) -> list[str]:
    from PIL import Image

    for label in "abc":
        (path / label).mkdir(parents=True)
    generator = np.random.default_rng(0)
    for i in range(IMAGES):
        flat = np.full((SIDE, SIDE, 3), generator.integers(0, 256, 3), np.uint8)
        Image.fromarray(flat).save(path / "abc"[i % 3] / f"{i:06}.png", compress_level=1)
    return []


MAKERS: dict[str, tuple[str, Callable[[Path], list[str]]]] = {
    "small": ("small.csv", make_small),
    "csv": ("large.csv", make_csv),
    "parquet": ("large.parquet", make_parquet),
    "images": ("pictures", make_images),
}


def peaks(command: list[str], environment: dict[str, str]) -> dict[str, float]:
    """Train; peak bytes of the program, of its children together, and of all at one time."""
    begun = time.perf_counter()
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=environment)
    most = {"children": 0, "together": 0}

    def watch() -> None:
        while process.poll() is None:
            own, children = anonymous(process.pid), sum(map(anonymous, children_of(process.pid)))
            most["children"] = max(most["children"], children)
            most["together"] = max(most["together"], own + children)
            time.sleep(0.02)

    thread = threading.Thread(target=watch)
    thread.start()
    out, err = process.communicate()
    thread.join()
    if process.returncode:
        sys.exit(f"{command}: {err}")
    told = json.loads(out)
    found = re.search(r"peak (\d+)", err)
    assert found
    own = int(found[1]) * 1024
    return {
        "own": own,
        **most,
        "seconds": time.perf_counter() - begun,
        "load": told["seconds"]["load"],
        "test": told["test"],
    }


def children_of(process: int) -> list[int]:
    try:
        tasks = Path(f"/proc/{process}/task").iterdir()
        found = [int(pid) for task in tasks for pid in (task / "children").read_text().split()]
        return [pid for pid in found if command_of(pid) != command_of(process)]  # else about to become another program
    except OSError:
        return []


def command_of(process: int) -> bytes:
    try:
        return Path(f"/proc/{process}/cmdline").read_bytes()
    except OSError:
        return b""


def anonymous(process: int) -> int:
    """Resident bytes, without pages of files, which the system drops when it needs them."""
    try:
        status = Path(f"/proc/{process}/status").read_text()
    except OSError:
        return 0
    return sum(1024 * int(kb) for kb in re.findall(r"Rss(?:Anon|Shmem):\s+(\d+)", status))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--grant", default="200MB")
    parser.add_argument("--folder", type=Path)
    parser.add_argument("--only", default="csv,parquet,images")
    parser.add_argument("--json", type=Path)
    asked = parser.parse_args()
    results = {}
    with tempfile.TemporaryDirectory(dir=asked.folder) as folder:
        environment = os.environ | {"EPOCHAL_CACHE": str(Path(folder) / "cache")}
        for name in ["small", *asked.only.split(",")]:
            file, make = MAKERS[name]
            path = Path(folder) / file
            options = make(path)
            size = sum(p.stat().st_size for p in ([path] if path.is_file() else path.rglob("*.png")))
            for turn in ("first", "second"):
                words = ["train", str(path), *options, "--model", "logistic", "--epochs", "1", "--batch-size", "500"]
                words += [
                    "--memory",
                    asked.grant,
                    "--host-memory",
                    asked.grant,
                    "--shuffle",
                    "blocks",
                    "--quiet",
                    "--json",
                ]
                words += ["--out", str(Path(folder) / f"run-{name}-{turn}")]
                found = peaks([sys.executable, "-c", RUN, *words], environment)
                results[f"{name} {turn}"] = found | {"file": size}
                print(
                    f"{name:<8} {turn:<7} {size / 1e6:6.0f} MB on disk: peak {found['own'] / 1e6:5.0f} MB, children "
                    f"{found['children'] / 1e6:4.0f} MB, at one time without file pages {found['together'] / 1e6:5.0f} "
                    f"MB; {found['load']:.1f} s to load of {found['seconds']:.1f} s",
                    flush=True,
                )
    if asked.json:
        asked.json.write_text(json.dumps(results, indent=1))


if __name__ == "__main__":
    main()
