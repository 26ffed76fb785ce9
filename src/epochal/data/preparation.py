"""Rows of any form, prepared for a trained model exactly as the rows that it was trained on.

One rule for Python and the command line: a number means what it meant in training. Tables go through the preprocessing
that was fitted on the train rows; arrays are divided by what the train rows were divided by; rows of another kind
(floats for a model trained on stored bytes, say) are refused, unless the caller says what they are divided by.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from epochal.data import checks, labels
from epochal.data.dataset import DEFAULT_READING, SPLITS, Dataset, Split
from epochal.data.features import features
from epochal.data.known_rows import KnownRows
from epochal.data.narrow import as_trained
from epochal.data.options import Reading
from epochal.data.preprocessing import ColumnPlan, Preprocessing
from epochal.data.rows import FileRows, Rows, joined
from epochal.data.sources import RawDataset, RawSplit, read
from epochal.data.sources.files import memory_limit
from epochal.data.table import Column, Table
from epochal.errors import DataError, option
from epochal.system.aligned import frozen


@dataclass(frozen=True, eq=False)
class Preparation:
    """What was done to the rows of a run: enough to do the same to others.

    `dtype` is the one that features are stored in on the device; in the step they are divided by `divisor`. `counts`
    are the train rows of each class.
    """

    example_shape: tuple[int, ...]
    dtype: np.dtype
    divisor: float
    classes: tuple[str, ...]
    counts: tuple[int, ...]
    preprocessing: Preprocessing | None = None
    reading: Reading = DEFAULT_READING

    @classmethod
    def of(cls, data: Dataset) -> "Preparation":
        counts = tuple(np.bincount(data.train.y, minlength=len(data.classes)).tolist())
        dtype = np.dtype(data.train.x.dtype)
        return cls(
            data.example_shape, dtype, data.divisor, data.classes, counts, data.preprocessing, data.reading
        )  # fmt: skip

    def merged(self, given: Reading) -> Reading:
        """How other rows are read: as the run's own were, but for what is given now, and for splits and labels."""
        inherited = {
            k: v for k, v in self.reading.to_dict().items() if k not in ("valid", "test", "labels_from", "divisor")
        }
        return given.inheriting(inherited)


class Prepared(NamedTuple):
    """Rows ready for the model. `part` is the split of the source that they are, "all" where it has no splits.

    `notes` say what was left out, converted or guessed, `inferred` how a file was read.
    """

    split: Split
    name: str
    part: str
    notes: tuple[str, ...] = ()
    inferred: tuple[str, ...] = ()


def prepare(
    source: Any,
    preparation: Preparation,
    *,
    part: str | None = None,
    labelled: bool = False,
    given: Reading | None = None,
    known: Callable[[], KnownRows | None] = lambda: None,
) -> Prepared:
    """The rows of `source`: a path, a frame, a mapping of columns, arrays, whatever `load` reads, or a Split.

    Of a source with splits it is that called `part`; left out, the test split where rows are to be scored, else all of
    them. `labelled` rows bring labels, as (x, y) or in the column that the run knows; else y is zero. An array for a
    model that was trained on a table holds its columns in their order, unless its rows are prepared already: are among
    those that `known` returns. Raises DataError where the rows cannot be used as those of training, RecipeError for
    an option.
    """
    given = given or Reading()
    if isinstance(source, Split):
        return Prepared(source, "rows", "all")
    if isinstance(source, Dataset):
        raise DataError("rows: got a Dataset, which holds three splits; give one of them, such as data.test")
    reading = preparation.merged(given)
    prepared = prepare_raw(_raw(source, reading, labelled=labelled), preparation, part, reading, labelled, known)
    return prepared if isinstance(source, (str, Path)) else prepared._replace(inferred=())


