"""A selection with its folder: begun or resumed, trained, finished, closed."""

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from epochal.data.dataset import Dataset, check_data
from epochal.data.loading import load
from epochal.errors import DataError, EpochalError, RunError, StorageError, option, speaks_of_options
from epochal.runs import kept_code
from epochal.runs.code_keeper import Keeper
from epochal.runs.kept_code import Kept
from epochal.runs.run import MISFITS, load_run
from epochal.runs.schema import DataRecord, code_uses
from epochal.runs.versions import versions
from epochal.selection import report
from epochal.selection.candidate import Candidate, Standing, candidate_from
from epochal.selection.options import Choosing
from epochal.selection.record import FORMAT, SelectionRecord
from epochal.selection.result import Selected, compared
from epochal.selection.runner import Moment, Runner, Say
from epochal.selection.search import CandidateList, Search, Study, contacted
from epochal.selection.space import Build, Conditions, Range, Space, always
from epochal.selection.store import TrialStore
from epochal.selection.winner import Winner
from epochal.system import atomic, json_file, user_file
from epochal.system import trust as signing
from epochal.system.lock import NAME as LOCK
from epochal.system.lock import Lock, check_free, take_lock
from epochal.system.plain_files import reason
from epochal.system.user_file import Fetched
from epochal.training.fitted import Fit


