"""What a selection has found out so far, in memory and, where it has a folder, on disk.

selection.json        how candidates are compared, the data, and at the end the outcome; it makes the folder a selection
journal.jsonl         one line for every batch of candidates, every choice of a way, every rung of a halving
trials/C-S-F.safetensors   a finished trial, or one that pauses: outcome, history, missed rows; what it needs to go on
progress/             checkpoints of the trials in training
results.csv           the table; error.svg the plot
run/                  the chosen candidate as a run
"""

import re
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from epochal.errors import RunError, StorageError
from epochal.runs import checkpoint
from epochal.selection.candidate import Candidate, Outcome, Trial
from epochal.selection.record import KEPT, LINE, PROGRESS
from epochal.system import atomic, checksummed, json_file
from epochal.system.jsonl import append, chained, unchained
from epochal.system.jsonl import lines as whole_lines
from epochal.system.plain_files import Inner, is_plain, reason, unlink
from epochal.training.progress import Epoch
from epochal.training.snapshot import Snapshot

_NAME = re.compile(r"\d+-\d+-\d+\.safetensors")
Paused = tuple[Snapshot, list[Epoch]]


class Checkpoint(NamedTuple):
    """The trials of one loop, in its order, with their states; `together` are the places that it still trains."""

    trials: list[Trial]
    until: int | None
    states: list[Paused]
    together: list[int]


