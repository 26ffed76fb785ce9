"""A selection taken up again from its folder."""

import json
from pathlib import Path
from typing import Any

from epochal import keptcode, record
from epochal.dataset import Dataset
from epochal.errors import DataError, RunError
from epochal.keptcode import Kept
from epochal.loading import load
from epochal.lock import take_lock
from epochal.reading import Reading
from epochal.selection.candidate import candidate_from
from epochal.selection.choosing import Choosing
from epochal.selection.journal import Journal
from epochal.selection.search import Listed, Search, Study
from epochal.selection.selecting import Selecting
from epochal.selection.session import FORMAT, Say, Session, silent
from epochal.selection.space import Build, Conditions, Range, Space, always


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
    told = read_selection(path)
    lock = take_lock(path)
    try:
        journal = Journal(path)
        lines = journal.lines()
        code = _code(path, told, lines, trusted=trust)
        notes = code.notes() + code.changed()
        data = _same_data(path, told["data"], data)
        for line in lines:
            if "batch" in line:
                journal.batches.append(line["batch"])
                journal.candidates += [candidate_from(one, data, code.fetch) for one in line["batch"]["candidates"]]
            else:
                journal.decisions[line["decision"][0]] = line["decision"][1]
        search = _search(path, told["search"], journal, build, unread, decisive)
        notes += journal.read()
        choosing = Choosing.from_dict(told["choosing"])
        selecting = Selecting(search, data, choosing, journal, told["memory_bytes"], say)
        selecting.fetch = code.fetch
        uses = {reference: code.fetch(reference) for reference in (told["code"] or {}).get("references", {})}
        return Session(selecting, told, lock, notes, uses, trusted=trust)
    except (KeyError, TypeError, IndexError) as error:
        lock.close()
        raise RunError(f"{path}: is damaged, or of another version: {error!r}") from None
    except BaseException:
        lock.close()
        raise


def _code(path: Path, told: dict[str, Any], lines: list[dict[str, Any]], *, trusted: bool) -> Kept:
    """The code of all candidates, those to come included. Raises RunError where it may not be executed."""
    kept = told.get("code")
    references = list(kept["references"]) if kept else []
    for one in (one for line in lines if "batch" in line for one in line["batch"]["candidates"]):
        references += record.code_uses(one).values()
    uses = {reference: reference for reference in (kept["references"] if kept else ())}
    return keptcode.opened(path, kept, uses, references, trusted=trusted)


def read_selection(path: Path) -> dict[str, Any]:
    """What `selection.json` tells. Raises RunError."""
    try:
        told = json.loads((path / "selection.json").read_bytes())
    except FileNotFoundError:
        raise RunError(f"{path}: is no selection, it has no selection.json; `epochal select` makes one") from None
    except (OSError, ValueError) as error:
        raise RunError(f"{path / 'selection.json'}: cannot be read: {error}") from None
    if not isinstance(told, dict) or told.get("format") != FORMAT:
        raise RunError(f"{path / 'selection.json'}: is no selection of format {FORMAT}; open it with its own epochal")
    return told


def _search(
    path: Path,
    told: dict[str, Any],
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
    return Study(space, told["trials"], told["storage"], told["name"], told["seed"], told["batch"])


def _same_data(path: Path, told: dict[str, Any], data: Dataset | None) -> Dataset:
    if data is None:
        if told["origin"] is None:
            raise RunError(f"{path}: selects on arrays of a program, which are not kept; give them: resume(PATH, data)")
        data = load(told["origin"], Reading.from_dict(told["reading"]))
    if data.fingerprint != told["fingerprint"]:
        raise DataError(
            f"{data.source}: these are not the data of {path}: their fingerprint is {data.fingerprint[:12]}…, the "
            f"selection's is {told['fingerprint'][:12]}… ({told['source']}); has the file changed?"
        )
    return data
