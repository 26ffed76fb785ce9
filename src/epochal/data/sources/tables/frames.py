"""Objects of a program: data frames, pairs and mappings of them, and the Bunch of scikit-learn."""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any
from warnings import catch_warnings, simplefilter

import numpy as np

from epochal.data.options import Reading
from epochal.data.sources.arrays.pairs import as_array, by_split
from epochal.data.sources.files import brief
from epochal.data.sources.tables import roles, splits
from epochal.data.sources.tables.arrow_tables import grow
from epochal.data.sources.tables.parquet import index_of
from epochal.data.sources.tables.splits import KeyColumn
from epochal.data.sources.tables.table_files import OPTIONS, assembled
from epochal.data.sources.types import SPLITS, Context, RawDataset, RawSplit, Reader
from epochal.errors import DataError

_OF_PAIR = ("drop", "categorical", "skip_unlabelled")


def is_frame(value: Any) -> bool:
    """Whether `value` is a data frame or an Arrow table (pandas, polars, pyarrow, …), by its protocol."""
    return hasattr(value, "__arrow_c_stream__") and not _is_series(value)


def _is_series(value: Any) -> bool:
    return len(getattr(value, "shape", (0, 0))) == 1


def is_bunch(value: Any) -> bool:
    """Whether `value` is what scikit-learn's `load_iris()` and its like return."""
    return isinstance(value, Mapping) and {"data", "target"} <= set(value)


class Frames(Reader):
    """A frame, a Bunch, or some of them, alone or with labels."""

    formats, kind, options = "", "a data frame", None  # what it has a use for depends on its form

    def matches(self, source: Any) -> bool:
        return holds_frames(source)

    def read(self, source: Any, context: Context) -> RawDataset:
        kind, options = _form(source, context.options)
        context.check(options, "the source", kind)
        return read(source, context.options, context.limit, labelled=context.labelled)


def holds_frames(source: Any) -> bool:
    """Whether `source` is a frame, a Bunch, or some of them, alone or with labels."""
    if isinstance(source, Mapping):
        return is_bunch(source) or any(map(_is_one, source.values()))
    return _is_one(source) or (isinstance(source, (tuple, list)) and any(map(_is_one, source)))


def _is_one(value: Any) -> bool:
    return is_frame(value) or (isinstance(value, (tuple, list)) and len(value) == 2 and is_frame(value[0]))


def _form(source: Any, reading: Reading) -> tuple[str, tuple[str, ...]]:
    """What `source` is called in messages, and the fields of `reading` that it has a use for."""
    values = list(source.values()) if isinstance(source, Mapping) and not is_bunch(source) else [source]
    if not isinstance(source, Mapping) and not is_frame(source) and not _is_pair(source, reading):
        values = list(source)
    if any(map(is_frame, values)):
        return "a data frame", OPTIONS
    if is_bunch(source) and not is_frame(source["data"]):
        return "arrays", ()
    return "a pair of a frame and its labels", _OF_PAIR


def _is_pair(source: Any, reading: Reading) -> bool:
    """Whether a source is features and labels; with the name of a label two frames are train and test."""
    return _is_one(source) and not is_frame(source) and (reading.label is None or not is_frame(source[1]))


def read(source: Any, reading: Reading, limit: int, *, labelled: bool) -> RawDataset:
    """The splits of a frame, of a pair (features, labels), of a mapping of train, valid, test to these, or of a Bunch.

    Raises DataError where the form or a column cannot be used.
    """
    if isinstance(source, Mapping) and is_bunch(source):
        return _bunch(source, reading, limit, labelled)
    if isinstance(source, Mapping):
        named = by_split(source, "frames")
    elif is_frame(source) or _is_pair(source, reading):
        return _one(source, reading, limit, labelled, "frame")
    else:
        named = dict(zip({2: ("train", "test"), 3: SPLITS}.get(len(source), ()), source, strict=False))
    unknown = next((name for name in named if name not in SPLITS), None)
    if unknown is not None or not named:
        what = f"a mapping with {unknown!r}" if named else f"{len(source)} of them"
        raise DataError(f"frames: got {what}; give one, or train and test, or train, valid and test")
    raws = {name: _one(value, reading, limit, labelled, f"frame {name!r}") for name, value in named.items()}
    for name, raw in raws.items():
        if list(raw.splits) != ["train"]:
            parts = ", ".join(raw.splits)
            raise DataError(f"frame {name!r}: holds {parts} by its split column; give one frame, or no such column")
    notes = tuple(dict.fromkeys(note for raw in raws.values() for note in raw.notes))
    dropped = next(iter(raws.values())).dropped
    return RawDataset("frames", {name: raw.splits["train"] for name, raw in raws.items()}, notes=notes, dropped=dropped)


