"""Two revisions of epochal on the same machine: do they give the same bits, and do they take the same time?

    python benchmarks/revisions.py c8ccee0 HEAD

Each revision is checked out beside the other, and only its command is used. Bits: the parameters of three models, rows
resident and in chunks, of a selection of 12 recipes, and of a run that is killed and resumed. Times: the works of
`epochal bench` and `epochal --help`, one revision after the other, again and again; the ratio is that of the medians.
Ends with 1 where a digest differs.
"""

import argparse
import json
import os
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

TRAININGS = {
    "logistic": "--model logistic --batch-size 600 --learning-rate 0.13 --epochs 10",
    "mlp, momentum": "--model mlp --hidden 100 --optimizer momentum --epochs 3",
    "lenet, adam": "--model lenet --optimizer adam --batch-size 100 --epochs 1",
}
RATES = "0.003,0.005,0.01,0.02,0.03,0.05,0.07,0.1,0.15,0.2,0.25,0.3"
WORKS = ("W1", "W2", "W3")


class Revision:
    """One revision, checked out into a folder of its own."""

    def __init__(self, name: str, place: Path, data: str):
        self.name, self.place, self.data, self.runs = name, place / name.replace("/", "-"), data, 0
        subprocess.run(
            ["git", "worktree", "add", "--detach", "--force", self.place, name], check=True, capture_output=True
        )
        self.cwd = place / f"{self.place.name}-runs"
        self.cwd.mkdir()

    def close(self) -> None:
        subprocess.run(["git", "worktree", "remove", "--force", self.place], check=False)

    def start(self, *words: str) -> subprocess.Popen[str]:
        """The command with these words, in the folder of the revision's runs."""
        environment = os.environ | {"PYTHONPATH": str(self.place / "src"), "XDG_DATA_HOME": str(self.cwd / "home")}
        command = [sys.executable, "-m", "epochal", *words]
        return subprocess.Popen(command, cwd=self.cwd, env=environment, text=True, stdout=-1, stderr=-1)

    def json(self, *words: str) -> dict[str, Any]:
        """What the command prints."""
        process = self.start(*words, "--json")
        out, error = process.communicate()
        if process.returncode:
            raise SystemExit(f"{self.name}: epochal {' '.join(words)}: {error}")
        return json.loads(out)

    def train(self, options: str, *more: str) -> str:
        """The digest of the best parameters of a training."""
        self.runs += 1
        return self.json("train", self.data, *options.split(), "--quiet", "--out", f"{self.runs}", *more)[
            "parameters_sha256"
        ]

    def selection(self) -> str:
        """What a selection of 12 recipes came to: every candidate's errors, and the digest of the chosen one."""
        words = f"select {self.data} --hidden 50 --epochs 2 --batch-size 100 --learning-rate {RATES} --quiet --out s"
        found = self.json(*words.split())
        errors = sorted((candidate["number"], candidate["wrong"]) for candidate in found["candidates"])
        return f"{self.json('evaluate', 's/run')['parameters_sha256']} {errors}"

    def killed(self) -> str:
        """The digest of a run that is killed at its first checkpoint, and resumed."""
        options = f"{TRAININGS['mlp, momentum']} --checkpoint-seconds 0 --out killed --quiet"
        process = self.start("train", self.data, *options.split())
        while process.poll() is None and not list(self.cwd.glob("killed/checkpoint-*")):
            time.sleep(0.01)
        process.send_signal(signal.SIGKILL)
        process.communicate()
        return self.json("resume", "killed", "--quiet")["parameters_sha256"]


def bits(old: Revision, new: Revision) -> bool:
    """Print both digests of everything; whether all are equal."""
    cases: dict[str, Callable[[Revision], str]] = {}
    for name, options in TRAININGS.items():
        cases[f"{name}, resident"] = lambda revision, options=options: revision.train(options)
        cases[f"{name}, chunked"] = lambda revision, options=options: revision.train(options, "--memory", "60MB")
    cases |= {"selection of 12": Revision.selection, "killed and resumed": Revision.killed}
    equal = True
    for name, case in cases.items():
        found = case(old), case(new)
        equal &= found[0] == found[1]
        print(
            f"{name:24} {found[0][:12]} {found[1][:12]} {'equal' if found[0] == found[1] else 'DIFFERENT'}", flush=True
        )
    return equal


def times(revisions: tuple[Revision, Revision], repeats: int) -> None:
    """Print the median seconds of both, the ratio of new to old, and the spread of each."""
    seconds: dict[str, tuple[list[float], list[float]]] = {name: ([], []) for name in (*WORKS, "--help")}
    for _ in range(repeats):
        for at, revision in enumerate(revisions):
            begun = time.perf_counter()
            revision.start("--help").communicate()
            seconds["--help"][at].append(time.perf_counter() - begun)
            found = revision.json("bench", "--work", ",".join(WORKS), "--repeats", "1", "--epochs", "2")
            for name in WORKS:
                seconds[name][at].append(found["works"][name]["epoch_seconds"])
    for name, pair in seconds.items():
        old, new = map(statistics.median, pair)
        spread = " and ".join(f"{min(each):.3f} to {max(each):.3f}" for each in pair)
        print(f"{name:8} {old:.3f} s, {new:.3f} s: {new / old:.3f} (of {repeats}; {spread})", flush=True)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("old")
    parser.add_argument("new")
    parser.add_argument("--data", default="mnist", help="as for `epochal train`")
    parser.add_argument("--repeats", type=int, default=5, help="of the times; 0 compares the bits alone")
    options = parser.parse_args()
    data = str(Path(options.data).resolve()) if Path(options.data).exists() else options.data
    with tempfile.TemporaryDirectory() as place:
        revisions = Revision(options.old, Path(place), data), Revision(options.new, Path(place), data)
        try:
            equal = bits(*revisions)
            if options.repeats:
                times(revisions, options.repeats)
        finally:
            for revision in revisions:
                revision.close()
    return 0 if equal else 1


if __name__ == "__main__":
    sys.exit(main())
