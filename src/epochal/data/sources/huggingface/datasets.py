"""Data sets of Hugging Face's `datasets`: folders that `save_to_disk` wrote, and objects; read with pyarrow alone.

folder/state.json, dataset_info.json, data-00000-of-00001.arrow        a Dataset
folder/dataset_dict.json, folder/train/…, folder/test/…                a DatasetDict
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from epochal.data.options import Reading
from epochal.data.sources.files import brief, read_bytes
from epochal.data.sources.huggingface.splits import Files, Held, Source
from epochal.data.sources.tables import roles, splits, table_files
from epochal.data.sources.tables.column_builder import as_key, joined
from epochal.data.sources.tables.roles import Roles
from epochal.data.sources.types import SPLIT_NAMES, Context, RawDataset, RawSplit, Reader, split_of
from epochal.data.table import Column
from epochal.errors import DataError, RecipeError, option

_OPTIONS = (*table_files.OPTIONS, "image_size", "color")
_MAX_JSON = 1 << 24
_ROW = "row"


class SavedDataset(Reader):
    """A folder that `save_to_disk` wrote."""

    formats, kind, options = "what save_to_disk of datasets wrote", "a data set of Hugging Face", _OPTIONS

    def matches(self, source: Any) -> bool:
        names = ("state.json", "dataset_info.json")
        return isinstance(source, Path) and (
            (source / "dataset_dict.json").is_file() or all((source / name).is_file() for name in names)
        )

    def read(self, folder: Path, context: Context) -> RawDataset:
        splits: dict[str, Path] = {"": folder}
        if (folder / "dataset_dict.json").is_file():
            names = _json(folder / "dataset_dict.json").get("splits")
            if not isinstance(names, list) or not all(isinstance(name, str) for name in names):
                raise DataError(f"{folder / 'dataset_dict.json'}: holds no list of splits; save the data set again")
            splits = {name: folder / name for name in _known(names, str(folder))}
        held: dict[str, tuple[Source, Any]] = {}
        files: list[Path] = []
        for name, place in splits.items():
            state = _json(place / "state.json")
            listed = state.get("_data_files")
            paths = [one.get("filename") for one in listed if isinstance(one, dict)] if isinstance(listed, list) else []
            if not paths or not all(isinstance(p, str) and Path(p).name == p and _is_there(place / p) for p in paths):
                raise DataError(
                    f"{place / 'state.json'}: names no data files that lie beside it ({str(paths)[:80]}); fetch the "
                    f"whole folder, or save the data set again"
                )
            if state.get("_indices_data_files"):
                raise DataError(
                    f"{place / 'state.json'}: the rows have an index (an old form); save the data set again"
                )
            data_files = [place / str(path) for path in paths]
            held[name] = (
                Files(str(place), data_files, context.limit),
                _json(place / "dataset_info.json").get("features"),
            )
            files += data_files
        raw = _read(folder.name or str(folder), held, context)
        return replace(raw, files=tuple(files))


class DatasetObject(Reader):
    """A Dataset or a DatasetDict, whichever rows and columns it shows; its format is not looked at."""

    formats, kind, options = "", "a data set of Hugging Face", _OPTIONS

    def matches(self, source: Any) -> bool:
        return is_dataset(source)

    def read(self, source: Any, context: Context) -> RawDataset:
        several = (
            {name: source[name] for name in _known(list(source), "datasets")} if isinstance(source, Mapping) else None
        )
        held: dict[str, tuple[Source, Any]] = {}
        for name, one in (several or {"": source}).items():
            indices = getattr(one, "_indices", None)
            order = None if indices is None else np.asarray(indices.column(0)).astype(np.int64)
            table = getattr(one.data, "table", one.data)
            features = one.features.to_dict() if hasattr(one.features, "to_dict") else {}
            held[name] = Held(f"datasets: {name}".removesuffix(": "), table, order, context.limit), features
        return _read("datasets", held, context)


def is_dataset(source: Any) -> bool:
    if isinstance(source, Mapping):
        return bool(source) and all(is_dataset(value) for value in source.values())
    return hasattr(source, "features") and hasattr(getattr(source, "data", None), "column_names")


def _is_there(path: Path) -> bool:
    try:
        return path.is_file()
    except (OSError, ValueError):  # a name that is too long, or no text
        return False


def _json(path: Path) -> dict[str, Any]:
    try:
        value = json.loads(bytes(read_bytes(path, _MAX_JSON)))
    except (ValueError, RecursionError) as error:
        raise DataError(f"{path}: is no JSON ({brief(error)[:80]}); fetch the folder again") from None
    if not isinstance(value, dict):
        raise DataError(f"{path}: holds {type(value).__name__}, expected an object; fetch the folder again")
    return value


def _known(names: Sequence[str], where: str) -> list[str]:
    splits_of = [split_of(name) for name in names]
    if None in splits_of or len(set(splits_of)) < len(splits_of) or not splits_of:
        raise DataError(
            f"{where}: holds the splits {', '.join(str(name)[:40] for name in names[:8])}; expected {SPLIT_NAMES}, "
            f"each once at most: save those alone"
        )
    return list(names)


def _read(name: str, held: Mapping[str, tuple[Source, Any]], context: Context) -> RawDataset:
    reading, labelled = context.options, context.labelled
    if "" not in held and labelled and reading.split_column is not None:
        raise DataError(
            f"{name}: holds splits, and split_column={reading.split_column!r} names them again; leave it out"
        )
    parted: dict[str, RawSplit] = {}
    notes: dict[str, None] = {}
    dropped: tuple[str, ...] = ()
    for split, (source, features) in held.items():
        split_of_source, said, dropped = _parts(source, features, reading, labelled)
        parted |= {str(split_of(split)): split_of_source["train"]} if split else split_of_source
        notes |= dict.fromkeys(said)
    return RawDataset(name, parted, notes=tuple(notes), dropped=dropped)


def _parts(
    source: Source, features: Any, reading: Reading, labelled: bool
) -> tuple[dict[str, RawSplit], list[str], tuple[str, ...]]:
    """The rows of one source by split, what was inferred, and the columns that were left out."""
    where, notes = source.where, []
    classes = _classes(features)
    outline = source.outline
    if not sum(outline["rows"]):
        raise DataError(f"{where}: has {len(outline['names'])} columns, but no row; leave the split out, or fill it")
    if reading.label is None and reading.labels_from is None and len(classes) == 1:
        reading = replace(reading, label=next(iter(classes)))
        notes.append(f"the labels are in column {reading.label!r}, the only one of classes")
    assigned = roles.assign(outline["names"], reading, where, labelled=labelled)
    for name in (*assigned.features, *assigned.keys):
        _check_classes(classes.get(name, []), f"{where}: column {name!r}")
    kinds = dict(zip(outline["names"], outline["kinds"], strict=True))
    for kind in ("image", "array"):
        columns = [name for name in assigned.features if kinds[name] == kind]
        if len(columns) > 1:
            raise DataError(
                f"{where}: columns {', '.join(map(repr, columns[:6]))} hold {kind}s; one of them can be the features: "
                f"leave out the others with {option('drop')}"
            )
        if columns:
            if kind == "array":
                _no_images(reading, where)
            parted, notes = _of_one(source, columns[0], kind, assigned, classes, reading, notes)
            return parted, [*notes, *roles.index_notes(assigned, where)], assigned.dropped
    _no_images(reading, where)
    plain, where_kept = source.cells(assigned, classes)
    raw = table_files.assembled(plain, assigned, source.place, where, declared=tuple(classes))
    return dict(raw.splits), [*notes, *raw.notes, *where_kept], assigned.dropped


def _no_images(reading: Reading, where: str) -> None:
    for name in ("image_size", "color"):
        if name in reading.given and name not in reading.inherited:
            raise RecipeError(f"{option(name, getattr(reading, name))}: is for images, and {where} has no column of "
                              f"images; leave it out")  # fmt: skip


def _check_classes(names: Sequence[str], where: str) -> None:
    """Raise DataError for a name of a class that occurs twice, or ends in NUL: names stay as they are."""
    seen: dict[str, int] = {}
    for place, name in enumerate(names):
        first = seen.setdefault(name, place)
        if first < place:
            raise DataError(f"{where}: classes {first} and {place} are both called {name[:80]!r}; rename one of them")
        if not _is_text(name):
            raise DataError(f"{where}: class {place} is called {name[:80]!r}, which is no text (half a character); "
                            f"rename it")  # fmt: skip
        if name.endswith("\0"):
            raise DataError(
                f"{where}: class {place} is called {name[:80]!r}, whose last character is NUL, which text cannot keep; "
                f"rename it"
            )


def _is_text(name: str) -> bool:
    try:
        return bool(name.encode()) or not name
    except UnicodeEncodeError:
        return False


def _of_one(
    source: Source,
    column: str,
    kind: str,
    assigned: Roles,
    classes: Mapping[str, list[str]],
    reading: Reading,
    notes: list[str],
) -> tuple[dict[str, RawSplit], list[str]]:
    others = [name for name in assigned.features if name != column]
    if others and kind == "array":
        raise DataError(
            f"{source.where}: column {column!r} holds arrays, and {', '.join(map(repr, others[:6]))} cells besides; "
            f"features are one of the two: leave columns out with {option('drop')}"
        )
    roles_of_keys = replace(assigned, features=(), categorical=())
    cells, where_kept = source.cells(roles_of_keys, classes)
    keys = {info.name: replace(as_key(info, joined(chunks)), declared=info.name in classes) for info, chunks in cells}
    if kind == "image":
        x, done = source.images(column, reading)
        notes += [*done, *([f"left out beside the images: {', '.join(others[:8])}"] if others else [])]
    else:
        x, done = source.array(column)
        notes += done
    notes += where_kept
    rows = Column("number", np.arange(len(x), dtype=np.float64))
    split, skipped = splits.parts({_ROW: rows}, keys, replace(roles_of_keys, features=(_ROW,)), source.place)
    notes += skipped
    if len(split) == 1 and not skipped:
        return {name: replace(part, x=x) for name, part in split.items()}, notes
    of = {name: part.x.columns[_ROW].array.astype(np.int64) for name, part in split.items()}  # type: ignore[union-attr]
    return {name: replace(part, x=x[of[name]]) for name, part in split.items()}, notes


def _classes(features: Any) -> dict[str, list[str]]:
    """The names of the classes, by column. Features of another form say nothing."""
    classes = {}
    for name, feature in features.items() if isinstance(features, dict) else ():
        names = feature.get("names") if isinstance(feature, dict) and feature.get("_type") == "ClassLabel" else None
        if isinstance(names, list) and names and all(isinstance(one, str) for one in names):
            classes[name] = names
    return classes