class Journal:
    """Candidates, decisions and outcomes. What is put in is on disk when the call returns. Raises StorageError."""

    def __init__(self, path: Path | None = None, about: Any = None):
        """`about` tells this selection from others of the same candidates: its data, how it chooses."""
        self.path, self.about = path, about
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
        snapshots = [snapshot for snapshot, _ in kept.states]
        state = {f"{i}/{name}": array for i, s in enumerate(snapshots) for name, array in s.state.items()}
        best = {f"{i}/{name}": array for i, s in enumerate(snapshots) for name, array in s.best.items()}
        members = [{"metadata": s.metadata, "history": [epoch.to_json() for epoch in of]} for s, of in kept.states]
        metadata = {"step": max(s.metadata["step"] for s in snapshots), "run": self._identity(kept.trials)}
        metadata |= {"members": members, "trials": kept.trials, "until": kept.until, "together": kept.together}
        checkpoint.save(self._folder("progress"), Snapshot(state, best, metadata))

    def checkpointed(self, trials: list[Trial], until: int | None) -> Checkpoint | None:
        """What was kept of a loop of these trials; None where there is nothing."""
        found = self._checkpoint
        return found if found and (found.trials, found.until) == (trials, until) else None

    def done(self) -> None:
        """The loop has ended, its outcomes are kept."""
        self._checkpoint = None
        if self.path is not None:
            for _, path in reversed(checkpoint.paths(self._folder("progress"))):
                unlink(path)

    def _append(self, line: dict[str, Any]) -> None:
        if self.path is not None:
            try:
                append(self.path / "journal.jsonl", lambda last: chained(line, last))
            except OSError as error:
                raise StorageError(f"{self.path}: cannot be written: {reason(error)}") from None

    def _folder(self, name: str) -> Inner:
        """A folder of the selection. Raises StorageError where something else lies in its place, such as a link."""
        assert self.path is not None
        path = Inner(self.path / name)
        try:
            if path.is_symlink():
                raise OSError("is a link; a folder must lie in its place")
            path.mkdir(exist_ok=True)
        except OSError as error:
            raise StorageError(f"{path}: {reason(error)}") from None
        return path

    def _identity(self, trials: Iterable[Trial]) -> str:
        """What tells the files of these trials from those of other selections."""
        each = [[trial, self.candidates[trial.candidate].to_json()] for trial in trials]
        return json_file.digest([self.about, each])

    def _write(self, trial: Trial) -> None:
        if self.path is None:
            return
        told: dict[str, Any] = {"outcome": self.outcomes[trial].to_json(), "selection": self._identity([trial])}
        arrays: dict[str, np.ndarray] = {}
        if trial in self._missed:
            arrays["missed"] = np.packbits(self._missed[trial])
            told["rows"] = len(self._missed[trial])
        if trial in self._paused:
            snapshot, epochs = self._paused[trial]
            arrays |= checkpoint.to_arrays(snapshot)
            told |= {"member": snapshot.metadata, "history": [epoch.to_json() for epoch in epochs]}
        path = self._folder("trials") / f"{trial.candidate}-{trial.seed}-{trial.fold}.safetensors"
        try:
            checksummed.write(path, arrays, told)
        except OSError as error:
            raise StorageError(f"{path}: the trial cannot be saved: {reason(error)}") from None

    def read(self) -> list[str]:
        """Take in what is on disk; returns what is wrong with it, in words. A damaged trial is trained again.

        What is damaged is renamed, and nothing is removed. Raises RunError where a file may not be read.
        """
        complaints, folder = [], self._folder("trials")
        for path in sorted(path for path in folder.iterdir() if _NAME.fullmatch(path.name)):
            try:
                if not is_plain(path):
                    raise RunError(f"{path}: is no regular file")
                self._take(path, *checksummed.read(path))
            except PermissionError as error:
                raise RunError(f"{path}: may not be read: {reason(error)}; make it readable for yourself") from None
            except (RunError, KeyError, ValueError, TypeError) as error:
                aside = checkpoint.set_aside(path)
                complaints.append(f"{error}; it is called {aside.name} now, and the trial is done again")
        return complaints + self._read_progress(self._folder("progress"))

    def _read_progress(self, folder: Path) -> list[str]:
        atomic.sweep(folder, r"[\w-]+\.safetensors")
        try:
            snapshot, wrong = checkpoint.newest(folder)
            complaints = [f"{complaint}; an older checkpoint is used" for complaint in wrong.values()]
        except RunError as error:
            if isinstance(error.__cause__ or error.__context__, PermissionError):
                raise
            snapshot, wrong = None, {path: "" for _, path in checkpoint.paths(folder)}
            complaints = [f"{folder}: no checkpoint is whole; the trials that were in training are done again"]
        for path in wrong:
            checkpoint.set_aside(path)  # else it would pass for the newest for ever
        if snapshot is not None:
            try:
                self._take_checkpoint(snapshot)
            except (KeyError, ValueError, TypeError, IndexError) as error:
                path = checkpoint.path_of(folder, snapshot.metadata["step"])
                aside = checkpoint.set_aside(path)
                complaints.append(f"{path}: {error}; it is called {aside.name} now, and its trials are done again")
        return complaints

    def lines(self) -> list[dict[str, Any]]:
        """The whole lines of the journal; one that a kill has torn does not count, and is cut off by the next.

        Raises RunError where they are not those that were written.
        """
        assert self.path is not None
        path = self.path / "journal.jsonl"
        try:
            found = list(unchained(whole_lines(path)))
            return [LINE(value, f"line {number}") for number, value in enumerate(found, 1)]
        except (OSError, ValueError) as error:
            raise RunError(f"{path}: cannot be read: {reason(error)}; the file is damaged, bring it back") from None

    def _take(self, path: Path, arrays: dict[str, np.ndarray], told: dict[str, Any]) -> None:
        kept = KEPT(told, "")
        outcome = kept["outcome"]
        trial = outcome.trial
        if trial.candidate >= len(self.candidates) or kept["selection"] != self._identity([trial]):
            raise RunError(f"{path}: is a trial of another selection")
        if path.name != "{}-{}-{}.safetensors".format(*trial):
            raise RunError(f"{path}: is another trial than its name says")
        self.outcomes[trial] = outcome
        if "missed" in arrays:
            self._missed[trial] = _unpacked(arrays.pop("missed"), kept["rows"])
        if kept["member"] is not None:
            self._paused[trial] = checkpoint.to_snapshot(arrays, kept["member"]), list(kept["history"] or ())

    def _take_checkpoint(self, snapshot: Snapshot) -> None:
        told = PROGRESS(snapshot.metadata, "")
        known = all(trial.candidate < len(self.candidates) for trial in told["trials"])
        if not known or told["run"] != self._identity(told["trials"]):
            raise ValueError("is a checkpoint of another selection")
        states = []
        for i, member in enumerate(told["members"]):
            state, best = (checkpoint.under(f"{i}/", arrays) for arrays in (snapshot.state, snapshot.best))
            states.append((Snapshot(state, best, member["metadata"]), list(member["history"])))
        if len(states) != len(told["trials"]) or not set(told["together"]) <= set(range(len(states))):
            raise ValueError("does not hold the states of its trials")
        self._checkpoint = Checkpoint(list(told["trials"]), told["until"], states, list(told["together"]))


def _unpacked(packed: np.ndarray, rows: int | None) -> np.ndarray:
    """The bool [rows] of its bits. Raises ValueError."""
    if packed.dtype != np.uint8 or packed.ndim != 1 or rows is None or len(packed) != -(-rows // 8):
        raise ValueError(f"missed rows {packed.dtype}{list(packed.shape)} are not the bits of {rows} rows")
    return np.unpackbits(packed, count=rows).astype(bool)