def _one(value: Any, reading: Reading, limit: int, labelled: bool, where: str) -> RawDataset:
    """One frame that holds its labels, or a pair of features and labels."""
    if not _is_one(value):
        raise DataError(f"{where}: got {type(value).__name__}; give a frame, or a pair of a frame and its labels")
    if is_frame(value):
        return _frame(value, reading, limit, labelled, where)
    return _pair(value[0], value[1], reading, limit, where)


def _pair(x: Any, y: Any, reading: Reading, limit: int, where: str) -> RawDataset:
    raw = _frame(x, replace(reading, label=None), limit, False, where)
    y = as_array(y.to_numpy() if hasattr(y, "to_numpy") else y, f"{where}: labels")
    y = y.reshape(-1) if y.ndim == 2 and y.shape[1] == 1 else y
    table, notes = raw.splits["train"].x, raw.notes
    if reading.skip_unlabelled and y.ndim == 1 and len(y) == len(table) and (absent := _absent(y)).any():
        rows = np.flatnonzero(~absent)
        table, y = table[rows], y[rows]
        notes = (*notes, f"{where}: {int(absent.sum()):,} of {len(absent):,} rows have no label, and are left out")
    return replace(raw, splits={"train": RawSplit(table, _as_text(y, where))}, notes=notes)


def _absent(y: np.ndarray) -> np.ndarray:
    """Which labels are missing: None, NaN, or what pandas has for it."""
    if y.dtype.kind == "f":
        return np.isnan(y)
    if y.dtype.kind != "O":
        return np.zeros(len(y), bool)
    return np.array([v is None or type(v).__name__ in ("NAType", "NaTType") or bool(v != v) for v in y.tolist()])


def _as_text(y: np.ndarray, where: str) -> np.ndarray:
    """Labels of a table are text, however they are given: a run on a frame can then be scored on a file."""

    def place(row: int) -> str:
        return f"{where}: labels: row {row:,}"

    if y.dtype.kind == "O" and all(isinstance(value, (str, bool, int, np.generic)) for value in y.tolist()):
        texts = {text: code for code, text in enumerate(dict.fromkeys(str(value) for value in y.tolist()))}
        codes = np.array([texts[str(value)] for value in y.tolist()], np.int64)
        return splits.labels(KeyColumn(codes, list(texts)), "labels", place) if y.ndim == 1 else y
    if y.ndim != 1 or y.dtype.kind not in "biufU":
        return y  # refused later, with the shape or the row
    if y.dtype.kind in "bU":
        texts, codes = np.unique(y.astype(str), return_inverse=True)
        column = KeyColumn(codes, texts.tolist())
    else:
        column = KeyColumn(y)
    return splits.labels(column, "labels", place)


def _frame(frame: Any, reading: Reading, limit: int, labelled: bool, where: str) -> RawDataset:
    import pyarrow as pa

    try:
        with catch_warnings():
            simplefilter("ignore")  # pandas says that names of columns which are no text become text
            reader = pa.RecordBatchReader.from_stream(frame)
        names = reader.schema.names
        assigned = roles.assign(names, reading, where, labelled=labelled, index=index_of(reader.schema))
        grown = grow(reader.schema, iter(reader), assigned, where, limit)
    except DataError:
        raise
    except Exception as error:  # whatever another library raises when it hands its columns over
        raise DataError(
            f"{where}: its columns cannot be taken over: {brief(error)[:200]}; give every column values of one kind"
        ) from None
    return assembled(
        [(column.info(name), column.chunks) for name, column in grown.items()],
        assigned,
        lambda row: f"{where}: row {row:,}",
        where,
    )


def _bunch(source: Mapping[str, Any], reading: Reading, limit: int, labelled: bool) -> RawDataset:
    """scikit-learn's data sets: `target_names`, where there are any, name the classes."""
    x, y = source["data"], source["target"]
    classes = source.get("target_names")
    numbers = as_array(y.to_numpy() if hasattr(y, "to_numpy") else y, "bunch: target")
    names = None if classes is None else [str(name) for name in classes]
    if names and (twice := next((name for name in names if names.count(name) > 1), None)) is not None:
        raise DataError(f"bunch: target_names: two classes are called {twice[:80]!r}; rename one of them")
    if not is_frame(x):
        named = names if names and numbers.dtype.kind in "iu" and len(names) == len(np.unique(numbers)) else None
        return RawDataset("bunch", {"train": RawSplit(as_array(x, "bunch: data"), numbers)}, classes=named)
    if numbers.dtype.kind in "iu" and names and set(np.unique(numbers).tolist()) == set(range(len(names))):
        y = np.array(names)[numbers]
    return _pair(x, y, reading, limit, "bunch")
