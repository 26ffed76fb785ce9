"""What a selection has found out so far, in memory and, where it has a folder, on disk.

selection.json        how candidates are compared, the data, and at the end the outcome; it makes the folder a selection
journal.jsonl         one line for every batch of candidates, every choice of a way, every rung of a halving
trials/C-S-F.safetensors   a finished trial, or one that pauses: outcome, history, missed rows; what it needs to go on
progress/             checkpoints of the trials in training
results.csv           the table; error.svg the plot
run/                  the chosen candidate as a run
"""

import json
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from epochal import atomic, checkpoint, sealed
from epochal.checkpoint import Snapshot
from epochal.errors import RunError, StorageError
from epochal.fitted import Epoch
from epochal.journal import append
from epochal.journal import line as json_line
from epochal.journal import lines as whole_lines
from epochal.record import epoch_from, epoch_json
from epochal.selection.candidate import Candidate, Outcome, Trial, outcome_from

Paused = tuple[Snapshot, list[Epoch]]


class Checkpoint(NamedTuple):
    """The trials of one loop, in its order, with their states; `together` are the places that it still trains."""

    trials: list[Trial]
    until: int | None
    states: list[Paused]
    together: list[int]


class Journal:
    """Candidates, decisions and outcomes. What is put in is on disk when the call returns. Raises StorageError."""

    def __init__(self, path: Path | None = None):
        self.path = path
        self.candidates: list[Candidate] = []
        self.batches: list[dict[str, Any]] = []
        self.decisions: dict[str, Any] = {}
        self.outcomes: dict[Trial, Outcome] = {}
        self._missed: dict[Trial, np.ndarray] = {}
        self._paused: dict[Trial, Paused] = {}
        self._checkpoint: Checkpoint | None = None

    def propose(self, candidates: Sequence[Candidate], told: dict[str, Any]) -> None:
        """Note a batch of candidates, and what their search wants to know of it later."""
        batch = {"candidates": [candidate.to_json() for candidate in candidates], "search": told}
        self._append({"batch": batch})
        self.batches.append(batch)
        self.candidates += candidates

    def decide(self, key: str, value: Any) -> Any:
        """Note a decision that is not to be taken twice."""
        self._append({"decision": [key, value]})
        self.decisions[key] = value
        return value

    def put(self, outcome: Outcome, paused: Paused | None, missed: np.ndarray | None) -> None:
        """Keep what a trial has come to, the state in which it ended or pauses, and which rows it misses."""
        self.outcomes[outcome.trial] = outcome
        self._paused.pop(outcome.trial, None)
        if paused is not None:
            self._paused[outcome.trial] = paused
        if missed is not None:
            self._missed[outcome.trial] = missed
        self._write(outcome.trial)

    def missed(self, trial: Trial) -> np.ndarray | None:
        """Which validation rows the best parameters of a trial get wrong: bool [rows]."""
        return self._missed.get(trial)

    def paused(self, trial: Trial) -> Paused | None:
        """The state in which a trial ended or pauses, with its history; None where it is not kept any more."""
        return self._paused.get(trial)

    def forget(self, trials: Iterable[Trial]) -> None:
        """Give up the states of trials that are neither chosen nor to go on."""
        for trial in trials:
            if self._paused.pop(trial, None) is not None:
                self._write(trial)

    def checkpoint(self, kept: Checkpoint) -> None:
        """Keep the states of the trials that are trained in one loop, until the loop has ended."""
        if self.path is None:
            return
        step = max(snapshot.told["step"] for snapshot, _ in kept.states)
        arrays = {f"{i}/{name}": array for i, (s, _) in enumerate(kept.states) for name, array in s.arrays.items()}
        members = [{"told": s.told, "history": [epoch_json(epoch) for epoch in epochs]} for s, epochs in kept.states]
        told = {"step": step, "members": members}
        told |= {"trials": kept.trials, "until": kept.until, "together": kept.together}
        checkpoint.save(self._folder("progress"), Snapshot(arrays, told))

    def checkpointed(self, trials: list[Trial], until: int | None) -> Checkpoint | None:
        """What was kept of a loop of these trials; None where there is nothing."""
        found = self._checkpoint
        return found if found and (found.trials, found.until) == (trials, until) else None

    def done(self) -> None:
        """The loop has ended, its outcomes are kept."""
        self._checkpoint = None
        if self.path is not None:
            for _, path in reversed(checkpoint.found(self._folder("progress"))):
                path.unlink(missing_ok=True)

    def _append(self, line: dict[str, Any]) -> None:
        if self.path is not None:
            try:
                append(self.path / "journal.jsonl", [json_line(line)])
            except OSError as error:
                raise StorageError(f"{self.path}: cannot be written: {error.strerror or error}") from None

    def _folder(self, name: str) -> Path:
        assert self.path is not None
        (self.path / name).mkdir(exist_ok=True)
        return self.path / name

    def _write(self, trial: Trial) -> None:
        if self.path is None:
            return
        told: dict[str, Any] = {"outcome": self.outcomes[trial].to_json()}
        arrays: dict[str, np.ndarray] = {}
        if trial in self._missed:
            arrays["missed"] = np.packbits(self._missed[trial])
            told["rows"] = len(self._missed[trial])
        if trial in self._paused:
            snapshot, epochs = self._paused[trial]
            arrays |= snapshot.arrays
            told |= {"member": snapshot.told, "history": [epoch_json(epoch) for epoch in epochs]}
        path = self._folder("trials") / f"{trial.candidate}-{trial.seed}-{trial.fold}.safetensors"
        try:
            sealed.write(path, arrays, told)
        except OSError as error:
            raise StorageError(f"{path}: the trial cannot be saved: {error.strerror or error}") from None

    def read(self) -> list[str]:
        """Take in what is on disk; returns what is wrong with it, in words. A damaged trial is trained again."""
        complaints = []
        assert self.path is not None
        for path in sorted(self._folder("trials").glob("*.safetensors")):
            try:
                self._take(*sealed.read(path))
            except (RunError, KeyError, ValueError, TypeError) as error:
                complaints.append(f"{error}; the trial is done again")
                path.unlink()
        return complaints + self._read_progress(self._folder("progress"))

    def _read_progress(self, folder: Path) -> list[str]:
        atomic.sweep(folder, "*.safetensors")
        try:
            snapshot, wrong = checkpoint.newest(folder)
            complaints = [f"{complaint}; an older checkpoint is used" for complaint in wrong.values()]
        except RunError:
            snapshot, wrong = None, {path: "" for _, path in checkpoint.found(folder)}
            complaints = [f"{folder}: no checkpoint is whole; the trials that were in training are done again"]
        for path in wrong:
            path.unlink()  # else it would pass for the newest for ever
        if snapshot is not None:
            self._take_checkpoint(snapshot)
        return complaints

    def lines(self) -> list[dict[str, Any]]:
        """The whole lines of the journal; one that a kill has torn does not count, and is cut off by the next."""
        assert self.path is not None
        return [json.loads(line) for line in whole_lines(self.path / "journal.jsonl")]

    def _take(self, arrays: dict[str, np.ndarray], told: dict[str, Any]) -> None:
        outcome = outcome_from(told["outcome"])
        self.outcomes[outcome.trial] = outcome
        if "missed" in arrays:
            self._missed[outcome.trial] = np.unpackbits(arrays.pop("missed"), count=told["rows"]).astype(bool)
        if "member" in told:
            self._paused[outcome.trial] = Snapshot(arrays, told["member"]), [epoch_from(e) for e in told["history"]]

    def _take_checkpoint(self, snapshot: Snapshot) -> None:
        states = []
        for i, member in enumerate(snapshot.told["members"]):
            mine = {n.removeprefix(f"{i}/"): a for n, a in snapshot.arrays.items() if n.startswith(f"{i}/")}
            states.append((Snapshot(mine, member["told"]), [epoch_from(epoch) for epoch in member["history"]]))
        trials = [Trial(*trial) for trial in snapshot.told["trials"]]
        self._checkpoint = Checkpoint(trials, snapshot.told["until"], states, snapshot.told["together"])
