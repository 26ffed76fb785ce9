"""IDX, the form of the original MNIST files, plain or gzip: magic number, sizes, then the numbers, big-endian.

Layout: http://yann.lecun.com/exdb/mnist (two zero bytes, a type byte, the number of axes, each axis as 32 bits).
"""

import struct
from math import prod
from pathlib import Path
from typing import Any

import numpy as np

from epochal.data.sources.files import first_bytes, read_bytes
from epochal.data.sources.types import Context, RawDataset, RawSplit, Reader
from epochal.errors import DataError

_TYPES = {0x08: "u1", 0x09: "i1", 0x0B: ">i2", 0x0C: ">i4", 0x0D: ">f4", 0x0E: ">f8"}
_MAX_AXES = 8  # the header has room for 255; images have 3 or 4
_FILES = {
    "train": ("train-images-idx3-ubyte", "train-labels-idx1-ubyte"),
    "test": ("t10k-images-idx3-ubyte", "t10k-labels-idx1-ubyte"),
}


def is_idx(path: Path) -> bool:
    """Whether `path` looks like IDX, by its name or its first bytes."""
    if "ubyte" in path.name or path.name.removesuffix(".gz").endswith((".idx", ".idx1", ".idx3")):
        return True
    return _is_magic(first_bytes(path, 4))


class IdxFile(Reader):
    """A file of examples; its labels are in the file that the usual names put beside it."""

    formats, kind, options = "IDX files", "a file of arrays", ("labels_from",)

    def matches(self, source: Any) -> bool:
        return isinstance(source, Path) and not source.is_dir() and is_idx(source)

    def read(self, source: Path, context: Context) -> RawDataset:
        return read_file(source, context.limit, alone=context.options.labels_from is not None)


class IdxFolder(Reader):
    """A folder of the four usual files."""

    formats, kind, options = (
        "folders of them (train-images-idx3-ubyte and the like)",
        "a folder of IDX files",
        ("labels_from",),
    )

    def matches(self, source: Any) -> bool:
        return isinstance(source, Path) and any(source.glob("*-ubyte*"))

    def read(self, source: Path, context: Context) -> RawDataset:
        return read_folder(source, context.limit)


def _is_magic(head: bytes | memoryview) -> bool:
    return len(head) == 4 and head[:2] == b"\0\0" and head[2] in _TYPES and 0 < head[3] <= _MAX_AXES


def read_folder(folder: Path, limit: int) -> RawDataset:
    """A folder with the four usual names, each plain or with `.gz`; the two test files may be missing."""
    pairs: dict[str, tuple[Path, Path]] = {}
    for split, names in _FILES.items():
        paths = [_find(folder, name) for name in names]
        if paths[0] and paths[1]:
            pairs[split] = (paths[0], paths[1])
        elif paths[0] or paths[1] or split == "train":
            missing = next(name for name, path in zip(names, paths, strict=True) if path is None)
            raise DataError(
                f"{folder}: no file {missing} or {missing}.gz in this folder; "
                f"IDX folders hold {', '.join(name for pair in _FILES.values() for name in pair)}"
            )
    return _read(folder.name or str(folder), pairs, limit)


def read_file(path: Path, limit: int, *, alone: bool = False) -> RawDataset:
    """An IDX file of examples; its labels are in the file that the usual names put beside it, unless read `alone`."""
    name = path.name.removesuffix(".gz")
    labels = _find(path.parent, name.replace("images", "labels").replace("idx3", "idx1"))
    if alone or labels is None or "images" not in name:
        return RawDataset(path.name, {"train": RawSplit(read_idx(path, limit))}, (path,))
    return _read(path.name, {"train": (path, labels)}, limit)


def read_idx(path: Path, limit: int) -> np.ndarray:
    """The array in an IDX file, a view of the bytes read; raises DataError unless its size is exactly as declared."""
    data = read_bytes(path, limit, mappable=True)
    if not _is_magic(data[:4]):
        raise DataError(
            f"{path}: byte 0: magic number {bytes(data[:4]).hex(' ')}, expected 00 00, a type (08, 09, 0b to 0e) and "
            f"1 to {_MAX_AXES} axes; this is no IDX file"
        )
    dtype, axes = np.dtype(_TYPES[data[2]]), data[3]
    begin = 4 + 4 * axes
    if len(data) < begin:
        raise DataError(
            f"{path}: byte {len(data):,}: the file ends within its header of {begin} bytes; it is cut short, "
            f"fetch it again"
        )
    shape = struct.unpack_from(f">{axes}I", data, 4)
    expected = begin + prod(shape) * dtype.itemsize
    if len(data) != expected:
        raise DataError(
            f"{path}: byte {len(data):,}: the file ends here, but its header declares {'×'.join(map(str, shape))} "
            f"{dtype.name}, which end at byte {expected:,}; it is "
            f"{'cut short' if len(data) < expected else 'damaged'}, fetch it again"
        )
    if 0 in shape:
        raise DataError(f"{path}: byte 4: its header declares {'×'.join(map(str, shape))}: no value; fetch it again")
    return np.frombuffer(data, dtype, offset=begin).reshape(shape)


def _read(name: str, pairs: dict[str, tuple[Path, Path]], limit: int) -> RawDataset:
    splits = {split: RawSplit(read_idx(x, limit), read_idx(y, limit)) for split, (x, y) in pairs.items()}
    files = tuple(path for pair in pairs.values() for path in pair)
    usual = len(splits) == 2
    return RawDataset(name, splits, files, ordered_holdout=usual)


def _find(folder: Path, name: str) -> Path | None:
    return next((p for p in (folder / name, folder / f"{name}.gz") if p.is_file()), None)