def prepare_raw(
    raw: RawDataset,
    preparation: Preparation,
    part: str | None,
    reading: Reading,
    labelled: bool = False,
    known: Callable[[], KnownRows | None] = lambda: None,
) -> Prepared:
    """The same for what a reader found, read as `reading` says."""
    chosen = _chosen(raw, part, labelled=labelled)
    notes: list[str] = []
    x_of: dict[str, Rows] = {}
    for name in chosen:
        where = raw.name if len(raw.splits) == 1 else f"{raw.name}: {name}"
        x_of[name], said = _features(raw.splits[name].x, preparation, where, reading, known)
        notes += said
    checks.same_shape(x_of, raw.name)
    x = joined(list(x_of.values()))
    scale, note = reading.divisor, ""
    if scale is None:  # else the caller's word
        trained = preparation.dtype, preparation.divisor
        x, scale, note = as_trained(x, *trained, reading.storage, raw.divisor, raw.name)
    y = np.concatenate([_labels(raw, name, preparation) for name in chosen]) if labelled else np.zeros(len(x), np.int32)
    described = "all" if len(raw.splits) == 1 or len(chosen) > 1 else chosen[0]
    notes = [*dict.fromkeys(notes), *([note] if note else [])]
    return Prepared(Split(x, y, scale), raw.name, described, tuple(notes), tuple(raw.notes))


def _raw(source: Any, reading: Reading, *, labelled: bool) -> RawDataset:
    if isinstance(source, (str, Path)):
        return read(source, reading, labelled=labelled)
    from epochal.data.sources.arrays import pairs
    from epochal.data.sources.huggingface import datasets
    from epochal.data.sources.tables import frames

    if isinstance(source, Mapping) and not frames.is_bunch(source) and not set(source) <= set(SPLITS):
        import pyarrow as pa

        columns = {str(name): [value] if np.ndim(value) == 0 else value for name, value in source.items()}
        try:
            source = pa.table(columns)
        except (pa.ArrowException, ValueError, TypeError) as error:
            raise DataError(
                f"columns: cannot become a table ({str(error).splitlines()[0][:120]}); give every column values of one "
                f"kind, and all the same number of them"
            ) from None
    if datasets.is_dataset(source) or frames.holds_frames(source) or labelled:
        return read(source, reading, labelled=labelled)
    return RawDataset("rows", {"train": RawSplit(pairs.as_array(source, "rows"))})


def _chosen(raw: RawDataset, part: str | None, *, labelled: bool) -> list[str]:
    present = [name for name in SPLITS if name in raw.splits]
    if part in (None, "all"):
        if part is None and labelled and len(present) > 1:
            part = "test"
        else:
            return present
    if part not in present or len(present) == 1:
        holds = f"only {', '.join(present)}" if len(present) > 1 else "its rows come in one piece"
        raise DataError(
            f"{raw.name}: has no {part} split, {holds}; "
            f"{'name one of them' if len(present) > 1 else 'leave ' + option('split') + ' out'}, or all"
        )
    return [str(part)]


def _features(
    x: Any, preparation: Preparation, where: str, reading: Reading, known: Callable[[], KnownRows | None]
) -> tuple[Rows, list[str]]:
    preprocessing, notes = preparation.preprocessing, []
    if preprocessing is None:
        if isinstance(x, Table):
            raise DataError(
                f"{where}: is a table, but the model was trained on arrays of shape "
                f"{list(preparation.example_shape)}; give an array: frame.to_numpy()"
            )
        if isinstance(x, np.ndarray) and x.shape == (0, *preparation.example_shape):
            return x, notes  # nothing to predict
        return checks.features(x, where), notes
    if not isinstance(x, Table):
        if _is_prepared(x, preprocessing, known):
            return checks.features(np.asarray(x, np.float32), where), notes
        x = _as_table(x, preprocessing, where)
        names = ", ".join(list(x.columns)[:6]) + (", …" if len(x.columns) > 6 else "")
        notes.append(f"{where}: an array without names: its columns are taken as {names}, in the order trained on")
    if extra := preprocessing.extra(x):
        shown = ", ".join(map(repr, extra[:8])) + (f" and {len(extra) - 8:,} more" if len(extra) > 8 else "")
        preprocessing.check(x, where)
        notes.append(f"{where}: left out columns that were not trained on: {shown}")
        x = replace(x, columns={name: column for name, column in x.columns.items() if name not in extra})
    rows, note = features(preprocessing, x, where, memory_limit(reading.host_memory))
    unseen = [f"{where}: {text}" for text in preprocessing.unseen(x)]
    return frozen(rows), [*notes, *unseen, *([f"{where}: {note}"] if note else [])]


