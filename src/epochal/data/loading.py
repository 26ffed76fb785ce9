"""From what a reader found to a checked Dataset: labels coded, missing splits held out, tables turned into numbers."""

import os
import warnings
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from epochal.data import checks, holdout, labels, suspicious
from epochal.data.dataset import SPLITS, Dataset, Split
from epochal.data.features import features
from epochal.data.known_rows import KnownRows
from epochal.data.narrow import cast_storage
from epochal.data.options import Reading, named
from epochal.data.preprocessing import Preprocessing
from epochal.data.rows import Rows, gather
from epochal.data.sources import RawDataset, RawSplit, read
from epochal.data.sources.files import locate, memory_limit
from epochal.data.table import Table
from epochal.data.test_rows import ledger_keys
from epochal.errors import DataError, DataWarning, RecipeError, option
from epochal.system.aligned import frozen, zeros


def load(source: Any = "digits", reading: Reading | None = None, **options: Any) -> Dataset:
    """Read, check and split a data set.

    `source` is a path: a `.pkl` or `.pkl.gz` of the tutorials, IDX files or their folder, `.npz`, `.npy`, a table as
    CSV, Parquet or Arrow, or a pattern of such, a folder of images or of Hugging Face `datasets`. Or a name: digits,
    mnist, fashion-mnist. Or a frame of pandas or polars, arrays `(x, y)`, splits `((x, y), (x, y), (x, y))` (two: train
    and test), or `{"train": (x, y), …}`. How it is read says a `Reading`, or its fields as `options`.

    Raises DataError, with the place and the remedy, for anything that cannot be used as it is; RecipeError for an
    option that makes no sense.
    """
    if reading is not None and options:
        raise RecipeError(f"load: got a Reading and {', '.join(options)} besides; put all of it into the Reading")
    reading = reading or Reading.from_dict(options)
    data = assemble(read(source, reading), reading, absolute(source) if isinstance(source, (str, Path)) else None)
    for note in data.warnings:
        warnings.warn(note, DataWarning, stacklevel=2)
    return data


def absolute(source: str | Path) -> str:
    """The path or name of a source, absolute where it is a path, so that it is found from anywhere."""
    path = locate(source)
    if path is None and set(str(source)) & set("*?["):  # a pattern of files
        return str(Path(os.path.expanduser(source)).absolute())  # noqa: PTH111  as `locate` does
    return str(path.resolve()) if path else str(source)


def assemble(raw: RawDataset, reading: Reading, origin: str | None = None) -> Dataset:
    """The checked Dataset of what a reader found; holds out what is missing. Raises DataError."""
    parts, codes, classes = _labelled(raw)
    raw = replace(raw, splits={})  # so that rows are let go of as they are moved to splits
    labels.all_classes(codes["train"], classes, raw.name)
    held_out, test_rows = _hold_out_missing(parts, codes, raw, reading)
    remedy = f"they were held out: hold a part of every class out with {option('holdout', 'stratified')}"
    labels.all_classes(codes["train"], classes, raw.name, remedy)
    groups = [of for name in ("train", "valid") if (of := parts[name].groups) is not None]
    said = suspicious.classes(codes["train"], classes, raw.name)
    said += suspicious.Said(suspicious.twins(classes, raw.name), [])
    preprocessing = None
    if isinstance(first := parts["train"].x, Table):
        preprocessing = Preprocessing.fit(first, f"{raw.name}: train")
        said += suspicious.columns(first, preprocessing, named(reading.categorical, first.columns), raw.name)
        said += suspicious.Said(suspicious.leaks(first, codes["train"], raw.name), [])
        empty = preprocessing.unused(first)
        reading = replace(reading, drop=(*raw.dropped, *empty))  # so that other rows are read without them
        for name, part in parts.items():
            parts[name] = replace(part, x=part.x.without(empty)) if isinstance(part.x, Table) else part
    opens = ledger_keys(parts["test"].x, raw.files, test_rows)
    x, converted = _converted(parts, preprocessing, raw, reading)
    scale = divisor(x["train"], raw.divisor, reading.divisor)
    splits = {name: Split(x[name], codes[name], scale, None, opens if name == "test" else ()) for name in SPLITS}
    hashes = {name: checks.row_hashes(split.x) for name, split in splits.items()}
    shared = checks.overlaps(x, hashes, raw.name)
    severe = [*said.severe, *(note for note, many in shared if many)]
    severe += [note] if preprocessing is None and (note := checks.unscaled(x["train"], scale, raw.name)) else []
    notes = [*raw.notes, *held_out, *converted, *said.notes, *(note for note, _ in shared), *severe]
    train, valid, test = (splits[name] for name in SPLITS)
    data = Dataset(
        train, valid, test, classes, raw.name, raw.files, tuple(dict.fromkeys(notes)), preprocessing,
        _rooted(reading, origin), origin, np.concatenate(groups) if len(groups) == 2 else None, tuple(severe),
    )  # fmt: skip
    data.__dict__["known_rows"] = KnownRows.of(hashes)  # the cached property, whose work is done here anyway
    return data


