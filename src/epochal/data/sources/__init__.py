"""Readers, one file a format: from a path, a name or objects to arrays in the file's dtype. Nothing is executed.

A reader is imported where its format is met: all of them take as long to import as a small data set to train on.
"""

import re
from collections.abc import Collection, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from epochal.data.options import Reading
from epochal.data.sources.arrays import catalog
from epochal.data.sources.files import TABLES, TEXT, check_kind, locate, memory_limit, read_bytes, suffix_of
from epochal.data.sources.types import Part, Raw
from epochal.errors import DataError, RecipeError, escaped, option


def read(source: Any, reading: Reading, *, labelled: bool = True) -> Raw:
    """What `source` holds, not yet checked against itself. See `epochal.load` for what a source may be.

    Where it is not to be `labelled`, a column or folder of labels may be missing, and is left out if it is there.
    Raises RecipeError for options that the source has no use for, but for those that `reading` has inherited.
    """
    try:
        return _presentable(_read(source, reading, labelled))
    except DataError as error:
        if (message := _shown(str(error), source)) != str(error):
            raise type(error)(message) from None
        raise


def _read(source: Any, reading: Reading, labelled: bool) -> Raw:
    raw = _read_one(source, reading, memory_limit(reading.host_memory), labelled)
    if reading.labels_from is not None:
        raw = _labelled(raw, reading.labels_from, memory_limit(reading.host_memory))
    paths = {name: path for name in ("valid", "test") if (path := getattr(reading, name))}
    others = Reading().inheriting(reading.to_dict()) if paths else reading
    # What is free, where that is the limit, is less now.
    read_too = {
        name: _read_one(path, others, memory_limit(reading.host_memory), labelled) for name, path in paths.items()
    }
    return _joined(raw, read_too) if read_too else raw


_MOST_LINE = 2000
_CONTROL = re.compile(r"[\x00-\x09\x0b-\x1f\x7f-\x9f\ud800-\udfff\u2028\u2029\u202a-\u202e\u2066-\u2069]")


def _shown(message: str, source: Any = None) -> str:
    """A message in at most three lines, without control characters that came from a file or its name."""
    name = str(source) if isinstance(source, (str, Path)) else ""
    if name and escaped(name) != name:  # it cannot be printed, or is long
        message = message.replace(name, escaped(name))
    first, *others = _CONTROL.sub(lambda found: repr(found[0])[1:-1], message).split("\n")
    lines = [first, *others] if len(others) < 3 else ["\\n".join([first, *others[:-2]]), *others[-2:]]
    return "\n".join(line if len(line) <= _MOST_LINE else line[: _MOST_LINE - 1] + "…" for line in lines)


def _presentable(raw: Raw) -> Raw:
    """`raw` with notes that are one line each."""
    return replace(raw, name=escaped(raw.name), notes=tuple(escaped(note, _MOST_LINE) for note in raw.notes))


ALWAYS = (
    "valid", "test", "holdout", "valid_fraction", "test_fraction", "split_seed", "divisor", "storage", "host_memory",
    "offline",
)  # fmt: skip
"""Fields of a reading that any source has a use for."""

_FOR = {
    **dict.fromkeys(("label", "drop", "categorical", "split_column", "group", "time", "skip_unlabelled"), "tables"),
    **dict.fromkeys(("separator", "header", "decimal", "thousands", "missing", "known_missing", "encoding"),
                    "text tables (CSV)"),
    **dict.fromkeys(("image_size", "color"), "images"),
    "labels_from": "features in a file or array of their own",
}  # fmt: skip


def _check(reading: Reading, reads: Collection[str], name: str, kind: str) -> None:
    """Raise RecipeError for an option that a source of this kind has no use for."""
    for field in reading.given:
        if field not in reads and field not in ALWAYS and field not in reading.inherited:
            value = getattr(reading, field)
            shown = list(value) if isinstance(value, tuple) else value if isinstance(value, (str, bool)) else None
            raise RecipeError(f"{option(field, shown)}: is for {_FOR[field]}, and {name} is {kind}; leave it out")


def _read_one(source: Any, reading: Reading, limit: int, labelled: bool) -> Raw:
    if isinstance(source, (str, Path)):
        return _read_named(source, reading, limit, labelled)
    from epochal.data.sources.arrays import pairs
    from epochal.data.sources.huggingface import datasets
    from epochal.data.sources.tables import frames

    if datasets.is_dataset(source):
        _check(reading, datasets.READS, "the source", "a data set of Hugging Face")
        return datasets.read_object(source, reading, limit, labelled=labelled)
    if frames.holds_frames(source):
        kind, reads = frames.reads(source, reading)
        _check(reading, reads, "the source", kind)
        return frames.read(source, reading, limit, labelled=labelled)
    _check(reading, ("labels_from",), "the source", "arrays")
    if reading.labels_from is not None and not isinstance(source, (tuple, Mapping)):
        return Raw("arrays", {"train": Part(pairs.as_array(source, "arrays: features"))})
    return pairs.read(source)


