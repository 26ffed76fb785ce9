"""The test-set ledgers: one line for every time that a test split was opened.

A run folder keeps those of its run. The user's data folder keeps those of a data set, over its whole life, whichever
run, selection or program opened it: a test set that has been looked at often has become a validation set.
"""

import json
import logging
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import platformdirs

from epochal import journal
from epochal.errors import RunError, StorageError
from epochal.score import Score

NAME = "test-ledger.jsonl"

log = logging.getLogger("epochal")


def record(folder: Path | None, fingerprint: str, score: Score, parameters_sha256: str) -> None:
    """Note that the test split of the data `fingerprint` was scored, by the run in `folder` if there is one.

    It is on the disk of the run before anybody sees the score. Raises StorageError where it cannot be; the score is
    then lost. The user's ledger gets the same line; where that cannot be written, a warning is logged.
    """
    entry = {
        "time": datetime.now(UTC).isoformat(timespec="seconds"),
        "data": fingerprint,
        "parameters_sha256": parameters_sha256,
        "test": score.to_json(),
    }
    if folder is not None:
        path = folder / NAME
        try:
            journal.append(path, [journal.line(entry)])
            journal.sync(path)
        except OSError as error:
            raise StorageError(
                f"{path}: cannot be written: {error.strerror or error}; without it the test split stays closed"
            ) from None
    try:
        shared = of_data(fingerprint)
        shared.parent.mkdir(parents=True, exist_ok=True)
        journal.append(shared, [journal.line(entry | {"run": str(folder.absolute()) if folder else None})])
    except (OSError, RuntimeError) as error:  # RuntimeError: a user without a home
        log.warning("the user's test-set ledger cannot be written: %s", error)


def entries(folder: Path) -> list[dict[str, Any]]:
    """Every opening by the run in `folder` so far, in order. Raises RunError for a line that is none."""
    path, found = folder / NAME, []
    try:
        for number, text in enumerate(journal.lines(path), 1):
            found.append(json.loads(text))
            if not {"parameters_sha256", "test"} <= set(found[-1]):
                raise ValueError(f"line {number} is no opening")
    except (OSError, ValueError, TypeError) as error:
        raise RunError(f"{path}: cannot be read: {error}; the file is damaged, bring it back") from None
    return found


def of_data(fingerprint: str) -> Path:
    """Where the openings of a data set's test split are kept, over all runs of this user."""
    return platformdirs.user_data_path("epochal", appauthor=False) / "test-ledger" / f"{fingerprint}.jsonl"


def openings(fingerprint: str, until: dict[str, Any] | None = None) -> int:
    """How often the test split of a data set has been opened by this user, as far as can be read.

    So far, or before the opening `until`, one of the `entries` of a run.
    """
    try:
        lines = journal.lines(of_data(fingerprint))
    except (OSError, RuntimeError):
        return 0
    own = journal.line(until)[:-2] if until else None  # the user's ledger adds the run to it
    return next((number for number, text in enumerate(lines) if own and text.startswith(own)), len(lines))


def opened(folder: Path | None, fingerprint: str | None, parameters_sha256: str) -> str:
    """How often the test split was opened for these parameters, in words.

    By the run in `folder`; without one, as far as the user's ledger of the data `fingerprint` knows.
    """
    if folder is None and fingerprint is None:
        return "not opened"
    try:
        lines = journal.lines(of_data(fingerprint) if folder is None and fingerprint else (folder or Path()) / NAME)
    except (OSError, RuntimeError):
        lines = []
    count = sum(parameters_sha256.encode() in line for line in lines)
    return {0: "not opened", 1: "opened once"}.get(count, f"opened {count:,} times")


def told(before: int) -> str:
    """The number in words.

    >>> told(0), told(1), told(12)
    ('never opened before', 'opened once before', 'opened 12 times before')
    """
    return {0: "never opened before", 1: "opened once before"}.get(before, f"opened {before:,} times before")
