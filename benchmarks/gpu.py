"""W1 to W4 on one GPU: epochal against PyTorch eager, torch.compile and a step in a CUDA graph.

    python benchmarks/gpu.py [--torch-python PYTHON] [--work W1,W2] [--epochs 5] [--rounds 3] [--tf32]

Needs JAX for the GPU here, and PyTorch for the GPU here or in the Python named. Products are float32 in full for all,
or TF32 for all with --tf32. Prints seconds an epoch and epochal's ratio to each, and writes
benchmarks/results/gpu-DATE.json. Without a GPU it says so and ends with 2; `--device cpu --tiny` tries the way.
"""

import argparse
import datetime
import json
import os
import shlex
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

from compare import chosen, floor_of, job_of, write_data
from epochal.reports import roofline
from registry import PEERS_FOLDER, TASKS

RESULTS = Path(__file__).parent / "results"
SOURCE = Path(__file__).parent.parent / "src"
WAYS = {"epochal": None, "torch eager": "eager", "torch.compile": "compile", "CUDA graph": "graph"}
STEADY = ("W1", "W2", "W3", "W4")


def child(words: list[Any], options: argparse.Namespace) -> dict[str, Any]:
    """The JSON line that a process prints, or its `error`. This process itself takes none of the GPU's memory."""
    environment = os.environ | {"PYTHONPATH": str(SOURCE)}
    if options.device == "cpu":
        environment["JAX_PLATFORMS"] = "cpu"
    if not options.tf32:
        environment["JAX_DEFAULT_MATMUL_PRECISION"] = "highest"
    done = subprocess.run(list(map(str, words)), capture_output=True, text=True, check=False, env=environment)
    if done.returncode or not done.stdout.strip():
        return {"error": "\n".join(done.stderr.strip().splitlines()[-5:]) or f"exit code {done.returncode}"}
    return json.loads(done.stdout.strip().splitlines()[-1])


def device(options: argparse.Namespace) -> tuple[str, roofline.Ceilings]:
    """The device's name and its ceilings. Exits with 2 where it is no GPU."""
    code = (
        "import json, jax\nfrom epochal.reports import roofline\nname = jax.devices()[0].device_kind\n"
        "gpu = jax.default_backend() in ('gpu', 'cuda', 'rocm')\n"
        f"wanted = gpu or {options.device == 'cpu'}\n"
        f"ceilings = vars(roofline.measure({0.02 if options.tiny else 0.5})) if wanted else None\n"
        "print(json.dumps({'name': name, 'gpu': gpu, 'ceilings': ceilings}))"
    )
    told = child([sys.executable, "-c", code], options)
    if "error" in told:
        sys.exit(told["error"])
    if options.device == "cuda" and not told["gpu"]:
        print(f"no GPU: JAX sees {told['name']} alone; install jax[cuda13] on a machine with one", file=sys.stderr)
        sys.exit(2)
    return told["name"], roofline.Ceilings(**told["ceilings"])


def words_of(way: str, job: dict[str, Any], options: argparse.Namespace) -> list[Any]:
    """The command of a process that does `job` in the way `way`."""
    if WAYS[way] is None:
        return [sys.executable, PEERS_FOLDER / "epochal_.py", json.dumps(job)]
    words = [options.torch_python, PEERS_FOLDER / "torch_gpu.py", json.dumps(job), WAYS[way], options.device]
    return [*words, "tf32"] if options.tf32 else words


def measure(name: str, ways: list[str], options: argparse.Namespace, folder: Path) -> dict[str, Any]:
    """All rounds of a work: samples of seconds an epoch, their medians, and what failed."""
    task, path = TASKS[name], folder / f"{name}.npz"
    data = write_data(task.data, 1000 if options.tiny else 50_000, path)
    samples: dict[str, list[float]] = {}
    told: dict[str, Any] = {"title": task.work.title, "data": data, "wrong": {}, "errors": {}, "samples": samples}
    for number in range(options.rounds):
        for way in ways:
            run = child(words_of(way, job_of(task, data, path, options.epochs, number), options), options)
            if "error" in run:
                told["errors"][way] = run["error"]
                continue
            samples.setdefault(way, []).extend(epoch["train"] for epoch in run["epochs"][1:])
            told["wrong"][way] = run["epochs"][-1]["wrong"]
    return told | {"seconds": {way: statistics.median(seconds) for way, seconds in samples.items()}}


def report(name: str, work: dict[str, Any]) -> None:
    print(f"\n{name} {work['title']}: floor {work['floor_seconds']:.5f} s")
    own = work["seconds"].get("epochal")
    for way, seconds in work["seconds"].items():
        ratio = f"epochal / this {own / seconds:6.2f}" if own else ""
        print(f"  {way:<16}{seconds:10.5f} s/epoch  {seconds / work['floor_seconds']:8.2f} × floor  {ratio}  "
              f"{work['wrong'][way]:,} wrong")  # fmt: skip
    for way, error in work["errors"].items():
        print(f"  {way:<16}failed: {error.splitlines()[-1]}")


def main(words: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--work", help="of W1 to W4 (default: all)")
    parser.add_argument("--epochs", type=int, default=5, help="epochs timed in a process, after one to warm up")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--device", choices=("cuda", "cpu"), default="cuda")
    parser.add_argument("--tiny", action="store_true", help="1,000 rows")
    parser.add_argument("--tf32", action="store_true", help="TF32 products for all")
    parser.add_argument("--torch-python", default=sys.executable, help="a Python that has PyTorch (default: this one)")
    parser.add_argument("--results", type=Path, default=RESULTS, help="folder of the raw results")
    options = parser.parse_args(words)
    works = chosen(options.work, {name: TASKS[name] for name in STEADY}, "work")
    kind, ceilings = device(options)
    ways = [way for way in WAYS if options.device == "cuda" or way != "CUDA graph"]
    now = datetime.datetime.now(datetime.UTC)
    told: dict[str, Any] = {
        "date": now.isoformat(timespec="seconds"),
        "command": "python benchmarks/gpu.py " + shlex.join(sys.argv[1:] if words is None else words),
        "device": kind,
        "ceilings": vars(ceilings),
        "ways": ways,
        "works": {},
    }
    print(f"{kind}: products {ceilings.flops / 1e12:.2f} TFLOP/s, copies {ceilings.memory_bytes / 1e9:.0f} GB/s")
    with tempfile.TemporaryDirectory() as folder:
        for name in works:
            work = measure(name, ways, options, Path(folder))
            work["floor_seconds"] = floor_of(TASKS[name], work["data"], ceilings)
            told["works"][name] = work
            report(name, work)
    options.results.mkdir(parents=True, exist_ok=True)
    # A try on a CPU must not pass for a GPU's results.
    path = options.results / f"{'gpu' if options.device == 'cuda' else 'try'}-{now:%Y-%m-%d-%H%M}.json"
    path.write_text(json.dumps(told, indent=1) + "\n")
    print(f"\n{path}")


if __name__ == "__main__":
    main()