def _hold_out_missing(
    parts: dict[str, RawSplit], codes: dict[str, np.ndarray], raw: RawDataset, reading: Reading
) -> tuple[list[str], np.ndarray | None]:
    """Move rows of train to the splits that are missing; notes, and the numbers of the rows that test was given."""
    notes, test_rows = [], None
    for name in ("test", "valid"):
        if name not in parts:
            chosen, how = _held_out(name, parts["train"], codes["train"], raw, reading)
            rest = np.setdiff1d(np.arange(len(codes["train"])), chosen, assume_unique=True)
            for held in (parts, codes):
                held[name], held["train"] = _take(held["train"], chosen), _take(held["train"], rest)
            notes.append(f"{name}: {len(chosen):,} rows held out of train, {how}")
            test_rows = chosen if name == "test" else test_rows
    return notes, test_rows


def _converted(
    parts: dict[str, RawSplit], preprocessing: Preprocessing | None, raw: RawDataset, reading: Reading
) -> tuple[dict[str, Rows], list[str]]:
    """The features of every part as they are stored, and notes. The parts are let go of one by one."""
    x: dict[str, Rows] = {}
    notes, left = [], memory_limit(reading.host_memory)
    for name in SPLITS:
        part = parts.pop(name).x
        rows, note = _features(part, preprocessing, f"{raw.name}: {name}", left)
        left -= rows.nbytes if isinstance(part, Table) and isinstance(rows, np.ndarray) else 0
        x[name] = rows
        notes += [f"{name}: {note}"] if note else []
    notes += [note] if preprocessing is None and (note := checks.merged_numbers(x["train"])) else []
    for name in SPLITS:
        x[name], note = cast_storage(x[name], reading.storage, f"{raw.name}: {name}")
        notes += [f"{name}: {note}"] if note else []
    return x, notes


def _rooted(reading: Reading, origin: str | None) -> Reading:
    """`reading` with absolute paths, so that a run can read the same files again from anywhere."""
    given = {name: getattr(reading, name) for name in ("labels_from", "valid", "test")} if origin else {}
    paths: dict[str, Any] = {name: absolute(path) for name, path in given.items() if isinstance(path, (str, Path))}
    return replace(reading, **paths)


