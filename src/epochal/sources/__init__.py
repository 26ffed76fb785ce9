"""Readers, one file a format: from a path, a name or arrays to host arrays in the file's dtype. Nothing is executed."""

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from epochal.errors import DataError
from epochal.sources import arrays, idx, named, npy, tutorials
from epochal.sources.files import locate, memory_limit, read_bytes
from epochal.sources.raw import Raw

_READERS = {
    ".pkl": tutorials.read, ".pickle": tutorials.read, ".npz": npy.read_archive, ".npy": npy.read_array,
}  # fmt: skip


def read(source: Any, *, labels: Any = None, offline: bool = False, memory_bytes: int | None = None) -> Raw:
    """What `source` holds, not yet checked against itself. See `epochal.load` for what a source may be."""
    limit = memory_limit(memory_bytes)
    alone = labels is not None
    if isinstance(source, (str, Path)):
        raw = _read_named(source, alone, offline, limit)
    elif alone and not isinstance(source, (tuple, Mapping)):
        raw = Raw("arrays", {"train": (arrays.as_array(source, "arrays: features"), None)})
    else:
        raw = arrays.read(source)
    return _labelled(raw, labels, limit) if alone else raw


def _read_named(source: str | Path, alone: bool, offline: bool, limit: int) -> Raw:
    path = locate(source)
    if path is None:
        if str(source).lower() in named.NAMES:
            return named.read(str(source).lower(), offline=offline, limit=limit)
        raise DataError(_unknown(str(source)))
    if path.is_dir():
        return idx.read_folder(path, limit)
    suffix = next((s for s in map(str.lower, reversed(path.suffixes)) if s != ".gz"), "")
    if reader := _READERS.get(suffix):
        return reader(path, limit)
    if idx.is_idx(path):
        return idx.read_file(path, limit, alone=alone)
    raise DataError(
        f"{path}: the form of this file is not known; epochal reads .pkl and .pkl.gz as the tutorials write them, "
        f"IDX files and folders of them, .npz and .npy"
    )


def _labelled(raw: Raw, labels: Any, limit: int) -> Raw:
    """`raw`, whose only split has no labels, with these: an array, or a file of one (`.npy` or IDX)."""
    if list(raw.splits) != ["train"] or raw.splits["train"][1] is not None:
        raise DataError(f"{raw.name}: holds labels or splits of its own, and labels are given; leave labels=… out")
    files = raw.files
    if isinstance(labels, (str, Path)):
        path = locate(labels)
        if path is None:
            raise DataError(f"labels: there is no file {labels}; check its path")
        files = (*files, path)
        labels = idx.read_idx(path, limit) if idx.is_idx(path) else npy.read_npy(read_bytes(path, limit), str(path))
    return replace(
        raw, splits={"train": (raw.splits["train"][0], arrays.as_array(labels, f"{raw.name}: labels"))}, files=files
    )


def _unknown(source: str) -> str:
    names = ", ".join(named.NAMES)
    return f"{source}: there is no such file or folder, and no data set of that name ({names}); check the path"


__all__ = ["Raw", "read"]