def _is_prepared(x: Any, preprocessing: Preprocessing, known: Callable[[], KnownRows | None]) -> bool:
    """Whether an array holds features and not columns: by its width, or as its rows are known by their digests."""
    shape, columns = np.shape(x), len(preprocessing.columns)
    if len(shape) != 2 or shape[1] != preprocessing.width or isinstance(x, FileRows):
        return False
    if preprocessing.width != columns:
        return True
    if np.asarray(x).dtype.kind != "f" or not len(x) or (rows := known()) is None:
        return False
    return rows.count(np.ascontiguousarray(x, np.float32)).any > 0


def _labels(raw: RawDataset, name: str, preparation: Preparation) -> np.ndarray:
    part, where = raw.splits[name], raw.name if len(raw.splits) == 1 else f"{raw.name}: {name}"
    if part.y is None:
        raise DataError(f"{where}: has no labels; there is nothing to score: bring rows with labels, or predict them")
    y = np.asarray(part.y)
    checks.same_length(part.x, y, where)
    if raw.classes is not None and y.dtype.kind in "iu":  # numbers of the source's own classes, named as it names them
        y = np.array(raw.classes)[labels.encode_labels({"train": y}, where, raw.classes)[0]["train"]]
    return labels.known_labels(y, preparation.classes, where)


def _as_table(x: Any, preprocessing: Preprocessing, where: str) -> Table:
    """`x`, [rows, columns] of numbers or objects, as a table of the columns trained on. Raises DataError."""
    plans = preprocessing.columns
    if np.ndim(x) != 2 or np.shape(x)[1] != len(plans):
        raise DataError(
            f"{where}: has shape {list(np.shape(x))}, but the model was trained on a table of {len(plans):,} columns "
            f"({preprocessing.width:,} features); give a frame with the columns, an array of shape [rows, "
            f"{len(plans)}], or prepared features as a Split"
        )
    columns = zip(plans, np.asarray(x).T, strict=True)
    return Table({plan.name: _column(plan, values, where) for plan, values in columns})


def _column(plan: ColumnPlan, values: np.ndarray, where: str) -> Column:
    if values.dtype.kind in "biuf":
        return Column("boolean" if values.dtype.kind == "b" else "number", values.astype(np.float64))
    cells = values.tolist()
    missing = [cell is None or cell != cell for cell in cells]  # only NaN and its like differ from themselves
    texts = [None if absent else str(cell) for cell, absent in zip(cells, missing, strict=True)]
    if plan.kind == "category":
        names = tuple(dict.fromkeys(text for text in texts if text is not None))
        codes: dict[str | None, int] = {text: code for code, text in enumerate(names)}
        return Column("category", np.array([codes.get(text, -1) for text in texts], np.int32), names)
    return Column("number", np.array([_number(text, row, plan.name, where) for row, text in enumerate(texts)]))


def _number(text: str | None, row: int, name: str, where: str) -> float:
    try:
        return np.nan if text is None else float({"True": "1", "False": "0"}.get(text, text))
    except ValueError:
        raise DataError(
            f"{where}: row {row:,}, column {name!r}: holds {text!r:.80}, but the column was trained as a number; give "
            f"it a number, or None if the value is missing"
        ) from None
