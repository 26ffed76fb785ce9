"""Readers, one file a format: from a path, a name or objects to arrays in the file's dtype. Nothing is executed.

A new format is a class in a file (see `types.Reader`) and a line in `READERS`. Its module is imported when a source is
met that no reader before it matches: all of them take as long to import as a small data set to train on.
"""

import re
from collections.abc import Iterator, Mapping
from dataclasses import replace
from importlib import import_module
from pathlib import Path
from typing import Any

from epochal.data.options import Reading
from epochal.data.sources.files import check_path, locate, memory_limit, read_bytes
from epochal.data.sources.types import Context, RawDataset, RawSplit, Reader
from epochal.errors import DataError, escaped, option

READERS: list[str | Reader] = [
    "arrays.catalog:Catalog",
    "arrays.pickle_file:PickleFile",
    "arrays.npy:NpzFile",
    "arrays.npy:NpyFile",
    "tables.table_files:TextTable",
    "tables.table_files:ArrowTable",
    "arrays.idx:IdxFile",
    "huggingface.datasets:SavedDataset",
    "arrays.idx:IdxFolder",
    "images.image_folder:ImageFolder",
    "huggingface.datasets:DatasetObject",
    "tables.frames:Frames",
    "arrays.pairs:Arrays",
]
"""In the order in which they are asked; a text is a module of this package and a class in it."""


def readers() -> Iterator[Reader]:
    """The readers of `READERS`, each imported when it is its turn."""
    for reader in READERS:
        if isinstance(reader, str):
            module, name = reader.split(":")
            reader = getattr(import_module(f"{__name__}.{module}"), name)()
        yield reader


def read(source: Any, reading: Reading, *, labelled: bool = True) -> RawDataset:
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


def _read(source: Any, reading: Reading, labelled: bool) -> RawDataset:
    raw = _read_one(source, Context(reading, memory_limit(reading.host_memory), labelled))
    if reading.labels_from is not None:
        raw = _with_labels(raw, reading.labels_from, memory_limit(reading.host_memory))
    paths = {name: path for name in ("valid", "test") if (path := getattr(reading, name))}
    others = Reading().inheriting(reading.to_dict()) if paths else reading
    # What is free, where that is the limit, is less now.
    read_too = {
        name: _read_one(path, Context(others, memory_limit(reading.host_memory), labelled))
        for name, path in paths.items()
    }
    return _joined(raw, read_too) if read_too else raw


def _read_one(source: Any, context: Context) -> RawDataset:
    located, name = source, "the source"
    if isinstance(source, (str, Path)):
        located, name = locate(source) or str(source), str(source)
    if isinstance(located, Path):
        name = str(located)
        check_path(located)
    known = []
    for reader in readers():
        if reader.matches(located):
            if reader.options is not None:
                context.check(reader.options, name, reader.kind)
            return reader.read(located, context)
        known.append(reader.formats)
    if isinstance(located, Path):
        what, formats = "folder" if located.is_dir() else "file", "; ".join(filter(None, known))
        raise DataError(f"{located}: the format of this {what} is not known; epochal reads {formats}")
    from epochal.data.sources.arrays.catalog import NAMES

    names = ", ".join(NAMES)
    raise DataError(
        f"{source}: there is no such file or folder, and no data set of that name ({names}); check the path"
    )


_MOST_LINE = 2000
_CONTROL = re.compile(r"[\x00-\x09\x0b-\x1f\x7f-\x9f\ud800-\udfff\u2028\u2029\u202a-\u202e\u2066-\u2069]")


def _shown(message: str, source: Any = None) -> str:
    """A message in at most three lines, without control characters that came from a file or its name."""
    name = str(source) if isinstance(source, (str, Path)) else ""
    if name and escaped(name) != name:  # it cannot be printed, or is long
        message = message.replace(name, escaped(name))
    first, *others = _CONTROL.sub(lambda match: repr(match[0])[1:-1], message).split("\n")
    lines = [first, *others] if len(others) < 3 else ["\\n".join([first, *others[:-2]]), *others[-2:]]
    return "\n".join(line if len(line) <= _MOST_LINE else line[: _MOST_LINE - 1] + "…" for line in lines)


def _presentable(raw: RawDataset) -> RawDataset:
    """`raw` with notes that are one line each."""
    return replace(raw, name=escaped(raw.name), notes=tuple(escaped(note, _MOST_LINE) for note in raw.notes))


def _joined(raw: RawDataset, others: Mapping[str, RawDataset]) -> RawDataset:
    """`raw` with splits from other files, each of which holds one split."""
    splits, files, notes = dict(raw.splits), raw.files, raw.notes
    for name, other in others.items():
        if name in splits or len(other.splits) != 1:
            holder = raw if name in splits else other
            raise DataError(
                f"{holder.name}: holds {', '.join(holder.splits)}, and {option(name)} names a file for {name}; "
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


def _with_labels(raw: RawDataset, labels: Any, limit: int) -> RawDataset:
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
    split = replace(raw.splits["train"], y=pairs.as_array(labels, f"{raw.name}: labels"))
    return replace(raw, splits={"train": split}, files=files)


__all__ = ["READERS", "Context", "RawDataset", "RawSplit", "Reader", "read"]