def _read_named(source: str | Path, reading: Reading, limit: int, labelled: bool) -> Raw:
    path = locate(source)
    if path is None:
        if str(source).lower() in catalog.NAMES:
            _check(reading, (), str(source), "a data set known by its name")
            return catalog.read(str(source).lower(), offline=reading.offline, limit=limit)
        from epochal.data.sources.tables import table_files

        if files := table_files.matching(str(source)):
            for file in files:
                _check_path(file)
            return _read_table(files, reading, limit, labelled, str(source))
        raise DataError(_unknown(str(source)))
    _check_path(path)
    if path.is_dir():
        return _read_folder(path, reading, limit, labelled)
    return _read_file(path, reading, limit, labelled)


def _check_path(path: Path) -> None:
    """Raise DataError for pipes and devices, and for a path that no text can hold: a run keeps it in text files."""
    check_kind(path)
    whole = str(path.resolve())
    if any("\ud800" <= c <= "\udfff" for c in whole):
        raise DataError(
            f"{escaped(whole)}: the name of this file or of a folder above it is no UTF-8, and cannot be kept in a "
            f"run; rename it, or call it through a link of another name in another folder"
        )


def _read_file(path: Path, reading: Reading, limit: int, labelled: bool) -> Raw:
    suffix = suffix_of(path)
    if suffix in TABLES:
        return _read_table([path], reading, limit, labelled)
    from epochal.data.sources.arrays import idx, npy, pickle_file

    _check(reading, ("labels_from",), str(path), "a file of arrays")
    if suffix in (".pkl", ".pickle"):
        return pickle_file.read(path, limit)
    if suffix == ".npz":
        return npy.read_archive(path, limit)
    if suffix == ".npy":
        return npy.read_array(path, limit)
    if idx.is_idx(path):
        return idx.read_file(path, limit, alone=reading.labels_from is not None)
    raise DataError(
        f"{path}: the form of this file is not known; epochal reads .pkl and .pkl.gz as the tutorials write them, "
        f"IDX files and folders of them, .npz and .npy, and tables: {', '.join(TABLES)}"
    )


def _read_table(files: Sequence[Path], reading: Reading, limit: int, labelled: bool, name: str = "") -> Raw:
    from epochal.data.sources.tables import table_files

    text = suffix_of(files[0]) in TEXT
    kind = "a text table" if text else "a table in Parquet or Arrow form"
    _check(reading, table_files.READS_TEXT if text else table_files.READS, name or str(files[0]), kind)
    return table_files.read_table(files, reading, limit, labelled=labelled, name=name)


def _read_folder(path: Path, reading: Reading, limit: int, labelled: bool) -> Raw:
    from epochal.data.sources.arrays import idx
    from epochal.data.sources.huggingface import datasets
    from epochal.data.sources.images import image_folder

    if datasets.is_saved(path):
        _check(reading, datasets.READS, str(path), "a data set of Hugging Face")
        return datasets.read_saved(path, reading, limit, labelled=labelled)
    if any(path.glob("*-ubyte*")):
        _check(reading, ("labels_from",), str(path), "a folder of IDX files")
        return idx.read_folder(path, limit)
    if image_folder.is_folder(path):
        _check(reading, image_folder.READS, str(path), "a folder of images")
        return image_folder.read_folder(path, reading, limit, labelled=labelled)
    raise DataError(
        f"{path}: the form of this folder is not known; epochal reads folders of images (a sub-folder a class), of IDX "
        f"files (train-images-idx3-ubyte and the like), and what save_to_disk of datasets wrote"
    )


def _joined(raw: Raw, others: Mapping[str, Raw]) -> Raw:
    """`raw` with splits from files of their own, each of which holds one split."""
    splits, files, notes = dict(raw.splits), raw.files, raw.notes
    for name, other in others.items():
        if name in splits or len(other.splits) != 1:
            there = raw if name in splits else other
            raise DataError(
                f"{there.name}: holds {', '.join(there.splits)}, and {option(name)} names a file for {name}; "
                f"each split may come from one place only"
            )
        if twice := {path.resolve() for path in files} & {path.resolve() for path in other.files}:
            raise DataError(
                f"{min(twice)}: is named twice, also for {name} ({option(name)}); each file holds the rows of one "
                f"split: leave one of the two out"
            )
        splits[name] = next(iter(other.splits.values()))
        files, notes = (*files, *other.files), (*notes, *other.notes)
    return replace(raw, splits=splits, files=files, notes=notes)


def _labelled(raw: Raw, labels: Any, limit: int) -> Raw:
    """`raw`, whose only split has no labels, with these: an array, or a file of one (`.npy` or IDX)."""
    if list(raw.splits) != ["train"] or raw.splits["train"].y is not None:
        raise DataError(
            f"{raw.name}: holds labels or splits of its own, and labels are given; leave {option('labels_from')} out"
        )
    from epochal.data.sources.arrays import idx, npy, pairs

    files = raw.files
    if isinstance(labels, (str, Path)):
        path = locate(labels)
        if path is None:
            raise DataError(f"labels: there is no file {escaped(str(labels))}; check its path")
        files = (*files, path)
        labels = idx.read_idx(path, limit) if idx.is_idx(path) else npy.read_npy(read_bytes(path, limit), str(path))
    part = replace(raw.splits["train"], y=pairs.as_array(labels, f"{raw.name}: labels"))
    return replace(raw, splits={"train": part}, files=files)


def _unknown(source: str) -> str:
    names = ", ".join(catalog.NAMES)
    return f"{source}: there is no such file or folder, and no data set of that name ({names}); check the path"


__all__ = ["Part", "Raw", "read"]
