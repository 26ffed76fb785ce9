"""A selection from its beginning to its outcome: in memory, or in a folder from which it can be taken up again."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from epochal.data.dataset import Dataset, check_data
from epochal.errors import RunError, StorageError, option, speaks_of_options
from epochal.runs.code_keeper import Keeper
from epochal.runs.run import load_run
from epochal.runs.schema import DataRecord
from epochal.runs.versions import versions
from epochal.selection import plot, table
from epochal.selection.candidate import Candidate, Standing
from epochal.selection.options import Choosing
from epochal.selection.record import FORMAT
from epochal.selection.runner import Moment, Selecting
from epochal.selection.search import Search
from epochal.selection.store import Journal
from epochal.selection.winner import Chooser
from epochal.system import atomic, json_file, user_file
from epochal.system.lock import NAME as LOCK
from epochal.system.lock import Lock, check_free, take_lock
from epochal.system.plain_files import reason
from epochal.system.user_file import Fetched
from epochal.training.fitted import Fit
from epochal.training.score import Score
from epochal.training.significance import mcnemar

Say = Callable[[str], None]


def silent(line: str) -> None:
    """Say nothing."""


@dataclass(frozen=True, eq=False)
class Selected:
    """The outcome of a selection: the candidates, best first, and the chosen one as a Fit.

    `fit` is None where every candidate diverged. `seconds` are those of all trials, of compiling and of measuring.
    `notes` are what was worth saying, such as a patience that cannot run out, or candidates that are the same.
    """

    standings: Sequence[Standing]
    fit: Fit | None
    seconds: dict[str, float]
    folder: Path | None = None
    notes: tuple[str, ...] = ()

    @property
    def chosen(self) -> Standing | None:
        """The candidate with the lowest mean validation error; ties go to the earlier one."""
        return self.standings[0] if self.fit else None

    @property
    def steps(self) -> int:
        """Updates done by all trials."""
        return sum(standing.steps for standing in self.standings)

    def test(self) -> Score:
        """Open the test split, for the chosen one alone; the data set's ledger keeps that it was done."""
        if self.fit is None:
            raise RunError("test: no candidate was chosen, all of them diverged; take smaller learning rates")
        return self.fit.test()

    def __str__(self) -> str:
        return table.text(self.standings)

    def __repr__(self) -> str:
        many = f"{len(self.standings):,} candidate{'s' * (len(self.standings) != 1)}, "
        best, place = self.chosen, f", in {self.folder}" if self.folder else ""
        if best is None:
            return f"Selected({many}{'all ' * (len(self.standings) > 1)}diverged{place})"
        return f"Selected({many}chosen {best.candidate}: validation {best.score}{place}; print it for the table)"


