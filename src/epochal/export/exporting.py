"""Exports a trained model as ONNX, StableHLO, safetensors, or a script that needs NumPy alone, and checks the result.

What is written is run at once on rows of the data, and its probabilities are compared with epochal's.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import Any, Literal, get_args

import numpy as np

from epochal import __version__
from epochal.data.dataset import Dataset, Split
from epochal.data.preprocessing import Preprocessing
from epochal.data.rows import as_array
from epochal.data.sources import read
from epochal.data.table import Table
from epochal.errors import RecipeError, RunError, option
from epochal.runs.run import load_run, training_data
from epochal.runs.schema import read_record
from epochal.system import extras
from epochal.training.fitted import Fit

Format = Literal["onnx", "stablehlo", "safetensors", "numpy"]
_MODULES = {"onnx": "onnx.model", "stablehlo": "stablehlo", "safetensors": "safetensors", "numpy": "numpy.folder"}
"""The module of each format, imported when it is needed; `files(fit, dtype, about)` returns contents and notes."""

_NAMES = {"onnx": "model.onnx", "stablehlo": "stablehlo", "safetensors": "model.safetensors", "numpy": "numpy"}
_TOLERANCE = 1e-3
"""A larger difference in a probability is a fault of the translation, no rounding."""


@dataclass(frozen=True)
class Check:
    """The exported model against epochal's on `rows` rows: differing predictions, largest difference of probability."""

    what: str
    rows: int
    differing: int
    largest: float

    def __str__(self) -> str:
        return (
            f"{self.differing:,} of {self.rows:,} predictions differ on {self.what}, probabilities by at most "
            f"{self.largest:.2g}"
        )


@dataclass(frozen=True)
class Exported:
    """The path written, and the check; `check` is None where there are no rows for it, or none are needed."""

    format: str
    path: Path
    check: Check | None
    notes: tuple[str, ...] = ()


def export(
    run: Fit | str | Path,
    format: Format,
    out: str | Path | None = None,
    data: Dataset | None = None,
    *,
    model: Any = None,
    trust: bool = False,
) -> Exported:
    """Write the best model of a run, or of a fit, in another form, below its folder or to `out`; and check it.

    `data` are needed for the check where the run was trained on arrays of a program. Labels are not looked at, so the
    test split stays closed. `model` and `trust` are for code that the run keeps, as for `load_run`. Raises RecipeError
    for a missing library or format, RunError for a model that the format cannot express, where files that no export
    wrote would be replaced, or where the check fails.
    """
    if format not in get_args(Format):
        raise RecipeError(f"{option('format', format)}: must be one of {', '.join(get_args(Format))}")
    check_installed(format)
    from epochal.export import files
    from epochal.export.tracing import stored_dtype

    fit, data, stored, label = _open(run, data, model, trust)
    if out is None:
        if fit.folder is None:
            raise RecipeError("export: the fit has no run folder; say where to write with out=…")
        files.refuse_link(Path(fit.folder) / "export")
    path = Path(out) if out is not None else Path(str(fit.folder)) / "export" / _NAMES[format]
    folder, dtype = format in ("stablehlo", "numpy"), stored_dtype(fit, stored)
    if data is not None and (other := stored_dtype(fit, str(data.train.x.dtype))) != dtype:
        raise RecipeError(
            f"export: the rows of data are {other}, the run was trained on {dtype}; bring them to that form"
        )
    about = _about(fit, dtype, label)
    try:
        files.check(path, folder=folder)
        writer = import_module(f"epochal.export.{_MODULES[format]}")
        content, notes = writer.files(fit, dtype, about)
        files.write(path, content, folder=folder)
    except OSError as error:
        place, why = error.filename or path, error.strerror or error
        raise RunError(f"{place}: cannot be written: {why}; name another place with {option('out')}") from None
    return Exported(format, path, _check(fit, format, path, content, dtype, data), notes)


def check_installed(format: str) -> None:
    """Raise RecipeError where the libraries of a format are missing. Imports nothing."""
    if format == "onnx" and (lacking := extras.missing("onnx")):
        needed = f"needs {' and '.join(lacking)}, not installed; {extras.install('onnx')}"
        raise RecipeError(f"{option('format', 'onnx')}: {needed}")


def _open(
    run: Fit | str | Path, data: Dataset | None, model: Any, trust: bool
) -> tuple[Fit, Dataset | None, str, str | None]:
    """The fit, its data where they can be had, the dtype that rows were stored in, and the column of the labels."""
    fit = run if isinstance(run, Fit) else load_run(run, model=model, trust=trust)
    if fit.data is not None:
        return fit, data or fit.data, str(fit.data.train.x.dtype), fit.data.reading.label
    if fit.folder is None:
        assert data is not None
        return fit, data, str(data.train.x.dtype), data.reading.label
    stored = read_record(fit.folder).data
    if data is None and stored.origin is not None:
        data = training_data(fit.folder)
    return fit, data, stored.dtype, stored.reading.label


