"""The schema of `run.json`: a run as its folder describes it, written and read by one class. Imports no JAX.

Each value is of its type and in its range: whatever does not fit is one RunError with its key.
"""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from dataclasses import fields as fields_of
from datetime import UTC, datetime
from math import prod
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple, Self

import ml_dtypes  # noqa: F401, NumPy knows bfloat16 by it
import numpy as np

from epochal.data.dataset import Dataset
from epochal.data.options import Reading
from epochal.data.preparation import Preparation
from epochal.data.preprocessing import ColumnPlan, Preprocessing
from epochal.errors import RunError
from epochal.runs import history
from epochal.runs.options import CheckpointOptions
from epochal.system import json_file, user_file
from epochal.system.schema import (
    Unfit,
    anything,
    fields,
    flag,
    listed,
    made,
    mapping,
    matching,
    number,
    one_of,
    optional,
    plain,
    sha256,
    text,
    whole,
)
from epochal.training import ledger
from epochal.training.progress import BEST, Best, Epoch, Stopped, stopped
from epochal.training.recipe import FUNCTIONS, Recipe

if TYPE_CHECKING:
    from epochal.device.residency import Residency
    from epochal.models.base import Model

NAME, FORMAT = "run.json", 2
_MOST_FEATURES = 2**40
REMEDY = "the file was changed or is damaged: bring it back, or train anew"


@dataclass(frozen=True)
class ModelRecord:
    """The model of a run: a built-in one, one of FILE.py:NAME (`reference`), or one that was given by value."""

    name: str
    settings: Mapping[str, Any]
    built_in: bool
    reference: str | None = None

    @classmethod
    def of(cls, model: "Model") -> Self:
        return cls(model.name, dict(model.settings), model.built_in, model.source.reference or None)

    def to_json(self) -> dict[str, Any]:
        """Plain values; without `reference` where there is none."""
        return {name: value for name, value in vars(self).items() if name != "reference" or value}

    def build(self) -> "Model":
        """The built-in model of this name. Raises Unfit."""
        from epochal.models.built_in import BUILT_IN

        if self.name not in BUILT_IN:
            raise Unfit("model.name", self.name, f"one of {', '.join(BUILT_IN)}")
        return made(BUILT_IN[self.name], "model", **self.settings)

    @property
    def options(self) -> dict[str, Any]:
        """The command line's options for the model."""
        if self.reference:
            return {"model": self.reference}
        if not self.built_in:
            return {"model": f"{self.name} (given by value)"}
        sizes = {name: value for name, value in self.settings.items() if isinstance(value, list | tuple)}
        return {"model": self.name, **self.settings, **{name: "x".join(map(str, of)) for name, of in sizes.items()}}


@dataclass(frozen=True)
class DataRecord:
    """The data of a run: how their rows were prepared, how they are found and recognised again, what is known of them.

    `rows` and `class_counts` are by split.
    """

    source: str
    fingerprint: str
    origin: str | None
    reading: Reading
    preprocessing: Preprocessing | None
    rows: Mapping[str, int]
    example_shape: tuple[int, ...]
    dtype: str
    divisor: float
    classes: tuple[str, ...]
    class_counts: Mapping[str, tuple[int, ...]]
    notes: tuple[str, ...]

    def __post_init__(self) -> None:
        if self.divisor <= 0:
            raise Unfit("divisor", self.divisor, "above 0")
        if prod(self.example_shape) > _MOST_FEATURES:
            raise Unfit("example_shape", list(self.example_shape), "a shape of at most 2^40 features")
        counts = self.class_counts.get("train", ())
        if len(counts) != len(self.classes):
            raise Unfit("class_counts.train", list(counts), f"{len(self.classes):,} numbers, one for each class")
        if self.preprocessing is not None and (self.preprocessing.width,) != self.example_shape:
            width = f"[{self.preprocessing.width}], the features of its columns"
            raise Unfit("example_shape", list(self.example_shape), width)

    @classmethod
    def of(cls, data: Dataset) -> Self:
        names = {field.name for field in fields_of(cls)} - {"rows", "dtype", "class_counts"}
        return cls(
            **{name: getattr(data, name) for name in names},
            rows={name: len(split) for name, split in zip(("train", "valid", "test"), data, strict=True)},
            dtype=str(data.train.x.dtype),
            class_counts={name: tuple(counts) for name, counts in data.class_counts.items()},
        )

    def to_json(self) -> dict[str, Any]:
        """Plain values."""
        preprocessing = self.preprocessing.to_json() if self.preprocessing else None
        return vars(self) | {"reading": self.reading.to_dict(), "preprocessing": preprocessing}

    @property
    def preparation(self) -> Preparation:
        """How other rows are prepared for the model."""
        return Preparation(
            self.example_shape, np.dtype(self.dtype), self.divisor, self.classes, self.class_counts["train"],
            self.preprocessing, self.reading,
        )  # fmt: skip


