"""What commands say: text for people, or the contract's JSON."""

import json
import shlex
import sys
from collections.abc import Sequence
from contextlib import closing, suppress
from typing import TYPE_CHECKING, Any

from epochal.cli.streams import OutputError, escaped
from epochal.errors import DataError, DivergedError
from epochal.system.signals import Interrupted, Signals
from epochal.training.score import Score

if TYPE_CHECKING:
    from pathlib import Path

    from epochal.data.dataset import Dataset
    from epochal.device.residency import Residency
    from epochal.runs.writer import RunWriter
    from epochal.training.fitted import Fit


class Printer:
    """Prints lines on standard error, unless it is quiet."""

    def __init__(self, *, quiet: bool):
        self.quiet = quiet

    def __call__(self, line: str) -> None:
        if not self.quiet:
            print(line, file=sys.stderr)


def say(line: str) -> None:
    """Print a line on standard error, control characters and line ends escaped."""
    print(escaped(line, lines=False), file=sys.stderr)


def describe_data(data: "Dataset") -> str:
    """One line for the data, and one for each note."""
    shape = "×".join(map(str, data.example_shape))
    rows = ", ".join(f"{len(split):,} {name}" for name, split in zip(("train", "valid", "test"), data, strict=True))
    lines = [f"{data.source}: {rows} rows of {shape} {data.train.x.dtype}, {len(data.classes)} classes"]
    return "\n".join(escaped(line, lines=False) for line in lines + [f"note: {note}" for note in data.notes])


def describe_score(split: str, score: Score) -> str:
    """`test   719 / 9,600 (7.49 %), 95 % interval 6.98–8.03 %`."""
    low, high = score.interval95
    return f"{split:<10} {score} wrong, 95 % interval {low:.2f}–{high:.2f} %"


def finish(
    folder: "RunWriter",
    signals: Signals,
    seconds: dict[str, float],
    *,
    data: str,
    log: Sequence[str],
    as_json: bool,
    quiet: bool,
) -> int:
    """Run the training of `folder` to its end, score the test split, say the outcome; returns the exit code."""
    from epochal.cli.progress import TrainingLine, watch
    from epochal.runs.loggers import Log
    from epochal.runs.testing import open_once
    from epochal.training import ledger

    training, path = folder.training, folder.path
    # Whatever happens on the way, the state is saved before the folder is let go of.
    with folder, Log(path, training, log) as told, closing(folder.progress()) as progress:
        try:
            watch(told.follow(progress), TrainingLine(training), quiet=quiet)
            with signals.raising():
                fit = training.fit(path)
                test, before = open_once(fit) if folder.options.open_test else (None, 0)
            if test is not None:
                told.test(test)
        except DivergedError as error:
            kept = f"the best before it, {training.best.valid} wrong, is kept in {path}" if training.best else ""
            raise DivergedError(f"{error}\n{kept}".rstrip()) from None
        except DataError as error:
            raise DataError(f"{error}\nonce the data are back, go on with: {resume_line(path)}") from None
        except Interrupted:
            return _interrupted(folder, signals, seconds, as_json=as_json)
    signals.unwatch(f"interrupted after all was saved; the outcome: epochal evaluate {shlex.quote(str(path))}")
    report(fit, training.residency, test, seconds, as_json=as_json)
    if not as_json:
        if test:
            print(f"The test split of these data was {ledger.in_words(before)}.")
        held_out = "test" if test else "valid"
        print(f"next: epochal predict {shlex.quote(str(path))} {shlex.quote(data)} --split {held_out} "
              f"--out predictions.csv   # or a file of new rows")  # fmt: skip
    return 0


def resume_line(path: "Path") -> str:
    """What to type to go on with a run."""
    return f"epochal resume {shlex.quote(str(path))}"


def _interrupted(folder: "RunWriter", signals: Signals, seconds: dict[str, float], *, as_json: bool) -> int:
    training, path = folder.training, folder.path
    with suppress(OutputError):
        if as_json and training.best:
            print_json(outcome(training.fit(path), training.residency, None, seconds))
        elif as_json:
            print_json({"stopped": "interrupted", "steps": training.step, "run": str(path)})
    print(f"epochal: interrupted after step {training.step:,}, all is saved; go on with:\n"
          f"{resume_line(path)}", file=sys.stderr)  # fmt: skip
    return signals.code


def report(fit: "Fit", residency: "Residency", test: Score | None, seconds: dict[str, float], *, as_json: bool) -> None:
    """The outcome of a run on standard output."""
    if as_json:
        print_json(outcome(fit, residency, test, seconds))
        return
    took = fit.seconds
    print(f"stopped by {fit.stopped} after {len(fit.epochs):,} epochs, {fit.steps:,} steps, in {took['train']:.1f} s "
          f"({took['compile']:.1f} s to compile)")  # fmt: skip
    print(describe_score("validation", fit.best.valid) + f", best at epoch {fit.best.epoch:,}")
    if test:
        print(describe_score("test", test))
    told = _baselines(fit, test)
    seen = ("test", "test") if test else ("best_validation", "validation")
    print(f"baseline   {told[seen[0]]} of the {seen[1]} rows")
    print(f"run        {fit.folder}")
    for remark in told["remarks"]:
        say(f"note: {remark}")


def _baselines(fit: "Fit", test: Score | None) -> dict[str, Any]:
    """What always answering the commonest class gives on the rows that were scored, and remarks on the scores."""
    from epochal.reports.evaluation import baseline, remarks

    assert fit.data
    of = {"best_validation": baseline(fit, fit.data.valid), "test": baseline(fit, fit.data.test) if test else None}
    scored = [(fit.data.valid, fit.best.valid, "validation"), *([(fit.data.test, test, "test")] if test else [])]
    said = [f"{what}: {remark}" for split, score, what in scored for remark in remarks(fit, split, score)]
    return of | {"remarks": said}


def print_json(content: dict[str, Any]) -> None:
    """Print the one JSON object of a command on standard output."""
    print(json.dumps(content))


def outcome(fit: "Fit", residency: "Residency", test: Score | None, seconds: dict[str, float]) -> dict[str, Any]:
    """The contract's keys for train, resume and evaluate."""
    from epochal.runs.schema import ResidencyRecord

    about = _baselines(fit, test) if fit.data else {}
    baselines = {name: about[name].to_json() if about.get(name) else None for name in ("best_validation", "test")}
    return {
        "model": fit.model.name,
        "data": fit.data.source if fit.data else None,
        "residency": ResidencyRecord.of(residency)._asdict(),
        "epochs": len(fit.epochs),
        "steps": fit.steps,
        "stopped": fit.stopped,
        "best_validation": fit.best.valid.to_json() | {"epoch": fit.best.epoch, "step": fit.best.step},
        "test": test.to_json() if test else None,
        "baseline": baselines,
        "notes": [*(fit.data.notes if fit.data else ()), *about.get("remarks", ())],
        "seconds": seconds | {name: round(value, 6) for name, value in fit.seconds.items()},
        "run": str(fit.folder) if fit.folder else None,
        "parameters_sha256": fit.parameters_sha256,
    }
