"""Runs of the command line that are stopped in every way, and what must be the same at their end."""

import hashlib
import io
import json
import subprocess
import sys
from collections.abc import Callable, Sequence
from contextlib import redirect_stdout
from pathlib import Path
from typing import Any

import jax
import numpy as np
import pytest

import epochal
from disk import Disk, Gone
from epochal.cli import main
from epochal.errors import StorageError
from epochal.runs.options import CheckpointOptions
from epochal.runs.run import resume
from epochal.runs.writer import RunWriter
from epochal.system import checksummed
from epochal.training import loop
from epochal.training.snapshot import Snapshot
from epochal.training.training import Training

EPOCHAL = [sys.executable, "-m", "epochal"]
RECIPE = epochal.Recipe(optimizer="momentum", batch_size=20, epochs=3, patience_steps=60)

MODELS = {
    "logistic": ["--model", "logistic", "--epochs", "300"],
    "mlp": ["--model", "mlp", "--hidden", "20", "--optimizer", "momentum", "--epochs", "250"],
    "lenet": ["--model", "lenet", "--kernels", "2x3", "--hidden", "20", "--kernel-size", "2", "--epochs", "100"],
}
MEMORY = {"resident": [], "chunked": ["--memory", "60kB"]}


def words_of(model: str, kind: str) -> list[str]:
    """Options of a run over the digits, of about a second of training, that saves as often as it can."""
    return [*MODELS[model], *MEMORY[kind], "--patience-steps", "1000000", "--checkpoint-seconds", "0"]


def next_words(folder: Path, words: Sequence[str]) -> list[str]:
    """What a user types after a kill."""
    return ["resume", str(folder)] if (folder / "run.json").exists() else ["train", *words, "--out", str(folder)]


def start(words: Sequence[str], **options: Any) -> subprocess.Popen[str]:
    """The command, on its own, silent unless `options` say otherwise."""
    pipes: dict[str, Any] = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL, "text": True}
    return subprocess.Popen([*EPOCHAL, *words], **(pipes | options))


def finished(folder: Path) -> tuple:
    """`bits` of a run that is resumed here, to its end, as the command would: its test split is opened at most once."""
    with redirect_stdout(io.StringIO()):
        assert main(["resume", str(folder), "--quiet", "--json"]) == 0
    return bits(folder)


def bits(folder: Path) -> tuple:
    """Parameters, best, steps, history and test score of a run that has ended: all but times."""
    told = json.loads((folder / "run.json").read_text())
    lines = [json.loads(line) for line in (folder / "history.jsonl").read_text().splitlines()]
    for line in lines:
        del line["seconds"], line["validation_seconds"]
    ledger = [json.loads(line)["test"] for line in (folder / "test-ledger.jsonl").read_text().splitlines()]
    arrays, best = checksummed.read(folder / "best.safetensors")
    parameters = hashlib.sha256(b"".join(arrays[name].tobytes() for name in sorted(arrays))).hexdigest()
    return told["parameters_sha256"], parameters, best, told["best"], told["steps"], told["stopped"], lines, ledger


def outcome(run: Training) -> tuple:
    """The same of a training in this process, and its whole state."""
    state = hashlib.sha256(b"".join(np.asarray(leaf).tobytes() for leaf in jax.tree.leaves(run.loop.state))).hexdigest()
    history = [(e.epoch, e.step, e.loss, e.valid, e.best, e.validations) for e in run.epochs]
    return state, run.fit().parameters_sha256, run.best, history, run.stopped


def drain(folder: RunWriter) -> None:
    """Train to the end and let go of the folder."""
    with folder:
        for _ in folder.progress():
            pass


SHORT = epochal.Recipe(optimizer="momentum", batch_size=60, epochs=2)


class Inline:
    """Saves at once, in the thread of the training, so that the operations of a run have one order."""

    def __init__(self, save: Callable[[Snapshot], None]):
        self._save, self._error = save, None

    def submit(self, snapshot: Snapshot) -> None:
        try:
            self._save(snapshot)
            self._error = None
        except StorageError as error:
            self._error = error

    def failure(self) -> StorageError | None:
        error, self._error = self._error, None
        return error

    close = failure


def saved_on_disk(
    data: epochal.Dataset, place: Path, at: int = -1, fault: Callable[[], None] | None = None
) -> tuple[Training, Disk, BaseException | None]:
    """A short run that saves after every step; before operation `at` its process ends, or `fault` is called."""
    run = epochal.train(epochal.logistic(), data, SHORT)
    with pytest.MonkeyPatch.context() as patch, Disk(place, at, fault) as disk:
        patch.setattr(epochal.runs.writer, "Saver", Inline)
        patch.setattr(loop, "STRETCH_SECONDS", 0)
        try:
            drain(RunWriter.create(place, run, CheckpointOptions(checkpoint_seconds=0)))
        except (Gone, StorageError) as error:
            return run, disk, error
    return run, disk, None


def assert_ends_like(whole: Training, place: Path, data: epochal.Dataset) -> None:
    """The run in `place`, taken up or begun again, ends with the bits of the run `whole`."""
    if (place / "run.json").exists():
        folder = resume(place, data).folder
    else:
        folder = RunWriter.create(place, epochal.train(epochal.logistic(), data, SHORT))
    drain(folder)
    assert outcome(folder.training) == outcome(whole)
    kept = epochal.load_run(place)
    assert kept.parameters_sha256 == whole.fit().parameters_sha256
    assert [epoch.loss for epoch in kept.epochs] == [epoch.loss for epoch in whole.epochs]
    assert not list(place.glob(".*")), "it sweeps what others have left"
