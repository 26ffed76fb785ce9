"""The test-set ledgers: one line for every time that a test split was opened.

A run folder keeps those of its run. The user's data folder keeps those of a data set, over its whole life, whichever
run, selection or program opened it: a test set that has been looked at often has become a validation set.
"""

import logging
from collections.abc import Sequence
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import platformdirs

from epochal.errors import RunError, StorageError
from epochal.system import jsonl
from epochal.system.plain_files import reason
from epochal.system.schema import fields, listed, optional, sha256, text, whole
from epochal.training.score import SCORE, Score

NAME = "test-ledger.jsonl"
_OPENING = fields(
    dict,
    time=text,
    data=listed(text),
    parameters_sha256=sha256,
    opened_before=whole(),
    test=optional(SCORE),
    rows=optional(SCORE),
)

log = logging.getLogger("epochal")


def record(
    folder: Path | None, keys: Sequence[str], score: Score, parameters_sha256: str, *, split: bool = True
) -> None:
    """Note that test rows were scored, by the run in `folder` if there is one.

    `keys` are the `ledger_keys` of the rows; `split` says that they were a test split, and not among other rows. The
    line also holds how often this user had opened the rows before.

    It is on the disk of the run before anybody sees the score. Raises StorageError where it cannot be; the score is
    then lost. The user's ledgers get the same line; where one cannot be written, a warning is logged.
    """
    entry = {
        "time": datetime.now(UTC).isoformat(),
        "data": list(keys),
        "parameters_sha256": parameters_sha256,
        "opened_before": openings(keys),
        "test" if split else "rows": score.to_json(),
    }
    if folder is not None:
        path = folder / NAME
        try:
            jsonl.append(path, lambda last: jsonl.chained(entry, last))
            jsonl.sync(path)
        except OSError as error:
            raise StorageError(
                f"{path}: cannot be written: {reason(error)}; without it the test split stays closed"
            ) from None
    try:
        for key in keys:
            shared = of_data(key)
            shared.parent.mkdir(parents=True, exist_ok=True)
            jsonl.append(shared, [jsonl.line(entry | {"run": str(folder.absolute()) if folder else None})])
    except (OSError, RuntimeError) as error:  # RuntimeError: a user without a home
        log.warning("the user's test-set ledger cannot be written: %s", error)


def entries(folder: Path) -> list[dict[str, Any]]:
    """Every opening by the run in `folder` so far, in order. Raises RunError for a line that is none.

    As well where a line was changed, or one is lacking: the lines are a chain.
    """
    path = folder / NAME
    try:
        values = list(jsonl.unchained(jsonl.lines(path)))
        return [_opening(value, f"line {number}") for number, value in enumerate(values, 1)]
    except PermissionError as error:
        raise RunError(f"{path}: may not be read: {reason(error)}; make it readable for yourself") from None
    except (OSError, ValueError) as error:
        raise RunError(f"{path}: cannot be read: {reason(error)}; the file is damaged, bring it back") from None


def _opening(value: dict[str, Any], key: str) -> dict[str, Any]:
    if len({"test", "rows"} & set(value)) != 1:
        raise ValueError(f"{key} is no opening")
    _OPENING(value, key)
    return value


def of_data(key: str) -> Path:
    """Where the openings of some test rows are kept, over all runs of this user."""
    return platformdirs.user_data_path("epochal", appauthor=False) / "test-ledger" / f"{key}.jsonl"


def openings(keys: Sequence[str]) -> int:
    """How often the test rows of these `keys` have been opened by this user so far, as far as can be read."""
    lines: set[bytes] = set()
    for key in keys:
        try:
            lines |= set(jsonl.lines(of_data(key)))
        except (OSError, RuntimeError):
            continue
    return len(lines)


def opened(folder: Path | None, keys: Sequence[str], parameters_sha256: str) -> str:
    """How often the test split was opened for these parameters, in words.

    By the run in `folder`; without one, as far as the user's ledgers of the test rows know.
    """
    lines: set[bytes] = set()
    with suppress(OSError, RuntimeError):
        for path in [folder / NAME] if folder else map(of_data, keys):
            lines |= set(jsonl.lines(path))
    count = sum(parameters_sha256.encode() in line for line in lines)
    return {0: "not opened", 1: "opened once"}.get(count, f"opened {count:,} times")


def in_words(before: int) -> str:
    """The number in words.

    >>> in_words(0), in_words(1), in_words(12)
    ('never opened before', 'opened once before', 'opened 12 times before')
    """
    return {0: "never opened before", 1: "opened once before"}.get(before, f"opened {before:,} times before")