class Session:
    """A selection that is going on. With a folder it holds its lock until `close`."""

    def __init__(
        self,
        selecting: Selecting,
        told: dict[str, Any],
        lock: Lock | None,
        notes: Sequence[str] = (),
        uses: Mapping[str, Fetched] | None = None,
        *,
        trusted: bool = False,
    ):
        """`uses` are what candidates take from the user's files, by FILE.py:NAME, as far as it is known.

        `trusted`: the user has said that the code that the folder keeps may be executed.
        """
        self.selecting, self.told, self.lock, self.notes, self.trusted = selecting, told, lock, notes, trusted
        self.path = selecting.journal.path
        self._stoppable: Any = selecting
        self._keeper = Keeper(self.path, uses or {}, told.get("code")) if self.path else None
        self.selecting.keep_code = self._keep_code
        self._keep_code(selecting.journal.candidates)

    @classmethod
    def begin(
        cls,
        search: Search,
        data: Dataset,
        choosing: Choosing,
        out: Path | None = None,
        memory_bytes: int | None = None,
        say: Say = silent,
    ) -> "Session":
        """A new selection. Raises RunError where there is one in `out`, or something else; StorageError."""
        check_data(data)
        lock = None
        if out is not None:
            data.fingerprint  # noqa: B018, the last look at the test rows: their bytes tell the data apart
            if out.is_dir():
                _check_empty(out)  # before anything is written: what is refused stays as it is
            lock = take_lock(out)
        try:
            if out is not None:
                _check_empty(out)
            selecting = Selecting(
                search, data, choosing, Journal(out, about(data, choosing) if out else None), memory_bytes, say
            )
            told = {"format": FORMAT, "choosing": choosing.to_dict(), "search": search.to_json(), "outcome": None}
            told |= {"memory_bytes": memory_bytes, "versions": versions()}
            uses = {reference: user_file.fetch(reference) for reference in search.references()}
            session = cls(selecting, told | ({"data": DataRecord.of(data).to_json()} if out else {}), lock, (), uses)
            session._write()
            for note in search.notes:
                selecting.note(note)
        except BaseException:
            if lock is not None:
                lock.close()
            raise
        return session

    def moments(self) -> Iterator[Moment]:
        """Train all candidates; yields after every compiled stretch."""
        for moment in self.selecting.moments():
            if self._keeper and self._keeper.has_grown():
                self._write()
            yield moment

    def stop(self, why: str = "interrupted") -> None:
        """Ask what is running to end soon; in a folder, all is then kept."""
        self.selecting.stop(why)
        self._stoppable.stop(why)

    def note(self, name: str, value: Any) -> None:
        """Keep a value of the caller's in `told`, and in the folder."""
        self.told[name] = value
        self._write()

    @property
    def interrupted(self) -> bool:
        """Whether `stop` was asked for."""
        return self.selecting.stopped is not None

    def finish(self) -> Selected | None:
        """Choose, and write the table and the run. None where the chosen one's own training was interrupted."""
        found = _compared(self.selecting)
        fit = None
        if found and not found[0].diverged:
            run = self.path / "run" if self.path else None
            fit = self._written(run, found[0])
            if fit is None:
                return None
        selected = Selected(found, fit, self.selecting.seconds, self.path, tuple(self.selecting.notes))
        if self.path is not None:
            try:
                atomic.write(self.path / "results.csv", table.csv_text(found).encode())
                atomic.write(self.path / "error.svg", plot.svg(found).encode())
            except OSError as error:
                raise StorageError(f"{self.path}: the table cannot be written: {reason(error)}") from None
            self.told["outcome"] = {"chosen": found[0].candidate.number if fit else None, "run": "run" if fit else None}
            self._write()
        return selected

    def _written(self, run: Path | None, best: Standing) -> Fit | None:
        selecting = self.selecting
        if run is not None and run.is_symlink():
            raise RunError(f"{run}: is a link; the run of a selection lies in its folder: move the link away")
        if run is not None and run.exists():
            check_free(run)
            if self.told["outcome"] == {"chosen": best.candidate.number, "run": "run"}:
                model = best.candidate.model
                return load_run(run, selecting.data, model=model, trust=self.trusted)  # with its ledger
        journal, memory_bytes = selecting.journal, selecting.memory_bytes
        return Chooser(selecting.data, selecting.choosing, journal, memory_bytes, self._watch).fit(best, run)

    def close(self) -> None:
        """Let go of the folder."""
        if self.lock is not None:
            self.lock.close()

    def _watch(self, training: Any) -> None:
        self._stoppable = training

    def _keep_code(self, candidates: Sequence[Candidate]) -> None:
        """Keep the code of candidates, before anything else tells of them."""
        if self._keeper and candidates:
            for candidate in candidates:
                self._keeper.uses |= candidate.code
            self._write()

    def _write(self) -> None:
        if self.path is not None:
            try:
                if self._keeper:
                    self.told["code"] = self._keeper.keep()
                atomic.write_json(self.path / "selection.json", json_file.sealed(self.told))
            except OSError as error:
                raise StorageError(f"{self.path}: cannot be written: {reason(error)}") from None


def resuming(path: Path) -> str:
    """How the user at hand goes on with the selection in `path`."""
    return f"`epochal resume {path}`" if speaks_of_options() else f"epochal.selection.resume({str(path)!r})"


def about(data: Dataset, choosing: Choosing) -> Any:
    """What tells the trials of a selection from those of others with the same candidates."""
    return [data.fingerprint, choosing.to_dict()]


def _check_empty(path: Path) -> None:
    others = [e.name for e in path.iterdir() if e.name != LOCK and not atomic.is_temporary(e.name)]
    if "selection.json" in others:
        check_free(path)
        raise RunError(
            f"{path}: holds a selection; go on with {resuming(path)}, or name another folder with {option('out')}"
        )
    if others:
        raise RunError(f"{path}: is not empty (it holds {min(others)}); name another folder with {option('out')}")


def _compared(selecting: Selecting) -> list[Standing]:
    """The standings, each with McNemar's p-value against the first, on the rows of the first seed."""
    found, journal = selecting.standings(), selecting.journal

    def missed(standing: Standing) -> np.ndarray | None:
        of = [journal.missed(outcome.trial) for outcome in standing.outcomes if outcome.trial.seed == 0]
        whole = [rows for rows in of if rows is not None]
        return np.concatenate(whole) if whole and len(whole) == len(of) else None

    first = missed(found[0]) if found else None
    compared = found[:1]
    for standing in found[1:]:
        other, p = missed(standing), None
        if first is not None and other is not None and len(first) == len(other):
            p = mcnemar(int((first & ~other).sum()), int((other & ~first).sum()))
        compared.append(replace(standing, p=p))
    return compared
