"""A selection taken up again from its folder."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from epochal.data.dataset import Dataset
from epochal.data.loading import load
from epochal.errors import DataError, EpochalError, RunError, option
from epochal.runs import kept_code, record
from epochal.runs.kept_code import Kept
from epochal.runs.run import MISFITS
from epochal.runs.run_record import DataRecord
from epochal.selection.candidate import candidate_from
from epochal.selection.record import SelectionRecord
from epochal.selection.runner import Selecting
from epochal.selection.search import Listed, Search, Study, contacted
from epochal.selection.session import Say, Session, about, silent
from epochal.selection.space import Build, Conditions, Range, Space, always
from epochal.selection.store import Journal
from epochal.system import trust as signing
from epochal.system.lock import take_lock


def taken_up(
    path: str | Path,
    data: Dataset | None = None,
    *,
    build: Build | None = None,
    unread: Conditions = always,
    decisive: tuple[str, ...] = (),
    say: Say = silent,
    trust: bool = False,
) -> Session:
    """The selection in `path`, from its finished trials and its newest checkpoint on.

    `data` are needed where the folder cannot tell them; `build` where it searches by Optuna; `unread` and `decisive`
    are then as in its `Space`; `trust` where it keeps code that no selection of this user has written.
    Raises RunError for what is no selection, in use, damaged, or has code that is not trusted, DataError for other
    data.
    """
    path = Path(path)
    SelectionRecord.read(path)  # what is no selection gets no lock
    lock = take_lock(path)
    try:
        kept = SelectionRecord.read(path)
        journal = Journal(path)
        lines = journal.lines()
        code = _code(path, kept, lines, trusted=trust)
        _check_storage(path, kept.search, trusted=trust)
        notes = code.notes() + code.changed()
        data = _same_data(path, kept.data, data)
        journal.about = about(data, kept.choosing)
        _replayed(journal, lines, data, code)
        search = _search(path, kept.search, journal, build, unread, decisive)
        notes += journal.read()
        selecting = Selecting(search, data, kept.choosing, journal, kept.memory_bytes, say)
        selecting.fetch = code.fetch
        uses = {reference: code.fetch(reference) for reference in (kept.code or {}).get("references", {})}
        told = kept.told | {"search": search.to_json() if isinstance(search, Study) else kept.told["search"]}
        return Session(selecting, told, lock, notes, uses, trusted=trust)
    except MISFITS as error:
        lock.close()
        if isinstance(error, EpochalError):
            raise
        raise RunError(f"{path}: is damaged, or of another version: {error!r}; select anew") from None
    except BaseException:
        lock.close()
        raise


def _replayed(journal: Journal, lines: list[dict[str, Any]], data: Dataset, code: Kept) -> None:
    """Take in what the lines of the journal tell. Raises RunError."""
    for line in lines:
        if "decision" in line:
            journal.decisions[line["decision"][0]] = line["decision"][1]
            continue
        journal.batches.append(line["batch"])
        for one in line["batch"]["candidates"]:
            if one["number"] != len(journal.candidates):
                raise RunError(f"{journal.path}: candidate {len(journal.candidates)} is called {one['number']}")
            journal.candidates.append(candidate_from(one, data, code.fetch))


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


def _code(path: Path, told: SelectionRecord, lines: list[dict[str, Any]], *, trusted: bool) -> Kept:
    """The code of all candidates, those to come included. Raises RunError where it may not be executed."""
    kept = kept_code.checked(path, told.code) if told.code is not None else None
    references = list(kept["references"]) if kept else []
    for one in (one for line in lines if "batch" in line for one in line["batch"]["candidates"]):
        references += record.code_uses(one).values()
    uses = {reference: reference for reference in (kept["references"] if kept else ())}
    return kept_code.opened(path, kept, uses, references, trusted=trusted)


def _search(
    path: Path,
    told: Mapping[str, Any],
    journal: Journal,
    build: Build | None,
    unread: Conditions,
    decisive: tuple[str, ...],
) -> Search:
    if told["kind"] == "listed":
        if not journal.candidates:
            raise RunError(f"{path}: the selection ended before its first candidate; remove the folder, select anew")
        return Listed(journal.candidates)
    if build is None:
        raise RunError(f"{path}: searches by Optuna; resume it by `epochal resume {path}`")
    axes = {n: Range(**axis) if isinstance(axis, dict) else tuple(axis) for n, axis in told["axes"].items()}
    space = Space(axes, build, told["spare"], unread, decisive)
    asked = [number for batch in journal.batches for number in batch["search"].get("trials") or ()]
    return Study(
        space, told["trials"], told["storage"], told["name"], told["seed"], told["batch"], known=max(asked, default=-1)
    )


def _same_data(path: Path, told: DataRecord, data: Dataset | None) -> Dataset:
    if data is None:
        if told.origin is None:
            raise RunError(f"{path}: selects on arrays of a program, which are not kept; give them: resume(PATH, data)")
        data = load(told.origin, told.preparation.reading)
    if data.fingerprint != told.fingerprint:
        raise DataError(
            f"{data.source}: these are not the data of {path}: their fingerprint is {data.fingerprint[:12]}…, the "
            f"selection's is {told.fingerprint[:12]}… ({told.source}); has the file changed?"
        )
    return data