class ResidencyRecord(NamedTuple):
    """Where the rows were, `resident` or `chunked`, the bytes that they took on the device, and the reason in words."""

    kind: str
    bytes: int
    why: str

    @classmethod
    def of(cls, residency: "Residency") -> Self:
        return cls(residency.kind, residency.bytes, residency.why)


class HistoryRecord(NamedTuple):
    """How many epochs the history holds, and the SHA-256 of their lines."""

    epochs: int
    sha256: str


@dataclass(frozen=True, kw_only=True)
class RunRecord:
    """A run as its folder describes it; `run.json` is the JSON of it.

    `best` and `parameters_sha256` are None before the first validation, `ended` and `stopped` while the run goes on, or
    where it was killed. Times are in UTC. `code` is what `code_keeper` has signed of the user's own files.
    """

    run_sha256: str
    model: ModelRecord
    recipe: Mapping[str, Any]
    by_value: tuple[str, ...]
    data: DataRecord
    best: Best | None
    parameters_sha256: str | None
    steps: int
    steps_per_epoch: int
    stopped: Stopped | None
    begun: datetime
    ended: datetime | None
    residency: ResidencyRecord
    seconds: Mapping[str, float]
    memory_bytes: int | None
    history: HistoryRecord
    options: CheckpointOptions
    code: Any
    versions: Mapping[str, str]

    @classmethod
    def from_json(cls, values: Mapping[str, Any], path: Path) -> Self:
        """The record of what was read from `path`. Raises RunError, with the key that does not fit."""
        try:
            record = _RUN({name: value for name, value in values.items() if name != "format"}, "")
            if not record.by_value:
                made(Recipe.from_dict, "recipe", record.recipe)
        except Unfit as error:
            raise misfit(path, error) from None
        return record

    def to_json(self) -> dict[str, Any]:
        """Plain values."""
        return {"format": FORMAT} | vars(self) | {
            "model": self.model.to_json(),
            "data": self.data.to_json(),
            "best": self.best.to_json() if self.best else None,
            "begun": self.begun.isoformat(),
            "ended": self.ended.isoformat() if self.ended else None,
            "residency": self.residency._asdict(),
            "history": self.history._asdict(),
            "options": asdict(self.options),
        }  # fmt: skip

    @property
    def uses(self) -> dict[str, str]:
        """What it takes from files of the user: FILE.py:NAME by what it is used for."""
        return code_uses(self.model.reference, self.recipe, self.by_value)


class Run(NamedTuple):
    """A run folder as it is read, without the model: its record, its epochs, and the openings of its test split."""

    folder: Path
    record: RunRecord
    epochs: tuple[Epoch, ...]
    openings: list[dict[str, Any]]


def read_record(folder: Path) -> RunRecord:
    """The record of the run in `folder`. Raises RunError."""
    path = folder / NAME
    try:
        return RunRecord.from_json(json_file.read_sealed(path, "run", FORMAT, REMEDY), path)
    except FileNotFoundError:
        raise RunError(
            f"{folder}: is no run folder, it has no run.json; `epochal train --out {folder}` makes one"
        ) from None


