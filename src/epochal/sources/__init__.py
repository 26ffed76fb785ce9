"""Readers, one file a format: from a path, a name or arrays to host arrays in the file's dtype. Nothing is executed."""

from pathlib import Path
from typing import Any

from epochal.errors import DataError
from epochal.sources import arrays, idx, named, npy, tutorials
from epochal.sources.files import memory_limit
from epochal.sources.raw import Raw

_READERS = {
    ".pkl": tutorials.read, ".pickle": tutorials.read, ".npz": npy.read_archive, ".npy": npy.read_arrays,
}  # fmt: skip


def read(source: Any, *, labels: Any = None, offline: bool = False, memory_bytes: int | None = None) -> Raw:
    """What `source` holds, not yet checked against itself. See `epochal.load` for what a source may be."""
    limit = memory_limit(memory_bytes)
    if not isinstance(source, (str, Path)):
        return arrays.read(source, labels)
    path = Path(source).expanduser()
    if not path.exists():
        if str(source).lower() in named.NAMES:
            return named.read(str(source).lower(), offline=offline, limit=limit)
        raise DataError(_unknown(str(source)))
    if path.is_dir():
        return idx.read_folder(path, limit)
    suffix = next((s for s in reversed(path.suffixes) if s != ".gz"), "")
    if reader := _READERS.get(suffix.lower()):
        return reader(path, labels, limit)
    if idx.is_idx(path):
        return idx.read_file(path, labels, limit)
    raise DataError(
        f"{path}: the form of this file is not known; epochal reads .pkl and .pkl.gz as the tutorials write them, "
        f"IDX files and folders of them, .npz and .npy"
    )


def _unknown(source: str) -> str:
    names = ", ".join(named.NAMES)
    return f"{source}: there is no such file or folder, and no data set of that name ({names})"


__all__ = ["Raw", "read"]