class Session:
    """A selection in progress. With a folder it holds its lock until `close`. `values` are those of selection.json."""

    def __init__(
        self,
        runner: Runner,
        values: dict[str, Any],
        lock: Lock | None,
        notes: Sequence[str] = (),
        uses: Mapping[str, Fetched] | None = None,
        *,
        trusted: bool = False,
    ):
        """`uses` are the objects that candidates take from the user's files, by FILE.py:NAME, as far as it is known.

        `trusted`: the user has said that the code in the folder may be executed.
        """
        self.runner, self.values, self.lock, self.notes, self.trusted = runner, values, lock, notes, trusted
        self.path = runner.store.path
        self._stoppable: Any = runner
        self._keeper = Keeper(self.path, uses or {}, values.get("code")) if self.path else None
        self.runner.keep_code = self._keep_code
        self._keep_code(runner.store.candidates)

    @classmethod
    def begin(
        cls,
        search: Search,
        data: Dataset,
        choosing: Choosing,
        out: Path | None = None,
        memory_bytes: int | None = None,
        say: Say = lambda line: None,
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
            store = TrialStore(out, _identity(data, choosing) if out else None)
            runner = Runner(search, data, choosing, store, memory_bytes, say)
            values = {"format": FORMAT, "choosing": choosing.to_dict(), "search": search.to_json(), "outcome": None}
            values |= {"memory_bytes": memory_bytes, "versions": versions()}
            values |= {"data": DataRecord.of(data).to_json()} if out else {}
            uses = {reference: user_file.fetch(reference) for reference in search.references()}
            session = cls(runner, values, lock, (), uses)
            session._write()
            for note in search.notes:
                runner.note(note)
        except BaseException:
            if lock is not None:
                lock.close()
            raise
        return session

    @classmethod
    def resume(
        cls,
        path: str | Path,
        data: Dataset | None = None,
        *,
        build: Build | None = None,
        unread: Conditions = always,
        decisive: tuple[str, ...] = (),
        say: Say = lambda line: None,
        trust: bool = False,
    ) -> "Session":
        """The selection in `path`, from its finished trials and its newest checkpoint on.

        `data` are needed where it was begun with arrays; `build` where it searches by Optuna; `unread` and `decisive`
        are then as in its `Space`; `trust` where it holds code that no selection of this user has written.
        Raises RunError for what is no selection, in use, damaged, or has code that is not trusted, DataError for other
        data.
        """
        path = Path(path)
        SelectionRecord.read(path)  # what is no selection gets no lock
        lock = take_lock(path)
        try:
            stored = SelectionRecord.read(path)
            store = TrialStore(path)
            lines = store.lines()
            code = _code(path, stored, lines, trusted=trust)
            _check_storage(path, stored.search, trusted=trust)
            notes = code.notes() + code.changed()
            data = _same_data(path, stored.data, data)
            store.identity = _identity(data, stored.choosing)
            _replay(store, lines, data, code)
            search = _search(path, stored.search, store, build, unread, decisive)
            notes += store.read()
            runner = Runner(search, data, stored.choosing, store, stored.memory_bytes, say)
            runner.fetch = code.fetch
            uses = {reference: code.fetch(reference) for reference in (stored.code or {}).get("references", {})}
            of_search = {"search": search.to_json()} if isinstance(search, Study) else {}
            return cls(runner, stored.values | of_search, lock, notes, uses, trusted=trust)
        except MISFITS as error:
            lock.close()
            if isinstance(error, EpochalError):
                raise
            raise RunError(f"{path}: is damaged, or of another version: {error!r}; select again") from None
        except BaseException:
            lock.close()
            raise

    def moments(self) -> Iterator[Moment]:
        """Train all candidates; yields after every compiled stretch."""
        for moment in self.runner.moments():
            if self._keeper and self._keeper.has_grown():
                self._write()
            yield moment

    def stop(self, why: str = "interrupted") -> None:
        """Ask what is running to end soon; in a folder, all is then saved."""
        self.runner.stop(why)
        self._stoppable.stop(why)

    def note(self, name: str, value: Any) -> None:
        """Put a value of the caller's into `values`, and into the folder."""
        self.values[name] = value
        self._write()

    @property
    def interrupted(self) -> bool:
        return self.runner.stopped is not None

    def finish(self) -> Selected | None:
        """Choose, and write the table and the run. None where the chosen one's own training was interrupted."""
        standings = compared(self.runner.standings(), self.runner.store)
        fit = None
        if standings and not standings[0].diverged:
            fit = self._fit(standings[0], self.path / "run" if self.path else None)
            if fit is None:
                return None
        selected = Selected(standings, fit, self.runner.seconds, self.path, tuple(self.runner.notes))
        if self.path is not None:
            try:
                atomic.write(self.path / "results.csv", report.csv_text(standings).encode())
                atomic.write(self.path / "error.svg", report.svg(standings).encode())
            except OSError as error:
                raise StorageError(f"{self.path}: the table cannot be written: {reason(error)}") from None
            outcome = {"chosen": standings[0].candidate.number, "run": "run"} if fit else {"chosen": None, "run": None}
            self.note("outcome", outcome)
        return selected

    def _fit(self, best: Standing, run: Path | None) -> Fit | None:
        if run is not None and run.is_symlink():
            raise RunError(f"{run}: is a link; the run of a selection lies in its folder: move the link away")
        if run is not None and run.exists():
            check_free(run)
            if self.values["outcome"] == {"chosen": best.candidate.number, "run": "run"}:
                model = best.candidate.model
                return load_run(run, self.runner.data, model=model, trust=self.trusted)  # with its ledger
        return Winner(best, self.runner, self._watch).fit(run)

    def close(self) -> None:
        if self.lock is not None:
            self.lock.close()

    def _watch(self, training: Any) -> None:
        self._stoppable = training

    def _keep_code(self, candidates: Sequence[Candidate]) -> None:
        """Store the code of candidates, before anything else mentions them."""
        if self._keeper and candidates:
            for candidate in candidates:
                self._keeper.uses |= candidate.code
            self._write()

    def _write(self) -> None:
        if self.path is not None:
            try:
                if self._keeper:
                    self.values["code"] = self._keeper.keep()
                atomic.write_json(self.path / "selection.json", json_file.sealed(self.values))
            except OSError as error:
                raise StorageError(f"{self.path}: cannot be written: {reason(error)}") from None


def _identity(data: Dataset, choosing: Choosing) -> Any:
    """What distinguishes the trials of a selection from those of others with the same candidates."""
    return [data.fingerprint, choosing.to_dict()]


def _check_empty(path: Path) -> None:
    others = [e.name for e in path.iterdir() if e.name != LOCK and not atomic.is_temporary(e.name)]
    if "selection.json" in others:
        check_free(path)
        way = f"`epochal resume {path}`" if speaks_of_options() else f"epochal.selection.resume({str(path)!r})"
        raise RunError(f"{path}: holds a selection; go on with {way}, or name another folder with {option('out')}")
    if others:
        raise RunError(f"{path}: is not empty (it holds {min(others)}); name another folder with {option('out')}")


def _replay(store: TrialStore, lines: list[dict[str, Any]], data: Dataset, code: Kept) -> None:
    """Put the decisions and candidates of the journal's lines into `store`. Raises RunError."""
    for line in lines:
        if "decision" in line:
            store.decisions[line["decision"][0]] = line["decision"][1]
            continue
        store.batches.append(line["batch"])
        for values in line["batch"]["candidates"]:
            if values["number"] != len(store.candidates):
                raise RunError(f"{store.path}: candidate {len(store.candidates)} is called {values['number']}")
            store.candidates.append(candidate_from(values, data, code.fetch))


def _check_storage(path: Path, search: Mapping[str, Any], *, trusted: bool) -> None:
    """Raise RunError where a folder names a database that no selection of this user has named, unless it is trusted."""
    if search["kind"] != "optuna" or search["storage"] is None:
        return
    objection = signing.objection(contacted(search["storage"], search["name"]), search["signature"])
    if objection and not trusted:
        raise RunError(
            f"{path}: to go on with it, the database {kept_code.plain(search['storage'])} would be opened, which "
            f"{objection.replace('is not signed', 'nobody has signed')}\n"
            f"nothing was opened; {option('trust', True)} opens it once you have looked at it"
        )


def _code(path: Path, stored: SelectionRecord, lines: list[dict[str, Any]], *, trusted: bool) -> Kept:
    """The code of all candidates, later ones included. Raises RunError where it may not be executed."""
    kept = kept_code.checked(path, stored.code) if stored.code is not None else None
    references = list(kept["references"]) if kept else []
    for values in (values for line in lines if "batch" in line for values in line["batch"]["candidates"]):
        references += code_uses(values["model"].reference, values["recipe"], values["by_value"]).values()
    uses = {reference: reference for reference in (kept["references"] if kept else ())}
    return kept_code.opened(path, kept, uses, references, trusted=trusted)


def _search(
    path: Path,
    values: Mapping[str, Any],
    store: TrialStore,
    build: Build | None,
    unread: Conditions,
    decisive: tuple[str, ...],
) -> Search:
    if values["kind"] == "listed":
        if not store.candidates:
            raise RunError(f"{path}: the selection ended before its first candidate; remove the folder, select again")
        return CandidateList(store.candidates)
    if build is None:
        raise RunError(f"{path}: searches by Optuna; resume it by `epochal resume {path}`")
    axes = {n: Range(**axis) if isinstance(axis, dict) else tuple(axis) for n, axis in values["axes"].items()}
    space = Space(axes, build, values["spare"], unread, decisive)
    known = max((number for batch in store.batches for number in batch["search"].get("trials") or ()), default=-1)
    names = ("trials", "storage", "name", "seed", "batch")
    return Study(space, *(values[name] for name in names), known=known)


def _same_data(path: Path, stored: DataRecord, data: Dataset | None) -> Dataset:
    if data is None:
        if stored.origin is None:
            raise RunError(f"{path}: selects on arrays of a program, which are not kept; give them: resume(PATH, data)")
        data = load(stored.origin, stored.reading)
    if data.fingerprint != stored.fingerprint:
        raise DataError(
            f"{data.source}: these are not the data of {path}: their fingerprint is {data.fingerprint[:12]}…, the "
            f"selection's is {stored.fingerprint[:12]}… ({stored.source}); has the file changed?"
        )
    return data