def read_run(folder: str | Path) -> Run:
    """A run folder as a report needs it. Imports no JAX, and executes nothing. Raises RunError.

    The epochs of a run that goes on, or was killed, are those that are there so far.
    """
    folder = Path(folder)
    record = read_record(folder)
    epochs = history.read(folder, *record.history) if record.stopped else history.so_far(folder)
    return Run(folder, record, epochs, ledger.entries(folder))


def misfit(path: Path, error: Unfit) -> RunError:
    """The error for a `run.json` with a value that does not fit."""
    return RunError(f"{path}: is no run of this version: {error}; {REMEDY}")


def run_sha256(model: "Model", recipe: Recipe, data: Dataset) -> str:
    """What tells the checkpoints of one run from those of another: a digest of model, recipe and data."""
    numbers = recipe.to_dict() | dict.fromkeys(recipe.by_value, "by value")
    values = [model.name, dict(model.settings), numbers, data.fingerprint]
    return hashlib.sha256(json.dumps(values, sort_keys=True).encode()).hexdigest()


def code_uses(reference: str | None, recipe: Mapping[str, Any], by_value: tuple[str, ...]) -> dict[str, str]:
    """What a model and a recipe take from files of the user: FILE.py:NAME by what it is used for."""
    named = {"model": reference} | {name: recipe.get(name) for name in FUNCTIONS if name not in by_value}
    return {name: str(value) for name, value in named.items() if user_file.is_reference(value)}


def now() -> datetime:
    """The time in UTC, to the second."""
    return datetime.now(UTC).replace(microsecond=0)


def _reading(value: Any, key: str) -> Reading:
    options = mapping(plain)(value, key)
    for name in ("labels_from", "valid", "test", "label", "split_column", "group", "time", "separator", "image_size"):
        optional(text)(options.get(name), f"{key}.{name}")
    for name in ("skip_unlabelled", "known_missing", "offline"):
        flag(options.get(name, False), f"{key}.{name}")
    optional(flag)(options.get("header"), f"{key}.header")
    return made(Reading.from_dict, key, options)


def _preprocessing(value: Any, key: str) -> Preprocessing | None:
    return None if value is None else Preprocessing(listed(_COLUMN, 1)(value, key))


def _time(value: Any, key: str) -> datetime:
    try:
        time = datetime.fromisoformat(text(value, key))
    except ValueError:
        time = None
    if time is None or time.utcoffset() is None:
        raise Unfit(key, value, "a time with its zone, such as 2026-01-31T12:00:00+00:00")
    return time


_COLUMN = fields(
    ColumnPlan, name=text, kind=one_of("number", "boolean", "category"), mean=number, scale=number,
    categories=listed(text), missing=flag,
)  # fmt: skip
DATA = fields(
    DataRecord, source=text, fingerprint=sha256, origin=optional(text), reading=_reading, preprocessing=_preprocessing,
    rows=mapping(whole()), example_shape=listed(whole(1, _MOST_FEATURES), 0, 8),
    dtype=matching(r"u?int(8|16|32|64)|float(16|32|64)|bfloat16|bool", "a dtype of numbers"), divisor=number,
    classes=listed(text, 1), class_counts=mapping(listed(whole())), notes=listed(text),
)  # fmt: skip
MODEL = fields(ModelRecord, name=text, settings=mapping(plain), built_in=flag, reference=optional(text))
_RUN = fields(
    RunRecord, run_sha256=sha256, model=MODEL, recipe=mapping(plain), by_value=listed(one_of(*FUNCTIONS)), data=DATA,
    best=optional(BEST), parameters_sha256=optional(sha256), steps=whole(), steps_per_epoch=whole(1),
    stopped=optional(stopped), begun=_time, ended=optional(_time),
    residency=fields(ResidencyRecord, kind=one_of("resident", "chunked"), bytes=whole(), why=text),
    seconds=mapping(number), memory_bytes=optional(whole()), code=anything, versions=mapping(text),
    history=fields(HistoryRecord, epochs=whole(), sha256=sha256),
    options=fields(
        CheckpointOptions, checkpoint_seconds=number, on_storage_error=one_of("retry", "stop"), open_test=flag
    ),
)  # fmt: skip
