"""epochal and its peers on the same work, in turn, in one run: the figures of docs/benchmarks.md.

    python benchmarks/compare.py --work W1,W2,W3,W4 --rounds 2
    python benchmarks/compare.py --peers epochal_,torch_eager --work W1 --out page.md

Every peer is a process of its own in an environment of its own (environments.py). In a round each peer does a work
once, the order turning by one each round. Each process trains one epoch to warm up and then the epochs that are timed,
in all of which the peers do the same updates: rows, minibatch size, float32, plain SGD, a validation pass after each
epoch. Raw results go to benchmarks/results/DATE.json, from which page.py makes the page again.
"""

import argparse
import datetime
import json
import platform
import shlex
import statistics
import sys
import tempfile
from pathlib import Path
from typing import Any

import numpy as np

import epochal
import page
import processes
from epochal.reports import bench, roofline
from epochal.runs.versions import versions
from registry import PEERS, TASKS, Task

RESULTS = Path(__file__).parent / "results"


def write_data(kind: str, rows: int, path: Path) -> dict[str, Any]:
    """The rows of a task as .npz in their storage dtype; what there is to say of them."""
    data = epochal.load("digits") if kind == "digits" else bench.data(rows)
    names = ("train", "valid", "test")
    arrays = {f"{part}_{name}": a for name, s in zip(names, data, strict=True) for part, a in zip("xy", s, strict=True)}
    np.savez(path, **arrays)
    return {
        "source": data.source,
        "rows": {"train": len(data.train), "valid": len(data.valid)},
        "example_shape": list(data.example_shape),
        "classes": len(data.classes),
        "row_bytes": data.train.row_bytes,
        "divisor": data.divisor,
    }


def job_of(task: Task, data: dict[str, Any], path: Path, epochs: int, seed: int) -> dict[str, Any]:
    """What a peer is told; see peers/protocol.py."""
    job = {
        "data": str(path),
        "divisor": data["divisor"],
        "model": task.work.model.name,
        "hidden": 500,
        "batch_size": task.work.batch_size,
        "learning_rate": task.work.learning_rate,
        "epochs": epochs + (task.kind == "epochs"),
        "seed": seed,
    }
    return job if task.target is None else job | {"target": int(data["rows"]["valid"] * task.target / 100)}


def floor_of(task: Task, data: dict[str, Any], ceilings: roofline.Ceilings) -> float:
    """Seconds that an epoch takes at least; see `epochal.reports.roofline`."""
    shape, rows = tuple(data["example_shape"]), data["rows"]["train"]
    cost = roofline.cost(task.work.model, shape, data["classes"], rows, task.work.batch_size, data["row_bytes"])
    return cost.floor(ceilings)


def measure(name: str, peers: list[str], options: argparse.Namespace, place: processes.Place) -> dict[str, Any]:
    """All rounds of one work, with the ceilings measured in between."""
    task, path = TASKS[name], place.caches / f"{name}.npz"
    data = write_data(task.data, options.rows, path)
    if task.data == "mnist" and data["source"] != "mnist":
        return {"title": task.work.title, "skipped": f"needs MNIST, found through EPOCHAL_DATA; got {data['source']}"}
    taking_part = [peer for peer in peers if task.work.model.name not in PEERS[peer].cannot]
    ceilings, runs = roofline.measure(), []
    # Of whole processes the first has no cache yet, and is told apart.
    for number in range(options.rounds + (task.kind == "process")):
        turn = number % len(taking_part)
        for peer in taking_part[turn:] + taking_part[:turn]:
            job = job_of(task, data, path, options.epochs or task.epochs, number)
            run = {"peer": peer, "round": number} | processes.run(peer, job, place)
            runs.append(run)
            print(page.line_of(name, run), file=sys.stderr, flush=True)
        ceilings = ceilings.best(roofline.measure())
        if number == 0 and task.kind != "process":
            taking_part = keep_up(taking_part, runs, options.slow)
    return {
        "title": task.work.title,
        "kind": task.kind,
        "data": data,
        "ceilings": vars(ceilings),
        "floor_seconds": floor_of(task, data, ceilings),
        "runs": runs,
    }


def keep_up(peers: list[str], runs: list[dict[str, Any]], slow: float) -> list[str]:
    """The peers of later rounds: not those that failed, or took more than `slow` times as long as the fastest."""
    pace = {
        run["peer"]: statistics.median(epoch["train"] for epoch in run["epochs"][1:] or run["epochs"])
        for run in runs
        if "error" not in run
    }
    least = min(pace.values(), default=0.0)
    stay = [peer for peer in peers if peer in pace and pace[peer] <= slow * least]
    return [peer for peer in peers if peer in stay or PEERS[peer].group == "epochal"]


def chosen(text: str | None, known: dict[str, Any], what: str) -> list[str]:
    """Names joined by commas; exits where there is no such name."""
    names = list(known) if text is None else [name.strip() for name in text.split(",")]
    for name in names:
        if name not in known:
            sys.exit(f"--{what}: must be of {', '.join(known)}, joined by commas, got {name!r}")
    return names


def parsed(words: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--work", help="W1 to W6, joined by commas (default: W1,W2,W3,W4)", default="W1,W2,W3,W4")
    parser.add_argument("--peers", help=f"of {', '.join(PEERS)} (default: all)")
    parser.add_argument("--rounds", type=int, default=2, help="how often each peer does each work")
    parser.add_argument("--epochs", type=int, help="epochs timed in a process (default: by work)")
    parser.add_argument("--rows", type=int, default=bench.ROWS, help="train rows")
    parser.add_argument("--slow", type=float, default=3.0, help="slower by this than the fastest: round 1 alone")
    parser.add_argument("--here", action="store_true", help="all peers in this Python, not in their environments")
    parser.add_argument("--results", type=Path, default=RESULTS, help="folder of the raw results")
    parser.add_argument("--out", type=Path, default=processes.ROOT / "docs" / "benchmarks.md", help="the page")
    return parser.parse_args(words)


def main(words: list[str] | None = None) -> None:
    options = parsed(words)
    works, peers = chosen(options.work, TASKS, "work"), chosen(options.peers, PEERS, "peers")
    if not options.here:
        for peer in peers:
            processes.python_of(peer)
    began = datetime.datetime.now(datetime.UTC)
    told: dict[str, Any] = {
        "date": began.isoformat(timespec="seconds"),
        "command": "python benchmarks/compare.py " + shlex.join(sys.argv[1:] if words is None else words),
        "machine": f"{page.processor()}, {platform.platform()}",
        "versions": versions(),
        "works": {},
    }
    options.results.mkdir(parents=True, exist_ok=True)
    path = options.results / f"{began:%Y-%m-%d-%H%M}.json"
    with tempfile.TemporaryDirectory() as folder:
        for name in works:
            told["works"][name] = measure(name, peers, options, processes.Place(Path(folder), options.here))
            path.write_text(json.dumps(told, indent=1) + "\n")  # after each work, so that none is lost to the next
    page.write([path], options.out)
    print(f"{path}\n{options.out}")


if __name__ == "__main__":
    main()
