"""What `run.json` says, each value of its type and in its range: whatever does not fit is one RunError with its key."""

from collections.abc import Mapping
from dataclasses import dataclass
from math import prod
from pathlib import Path
from typing import Any, Self

import ml_dtypes  # noqa: F401, NumPy knows bfloat16 by it
import numpy as np

from epochal.system import json_file
from epochal.training import user_functions
from epochal.runs import record
from epochal.errors import RunError
from epochal.system.schema import Form, Unfit, anything, fields, flag, listed, made, mapping, matching, number, one_of, optional, plain, sha256, text, whole
from epochal.runs.options import Keeping
from epochal.models.built_in import BUILT_IN
from epochal.data.preparation import Preparation
from epochal.data.preprocessing import ColumnPlan, Preprocessing
from epochal.data.options import Reading
from epochal.training.recipe import Recipe

NAME, FORMAT = "run.json", 1
_MOST_FEATURES = 2**40
REMEDY = "the file was changed or is damaged: bring it back, or train anew"


@dataclass(frozen=True)
class ModelRecord:
    """The model of a run: a built-in one, one of FILE.py:NAME (`reference`), or one that was given by value."""

    name: str
    settings: Mapping[str, Any]
    built_in: bool
    reference: str | None

    def __post_init__(self) -> None:
        if self.reference is None and self.built_in:
            if self.name not in BUILT_IN:
                raise Unfit("model.name", self.name, f"one of {', '.join(BUILT_IN)}")
            BUILT_IN[self.name](**self.settings)


@dataclass(frozen=True)
class DataRecord:
    """The data of a run: how their rows were prepared, and how they are found and recognised again."""

    source: str
    fingerprint: str
    origin: str | None
    preparation: Preparation


@dataclass(frozen=True)
class RunRecord:
    """A run as its folder tells it."""

    run_sha256: str
    model: ModelRecord
    recipe: Mapping[str, Any]
    by_value: tuple[str, ...]
    data: DataRecord
    parameters_sha256: str | None
    steps: int
    stopped: str | None
    epochs: int
    history_sha256: str
    seconds: Mapping[str, float]
    memory_bytes: int | None
    keeping: Keeping
    code: Any
    versions: Mapping[str, str]

    @classmethod
    def read(cls, path: Path) -> Self:
        """The record of the run in the folder `path`. Raises RunError."""
        try:
            told = json_file.read_sealed(path / NAME, "run", FORMAT, REMEDY)
        except FileNotFoundError:
            raise RunError(
                f"{path}: is no run folder, it has no run.json; `epochal train --out {path}` makes one"
            ) from None
        return cls.from_json(told, path / NAME)

    @classmethod
    def from_json(cls, told: Mapping[str, Any], path: Path) -> Self:
        """The record of what was read from `path`. Raises RunError, with the key that does not fit."""
        try:
            return _RUN({name: value for name, value in told.items() if name != "format"}, "")
        except Unfit as error:
            raise RunError(f"{path}: is no run of this version: {error}; {REMEDY}") from None

    @property
    def uses(self) -> dict[str, str]:
        """What it takes from files of the user: FILE.py:NAME by what it is used for."""
        return record.code_uses(
            {"model": {"reference": self.model.reference}, "recipe": self.recipe, "by_value": self.by_value}
        )


def _reading(value: Any, key: str) -> Reading:
    told = mapping(plain)(value, key)
    for name in ("labels_from", "valid", "test", "label", "split_column", "group", "time", "separator", "image_size"):
        optional(text)(told.get(name), f"{key}.{name}")
    for name in ("skip_unlabelled", "known_missing", "offline"):
        flag(told.get(name, False), f"{key}.{name}")
    optional(flag)(told.get("header"), f"{key}.header")
    return made(Reading.from_dict, key, told)


def _data(
    *, preprocessing: Any, example_shape: tuple[int, ...], divisor: float, classes: tuple[str, ...], **told: Any
) -> DataRecord:
    if divisor <= 0:
        raise Unfit("data.divisor", divisor, "above 0")
    if prod(example_shape) > _MOST_FEATURES:
        raise Unfit("data.example_shape", list(example_shape), "a shape of at most 2^40 features")
    counts = told["class_counts"].get("train", ())
    if len(counts) != len(classes):
        raise Unfit("data.class_counts.train", list(counts), f"{len(classes):,} numbers, one for each class")
    plans = Preprocessing(preprocessing) if preprocessing else None
    if plans is not None and (plans.width,) != example_shape:
        raise Unfit("data.example_shape", list(example_shape), f"[{plans.width}], the features of its columns")
    dtype = np.dtype(told["dtype"])
    kept = Preparation(example_shape, dtype, divisor, classes, counts, plans, told["reading"])
    return DataRecord(told["source"], told["fingerprint"], told["origin"], kept)


def _run(**told: Any) -> RunRecord:
    del told["best"], told["residency"]  # for people
    history = told.pop("history")
    run = RunRecord(epochs=history["epochs"], history_sha256=history["sha256"], **told)
    if not run.by_value:
        made(Recipe.from_dict, "recipe", run.recipe)
    return run


COLUMN = fields(
    ColumnPlan, name=text, kind=one_of("number", "boolean", "category"), mean=number, scale=number,
    categories=listed(text), missing=flag,
)  # fmt: skip
_COUNTS: Form = listed(whole())
_DTYPE = matching(r"u?int(8|16|32|64)|float(16|32|64)|bfloat16|bool", "a dtype of numbers")
DATA = fields(
    _data, source=text, fingerprint=sha256, origin=optional(text), reading=_reading,
    preprocessing=optional(listed(COLUMN, 1)), rows=mapping(whole()),
    example_shape=listed(whole(1, _MOST_FEATURES), 0, 8), dtype=_DTYPE,
    divisor=number, classes=listed(text, 1), class_counts=mapping(_COUNTS), notes=listed(text),
)  # fmt: skip
_MODEL = fields(ModelRecord, name=text, settings=mapping(plain), built_in=flag, reference=optional(text))
STOPPED = optional(text)
_RUN = fields(
    _run, run_sha256=sha256, model=_MODEL, recipe=mapping(plain), by_value=listed(one_of("optimizer", *user_functions.NAMES)),
    data=DATA, best=optional(mapping(anything)), parameters_sha256=optional(sha256), steps=whole(), stopped=STOPPED,
    residency=mapping(plain), seconds=mapping(number), memory_bytes=optional(whole()),
    history=fields(dict, epochs=whole(), sha256=sha256), code=anything, versions=mapping(text),
    keeping=fields(Keeping, checkpoint_seconds=number, on_storage_error=one_of("retry", "stop"), open_test=flag),
)  # fmt: skip