def _labelled(raw: RawDataset) -> tuple[dict[str, RawSplit], dict[str, np.ndarray], tuple[str, ...]]:
    """The parts that were found, their labels as codes, and the class names."""
    unknown = [name for name in raw.splits if name not in SPLITS]
    if unknown or "train" not in raw.splits:
        raise DataError(
            f"{raw.name}: holds the splits {', '.join(map(repr, raw.splits))}; they must be called train, and valid or "
            f"test where there are such"
        )
    parts, labels_of = {}, {}
    for name, part in raw.splits.items():
        where = f"{raw.name}: {name}"
        if part.y is None:
            remedy = f"give them with {option('labels_from', 'FILE')}, or {option('label', 'COLUMN')} for a table"
            raise DataError(f"{where} has no labels; {remedy if len(raw.splits) == 1 else 'put them beside it'}")
        x = part.x if isinstance(part.x, Table) else _view(checks.features(part.x, where))
        parts[name], labels_of[name] = replace(part, x=x), np.asarray(part.y)
        checks.same_length(x, labels_of[name], where)
    arrays = {name: part.x for name, part in parts.items() if not isinstance(part.x, Table)}
    checks.same_shape(arrays, raw.name) if arrays else None
    codes, classes = labels.encode_labels(labels_of, raw.name, raw.classes)
    return parts, codes, classes


def _features(x: Any, preprocessing: Preprocessing | None, where: str, limit: int) -> tuple[Rows, str]:
    """The features of a part: arrays as they are, tables by the preprocessing; and a note where they go to a file."""
    if isinstance(x, Table) != (preprocessing is not None):
        in_train = "a table" if preprocessing else "arrays"
        raise DataError(f"{where}: holds {'a table' if isinstance(x, Table) else 'arrays'}, but train holds {in_train}")
    if preprocessing is None:
        return x, ""
    rows, note = features(preprocessing, x, where, limit)
    return frozen(rows), note


def _held_out(name: str, part: RawSplit, y: np.ndarray, raw: RawDataset, reading: Reading) -> tuple[np.ndarray, str]:
    """Numbers of the train rows that become the split `name`, and how they were chosen, in words."""
    rows, seed = len(y), reading.split_seed
    fraction = reading.test_fraction if name == "test" else reading.valid_fraction
    count = int(rows * fraction + 1e-9)  # 1/6 of 60,000 is 10,000, also in binary
    if part.groups is not None:
        chosen, how = holdout.grouped(part.groups, count, seed), f"whole groups of {reading.group}, seed {seed}"
    elif part.times is not None:
        chosen, how = holdout.latest(part.times, count), f"the latest by {reading.time}"
    elif reading.holdout == "last" or (reading.holdout == "auto" and raw.ordered_holdout):
        chosen, how = holdout.last(rows, count), "the last rows in order"
    else:
        chosen, how = holdout.stratified(y, count, seed), f"a stratified draw with seed {seed}"
    if not 0 < len(chosen) < rows:
        raise DataError(
            f"{raw.name}: {rows} rows are too few to hold {fraction:.3g} of them out as {name} ({how}); bring a "
            f"validation and a test split"
        )
    return chosen, how


def _take(held: Any, rows: np.ndarray) -> Any:
    if isinstance(held, RawSplit):
        groups, times = (None if of is None else of[rows] for of in (held.groups, held.times))
        return RawSplit(_take(held.x, rows), None, groups, times)
    if not isinstance(held, Table) and len(rows) and rows[-1] - rows[0] == len(rows) - 1:
        return held[rows[0] : rows[-1] + 1]  # a slice copies nothing
    if isinstance(held, np.ndarray):
        out = zeros((len(rows), *held.shape[1:]), held.dtype)
        gather(held, rows, out)
        return frozen(out)
    return held[rows]


def _view(x: Rows) -> Rows:
    """Rows that cannot be written to: the caller may still write to an array of theirs, we never do."""
    if isinstance(x, np.ndarray):
        x = x.view()
        x.flags.writeable = False
    return x


def divisor(x: Rows, of_source: float | None, requested: float | None) -> float:
    """What stored features are divided by: as asked, as the source knows, or 255 for uint8 images."""
    for given in (requested, of_source):
        if given is not None:
            return float(given)
    return 255.0 if x.dtype == np.uint8 and x.ndim >= 3 else 1.0