def _about(fit: Fit, dtype: np.dtype, label: str | None) -> dict[str, str]:
    """The metadata that goes into every format: texts, each of them JSON."""
    whole = np.iinfo(dtype) if dtype.kind in "iu" else None
    values = {
        "epochal": __version__,
        "model": {"name": fit.model.name, "settings": dict(fit.model.settings)},
        "classes": list(fit.classes),
        "rows": {
            "shape": [None, *fit.program.example_shape],
            "dtype": str(dtype),
            "range": [int(whole.min), int(whole.max)] if whole else None,
            "divided_inside_by": fit.divisor,
        },
        "label": label,
        "divisor": fit.divisor,
        "preprocessing": fit.preprocessing.to_json() if fit.preprocessing else None,
        "best_validation": fit.best.valid.to_json(),
        "parameters_sha256": fit.parameters_sha256,
    }
    return {name: json.dumps(value) for name, value in values.items()}


def _check(
    fit: Fit, format: str, path: Path, content: dict[str, bytes], dtype: np.dtype, data: Dataset | None
) -> Check | None:
    """Run what was written, and compare it with epochal. Raises RunError where it is not the same model."""
    written = import_module(f"epochal.export.{_MODULES[format]}")
    if format == "safetensors":
        if not written.same(fit, path):
            raise RunError(f"{path}: does not hold the parameters that were written; is the disk damaged?")
        return None
    rows = _rows(fit, data, by_column=format != "stablehlo")
    if rows is None:
        return None
    given = rows.given if isinstance(rows.given, Mapping) else rows.given.astype(dtype, copy=False)
    if format == "stablehlo":
        p = written.run(path, as_array(rows.split.x).astype(dtype, copy=False), fit.recipe.dtype)
    elif format == "numpy":
        p = written.run(path, content["predict.py"], given)
    else:
        p, labels = written.run(path, given if isinstance(given, Mapping) else {"x": given})
        if [fit.classes[i] for i in p.argmax(axis=1)] != labels.tolist():
            raise RunError(f"{path}: its labels are not those of its probabilities; do not use it, and report it")
    return _compare(fit, rows, p, path)


@dataclass(frozen=True)
class _Rows:
    """Rows for a check: as features for epochal, and in the form that the exported model takes."""

    what: str
    split: Split
    given: Any


def _rows(fit: Fit, data: Dataset | None, *, by_column: bool) -> _Rows | None:
    """The test split; of a table that goes in by its columns, all rows of its files, the test split among them."""
    if data is None:
        return None
    if fit.preprocessing is None or not by_column:
        split = Split(as_array(data.test.x), data.test.y, data.test.divisor)
        return _Rows("the test split", split, split.x)
    if data.origin is None:
        return None
    raw = read(data.origin, data.reading)
    tables = [part.x for part in raw.splits.values() if isinstance(part.x, Table)]
    given = [columns(fit.preprocessing, table, raw.name) for table in tables]
    x = np.concatenate([fit.preprocessing.apply(table, raw.name) for table in tables])
    every = {name: np.concatenate([each[name] for each in given]) for name in given[0]}
    return _Rows("all rows of the table", Split(x, np.zeros(len(x), np.int32)), every)


def columns(preprocessing: Preprocessing, table: Table, where: str) -> dict[str, np.ndarray]:
    """A table as exported models take it: [rows, 1] each, float64 with NaN, or texts, empty where one is missing."""
    by_name = {}
    for plan, column in zip(preprocessing.columns, preprocessing.aligned(table, where), strict=True):
        if plan.kind == "category":
            values = np.array([*column.categories, ""], object)[column.array]
        else:
            values = column.array.astype(np.float64)
        by_name[plan.name] = values.reshape(-1, 1)
    return by_name


def _compare(fit: Fit, rows: _Rows, p: np.ndarray, path: Path) -> Check:
    expected = fit.probabilities(rows.split)
    both_nan = np.isnan(p) & np.isnan(expected)  # as for an index without an embedding
    largest = float(np.where(both_nan, 0, np.abs(p.astype(np.float64) - expected)).max(initial=0))
    differing = int((p.argmax(axis=1) != expected.argmax(axis=1)).sum())
    check = Check(rows.what, len(p), differing, largest)
    if not largest <= _TOLERANCE:
        raise RunError(f"{path}: is not the same model: {check}; do not use it, and report it")
    return check
