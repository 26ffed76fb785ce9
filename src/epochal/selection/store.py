"""What a selection knows so far: candidates, decisions, outcomes; in memory and, where it has a folder, on disk.

selection.json        how candidates are compared, the data, and at the end the outcome; it makes the folder a selection
journal.jsonl         one line for every batch of candidates, every choice of a way, every rung of a halving
trials/C-S-F.safetensors   a trial that has ended or pauses: outcome, history, missed rows; the state to go on from
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
from epochal.selection.record import LINE, PROGRESS, TRIAL_FILE
from epochal.system import atomic, checksummed, json_file
from epochal.system.jsonl import append, chained, unchained
from epochal.system.jsonl import lines as whole_lines
from epochal.system.plain_files import Inner, is_plain, reason, unlink
from epochal.training.progress import Epoch
from epochal.training.snapshot import Snapshot

_NAME = re.compile(r"\d+-\d+-\d+\.safetensors")
Paused = tuple[Snapshot, list[Epoch]]


class Checkpoint(NamedTuple):
    """The trials of one loop, in its order, with their states; `active` are the places that it still trains."""

    trials: list[Trial]
    until: int | None
    states: list[Paused]
    active: list[int]


class TrialStore:
    """Candidates, decisions and outcomes. What is put in is on disk when the call returns. Raises StorageError."""

    def __init__(self, path: Path | None = None, identity: Any = None):
        """`identity` tells this selection from others of the same candidates: its data, its options."""
        self.path, self.identity = path, identity
        self.candidates: list[Candidate] = []
        self.batches: list[dict[str, Any]] = []
        self.decisions: dict[str, Any] = {}
        self.outcomes: dict[Trial, Outcome] = {}
        self._missed: dict[Trial, np.ndarray] = {}
        self._paused: dict[Trial, Paused] = {}
        self._checkpoint: Checkpoint | None = None

    def propose(self, candidates: Sequence[Candidate], state: dict[str, Any]) -> None:
        """Note a batch of candidates, and the state of their search that belongs to it."""
        batch = {"candidates": [candidate.to_json() for candidate in candidates], "search": state}
        self._append({"batch": batch})
        self.batches.append(batch)
        self.candidates += candidates

    def decide(self, key: str, value: Any) -> Any:
        """Note a decision that must not be made twice."""
        self._append({"decision": [key, value]})
        self.decisions[key] = value
        return value

    def put(self, outcome: Outcome, paused: Paused | None, missed: np.ndarray | None) -> None:
        """Store the outcome of a trial, the state in which it ended or pauses, and which rows it gets wrong."""
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
        """The state in which a trial ended or pauses, with its history; None where it is no longer stored."""
        return self._paused.get(trial)

    def forget(self, trials: Iterable[Trial]) -> None:
        """Drop the states of trials that are neither chosen nor to go on."""
        for trial in trials:
            if self._paused.pop(trial, None) is not None:
                self._write(trial)

    def checkpoint(self, of: Checkpoint) -> None:
        """Store the states of the trials that are trained in one loop, until the loop has ended."""
        if self.path is None:
            return
        snapshots = [snapshot for snapshot, _ in of.states]
        state = {f"{i}/{name}": array for i, s in enumerate(snapshots) for name, array in s.state.items()}
        best = {f"{i}/{name}": array for i, s in enumerate(snapshots) for name, array in s.best.items()}
        members = [{"metadata": s.metadata, "history": [epoch.to_json() for epoch in each]} for s, each in of.states]
        metadata = {"step": max(s.metadata["step"] for s in snapshots), "run": self._digest(of.trials)}
        metadata |= {"members": members, "trials": of.trials, "until": of.until, "together": of.active}
        checkpoint.save(self._folder("progress"), Snapshot(state, best, metadata))

    def checkpointed(self, trials: list[Trial], until: int | None) -> Checkpoint | None:
        """The checkpoint of a loop of these trials, if there is one."""
        last = self._checkpoint
        return last if last and (last.trials, last.until) == (trials, until) else None

    def done(self) -> None:
        """Remove the checkpoints of a loop that has ended: its outcomes are stored."""
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

    def _digest(self, trials: Iterable[Trial]) -> str:
        """What tells the files of these trials from those of other selections."""
        each = [[trial, self.candidates[trial.candidate].to_json()] for trial in trials]
        return json_file.digest([self.identity, each])

    def _write(self, trial: Trial) -> None:
        if self.path is None:
            return
        metadata: dict[str, Any] = {"outcome": self.outcomes[trial].to_json(), "selection": self._digest([trial])}
        arrays: dict[str, np.ndarray] = {}
        if trial in self._missed:
            arrays["missed"] = np.packbits(self._missed[trial])
            metadata["rows"] = len(self._missed[trial])
        if trial in self._paused:
            snapshot, epochs = self._paused[trial]
            arrays |= checkpoint.to_arrays(snapshot)
            metadata |= {"member": snapshot.metadata, "history": [epoch.to_json() for epoch in epochs]}
        path = self._folder("trials") / f"{trial.candidate}-{trial.seed}-{trial.fold}.safetensors"
        try:
            checksummed.write(path, arrays, metadata)
        except OSError as error:
            raise StorageError(f"{path}: the trial cannot be saved: {reason(error)}") from None

    def read(self) -> list[str]:
        """Read what is on disk; returns what is wrong with it, in words. A damaged trial is trained again.

        What is damaged is renamed, and nothing is removed. Raises RunError where a file may not be read.
        """
        complaints, folder = [], self._folder("trials")
        for path in sorted(path for path in folder.iterdir() if _NAME.fullmatch(path.name)):
            try:
                if not is_plain(path):
                    raise RunError(f"{path}: is no regular file")
                self._read_trial(path, *checksummed.read(path))
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
                self._read_checkpoint(snapshot)
            except (KeyError, ValueError, TypeError, IndexError) as error:
                path = checkpoint.path_of(folder, snapshot.metadata["step"])
                aside = checkpoint.set_aside(path)
                complaints.append(f"{path}: {error}; it is called {aside.name} now, and its trials are done again")
        return complaints

    def lines(self) -> list[dict[str, Any]]:
        """The complete lines of the journal; one that a kill has torn does not count, and the next write cuts it off.

        Raises RunError where they are not those that were written.
        """
        assert self.path is not None
        path = self.path / "journal.jsonl"
        try:
            values = unchained(whole_lines(path))
            return [LINE(value, f"line {number}") for number, value in enumerate(values, 1)]
        except (OSError, ValueError) as error:
            raise RunError(f"{path}: cannot be read: {reason(error)}; the file is damaged, bring it back") from None

    def _read_trial(self, path: Path, arrays: dict[str, np.ndarray], metadata: dict[str, Any]) -> None:
        stored = TRIAL_FILE(metadata, "")
        outcome = stored["outcome"]
        trial = outcome.trial
        if trial.candidate >= len(self.candidates) or stored["selection"] != self._digest([trial]):
            raise RunError(f"{path}: is a trial of another selection")
        if path.name != "{}-{}-{}.safetensors".format(*trial):
            raise RunError(f"{path}: holds another trial than its name says")
        self.outcomes[trial] = outcome
        if "missed" in arrays:
            self._missed[trial] = _unpacked(arrays.pop("missed"), stored["rows"])
        if stored["member"] is not None:
            self._paused[trial] = checkpoint.to_snapshot(arrays, stored["member"]), list(stored["history"] or ())

    def _read_checkpoint(self, snapshot: Snapshot) -> None:
        stored = PROGRESS(snapshot.metadata, "")
        known = all(trial.candidate < len(self.candidates) for trial in stored["trials"])
        if not known or stored["run"] != self._digest(stored["trials"]):
            raise ValueError("is a checkpoint of another selection")
        states = []
        for i, member in enumerate(stored["members"]):
            state, best = (checkpoint.under(f"{i}/", arrays) for arrays in (snapshot.state, snapshot.best))
            states.append((Snapshot(state, best, member["metadata"]), list(member["history"])))
        if len(states) != len(stored["trials"]) or not set(stored["together"]) <= set(range(len(states))):
            raise ValueError("does not hold the states of its trials")
        self._checkpoint = Checkpoint(list(stored["trials"]), stored["until"], states, list(stored["together"]))


def _unpacked(packed: np.ndarray, rows: int | None) -> np.ndarray:
    """The bool [rows] of its bits. Raises ValueError."""
    if packed.dtype != np.uint8 or packed.ndim != 1 or rows is None or len(packed) != -(-rows // 8):
        raise ValueError(f"missed rows {packed.dtype}{list(packed.shape)} are not the bits of {rows} rows")
    return np.unpackbits(packed, count=rows).astype(bool)
