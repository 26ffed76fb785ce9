"""The schema of a selection's files: every value of its type and in its range."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

from epochal.errors import RunError
from epochal.runs.checkpoint import STATE
from epochal.runs.schema import DATA, MODEL, DataRecord
from epochal.selection.candidate import Outcome, Trial
from epochal.selection.options import Choosing
from epochal.selection.packing import ALONE, BY_SEED, TOGETHER
from epochal.system import json_file
from epochal.system.schema import (
    Form,
    Unfit,
    anything,
    fields,
    flag,
    listed,
    made,
    mapping,
    number,
    one_of,
    optional,
    plain,
    sha256,
    text,
    together,
    whole,
)
from epochal.training.progress import EPOCH, stopped
from epochal.training.score import SCORE

NAME, FORMAT = "selection.json", 2
_REMEDY = "the file was changed or is damaged: bring it back, or select again"


@dataclass(frozen=True)
class SelectionRecord:
    """The content of selection.json; `values` are the plain ones."""

    values: dict[str, Any]
    choosing: Choosing
    search: Mapping[str, Any]
    data: DataRecord
    memory_bytes: int | None
    code: Any

    @classmethod
    def read(cls, path: Path) -> Self:
        """The record of the selection in the folder `path`. Raises RunError."""
        try:
            values = json_file.read_sealed(path / NAME, "selection", FORMAT, _REMEDY)
        except FileNotFoundError:
            raise RunError(f"{path}: is no selection, it has no selection.json; `epochal select` makes one") from None
        try:
            checked = _SELECTION(values, "")
        except Unfit as error:
            raise RunError(f"{path / NAME}: is no selection of this version: {error}; {_REMEDY}") from None
        names = ("choosing", "search", "data", "memory_bytes", "code")
        return cls(values, *(checked[name] for name in names))


def _choosing(value: Any, key: str) -> Choosing:
    return made(Choosing.from_dict, key, mapping(plain)(value, key))


def _axis(value: Any, key: str) -> Any:
    if isinstance(value, dict):
        return fields(dict, low=plain, high=plain)(value, key)
    return listed(plain, 1)(value, key)


def _search(value: Any, key: str) -> Any:
    kinds = {"listed": _LISTED, "optuna": _STUDY}
    kind = one_of(*kinds)(mapping(anything)(value, key).get("kind"), f"{key}.kind")
    return kinds[kind](value, key)


def _line(value: Any, key: str) -> dict[str, Any]:
    if isinstance(value, dict) and set(value) == {"batch"}:
        return {"batch": _BATCH(value["batch"], key)}
    name, decided = together(text, anything)(fields(dict, decision=anything)(value, key)["decision"], key)
    if name.startswith("way "):
        return {"decision": [name, one_of(TOGETHER, BY_SEED, ALONE)(decided, key)]}
    return {"decision": [name, _RUNG(decided, key)]}


TRIAL: Form = lambda value, key: Trial(*together(whole(), whole(), whole())(value, key))  # noqa: E731
_LISTED = fields(dict, kind=text, candidates=whole())
_STUDY = fields(
    dict, kind=text, axes=mapping(_axis), spare=mapping(plain), trials=whole(1), storage=optional(text), name=text,
    seed=whole(), batch=whole(1, 1_000_000), signature=anything,
)  # fmt: skip
_SELECTION = fields(
    dict, format=whole(), choosing=_choosing, search=_search, outcome=optional(mapping(anything)),
    memory_bytes=optional(whole()), versions=mapping(text), data=DATA, code=anything, open_test=optional(flag),
)  # fmt: skip
_CANDIDATE = fields(
    dict, number=whole(), by_value=listed(text), recipe=mapping(plain), varied=mapping(plain),
    model=MODEL,
)  # fmt: skip
_BATCH = fields(dict, candidates=listed(_CANDIDATE), search=fields(dict, trials=optional(listed(whole()))))
_RUNG = together(listed(whole()), listed(TRIAL))
LINE: Form = _line
OUTCOME = fields(
    Outcome, trial=TRIAL, valid=optional(SCORE), step=whole(), steps=whole(), steps_per_epoch=whole(1),
    stopped=optional(stopped), seconds=number,
)  # fmt: skip
TRIAL_FILE = fields(
    dict, selection=sha256, outcome=OUTCOME, rows=optional(whole()), member=optional(STATE),
    history=optional(listed(EPOCH)),
)  # fmt: skip
PROGRESS = fields(
    dict, step=whole(), run=sha256, members=listed(fields(dict, metadata=STATE, history=listed(EPOCH))),
    trials=listed(TRIAL), until=optional(whole()), together=listed(whole()),
)  # fmt: skip
