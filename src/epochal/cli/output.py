"""What commands say: text for people, or the contract's JSON."""

import json
import shlex
import sys
from collections.abc import Sequence
from contextlib import closing
from typing import TYPE_CHECKING, Any

from epochal.cli.signals import Interrupted, Signals
from epochal.errors import DataError, DivergedError
from epochal.score import Score

if TYPE_CHECKING:
    from pathlib import Path

    from epochal.dataset import Dataset
    from epochal.fitted import Fit
    from epochal.folder import RunFolder
    from epochal.residency import Residency


class Speaker:
    """Prints lines on standard error, unless it is to be quiet."""

    def __init__(self, *, quiet: bool):
        self.quiet = quiet

    def __call__(self, line: str) -> None:
        """Say one line, or several."""
        if not self.quiet:
            print(line, file=sys.stderr)


def describe_data(data: "Dataset") -> str:
    """One line for the data, and one for each note."""
    shape = "×".join(map(str, data.example_shape))
    rows = ", ".join(f"{len(split):,} {name}" for name, split in zip(("train", "valid", "test"), data, strict=True))
    lines = [f"{data.source}: {rows} rows of {shape} {data.train.x.dtype}, {len(data.classes)} classes"]
    return "\n".join(lines + [f"note: {note}" for note in data.notes])


def describe_score(split: str, score: Score) -> str:
    """`test   719 / 9,600 (7.49 %), 95 % interval 6.98–8.03 %`."""
    low, high = score.interval95
    return f"{split:<10} {score} wrong, 95 % interval {low:.2f}–{high:.2f} %"


def finish(
    folder: "RunFolder",
    signals: Signals,
    seconds: dict[str, float],
    *,
    data: str,
    log: Sequence[str],
    as_json: bool,
    quiet: bool,
) -> int:
    """Run the training of `folder` to its end, score the test split, say the outcome; returns the exit code."""
    from epochal import ledger
    from epochal.cli.progress import watch
    from epochal.logs import Log

    training, path = folder.training, folder.path
    # Whatever happens on the way, the state is saved before the folder is let go of.
    with folder, Log(path, training, log) as told, closing(folder.moments()) as moments:
        try:
            watch(told.follow(moments), training, quiet=quiet)
            with signals.raising():
                fit = training.fit(path)
                test, before = (None, 0) if folder.keeping.no_test else tested(fit)
            if test is not None:
                told.test(test)
        except DivergedError as error:
            kept = f"the best before it, {training.best.valid} wrong, is kept in {path}" if training.best else ""
            raise DivergedError(f"{error}\n{kept}".rstrip()) from None
        except DataError as error:
            raise DataError(f"{error}\nonce the data are back, go on with: {resume_line(path)}") from None
        except Interrupted:
            return _interrupted(folder, signals, seconds, as_json=as_json)
    report(fit, training.residency, test, seconds, as_json=as_json)
    if not as_json:
        if test:
            print(f"The test split of these data was {ledger.told(before)}.")
        print(f"next: epochal predict {shlex.quote(str(path))} {shlex.quote(data)} --out predictions.csv")
    return 0


def resume_line(path: "Path") -> str:
    """What to type to go on with a run."""
    return f"epochal resume {shlex.quote(str(path))}"


def tested(fit: "Fit") -> tuple[Score, int]:
    """The score of the test split, and how often it had been opened before.

    It is opened unless the run's ledger has it for these parameters: a run that was killed after it had opened the
    split does not open it twice.
    """
    from epochal import ledger

    assert fit.folder
    assert fit.data
    for entry in ledger.entries(fit.folder):
        if entry["parameters_sha256"] == fit.parameters_sha256:
            score = Score(entry["test"]["wrong"], entry["test"]["of"])
            return score, ledger.openings(fit.data.fingerprint, until=entry)
    before = ledger.openings(fit.data.fingerprint)
    return fit.test(), before


def _interrupted(folder: "RunFolder", signals: Signals, seconds: dict[str, float], *, as_json: bool) -> int:
    training, path = folder.training, folder.path
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
    print(f"run        {fit.folder}")


def note_other_score(fit: "Fit", score: Score) -> None:
    """Say so where the validation split now has another score than in training, of parameters that it has chosen."""
    if score != fit.best.valid and fit.stopped != "refit":  # whose score is that of trials
        print(f"note: in training {fit.best.valid} of these rows were wrong; the model's code is another one, or this "
              f"machine rounds otherwise", file=sys.stderr)  # fmt: skip


def print_json(told: dict[str, Any]) -> None:
    """The one JSON object of a command, on standard output."""
    print(json.dumps(told))


def outcome(fit: "Fit", residency: "Residency", test: Score | None, seconds: dict[str, float]) -> dict[str, Any]:
    """The contract's keys for train, resume and evaluate."""
    from epochal.record import residency_json

    return {
        "model": fit.model.name,
        "data": fit.data.source if fit.data else None,
        "residency": residency_json(residency),
        "epochs": len(fit.epochs),
        "steps": fit.steps,
        "stopped": fit.stopped,
        "best_validation": fit.best.valid.to_json() | {"epoch": fit.best.epoch, "step": fit.best.step},
        "test": test.to_json() if test else None,
        "seconds": seconds | {name: round(value, 6) for name, value in fit.seconds.items()},
        "run": str(fit.folder) if fit.folder else None,
        "parameters_sha256": fit.parameters_sha256,
    }
