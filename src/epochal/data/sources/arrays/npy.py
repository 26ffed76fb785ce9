"""NumPy's `.npy` and `.npz`. NumPy reads the header, the numbers are taken as bytes; an object array is refused."""

import io
import warnings
import zipfile
from math import prod
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np

from epochal.data.sources.files import brief, check_kind, filled, read_bytes
from epochal.data.sources.types import Context, RawDataset, RawSplit, Reader, split_of
from epochal.errors import DataError, option, reading
from epochal.system.memory import format_bytes

_HEADER_BYTES = 1 << 16  # NumPy refuses headers above 10,000 bytes
_MAX_AXES = 32
_MOST_READ = 1 << 21  # in one go; numbers are read by a megabyte, and a list of 20,000 entries fits

_ROLES = dict.fromkeys(("x", "images", "data", "features"), "x")
_ROLES |= dict.fromkeys(("y", "labels", "label", "targets", "target"), "y")
_EXPECTED = (
    "write it with np.savez(FILE, x_train=…, y_train=…, and if you have them x_valid, y_valid, x_test, y_test), "
    "or np.savez(FILE, x=…, y=…)"
)


class NpyFile(Reader):
    """A `.npy` file of examples, without labels."""

    formats, kind, options = ".npy", "a file of arrays", ("labels_from",)
    suffixes = (".npy",)

    def read(self, source: Path, context: Context) -> RawDataset:
        x = read_npy(read_bytes(source, context.limit, mappable=True), str(source))
        return RawDataset(source.name, {"train": RawSplit(x)}, (source,))


class NpzFile(Reader):
    """A `.npz` archive: see `read_archive`."""

    formats, kind, options = ".npz", "a file of arrays", ("labels_from",)
    suffixes = (".npz",)

    def read(self, source: Path, context: Context) -> RawDataset:
        return read_archive(source, context.limit)


def read_archive(path: Path, limit: int) -> RawDataset:
    """A `.npz` archive with arrays called x_train, y_train, x_test, …, or x and y. Others in it stay unread."""
    check_kind(path)
    try:
        with reading(path), path.open("rb") as opened:
            file: Any = _Sparing(opened)
            with zipfile.ZipFile(file) as archive:
                chosen = _choose(_entries(archive, file), path)
                size = sum(info.file_size for info in chosen.values())
                if size > limit:
                    raise DataError(
                        f"{path}: unpacks to {format_bytes(size)}, more than the {format_bytes(limit)} granted for "
                        f"reading; if the file is sound, grant more with {option('host_memory')}"
                    )
                arrays = {role: _read_entry(archive, info, path) for role, info in chosen.items()}
    except DataError:
        raise
    except Exception as error:  # zipfile and zlib raise a dozen kinds for damaged archives
        raise DataError(f"{path}: this is no sound .npz archive ({brief(error)}); fetch or write it again") from None
    splits = {split: RawSplit(x, arrays.get((split, "y"))) for (split, part), x in arrays.items() if part == "x"}
    return RawDataset(path.name, splits, (path,))


class _Sparing:
    """A file whose list of entries is read only where it is of a sane size: zipfile makes 600 bytes of each 46."""

    def __init__(self, file: BinaryIO):
        self._file, self.seek, self.tell, self.seekable = file, file.seek, file.tell, file.seekable

    def read(self, count: int = -1) -> bytes:
        if count > _MOST_READ:
            raise zipfile.BadZipFile(f"its list of entries takes {format_bytes(count)}, at most "
                                     f"{format_bytes(_MOST_READ)} are read")  # fmt: skip
        return self._file.read(count)


def _entries(archive: zipfile.ZipFile, file: Any) -> list[zipfile.ZipInfo]:
    """All entries; raises where the list of them is damaged, so that no split is lost with its entry."""
    entries = archive.infolist()
    for info in entries:
        archive.open(info).close()  # compares the two places that hold its name
    file.seek(-22 - len(archive.comment), io.SEEK_END)
    count = int.from_bytes(file.read(22)[10:12], "little")
    if count != len(entries):
        raise zipfile.BadZipFile(f"{len(entries):,} entries are listed, but {count:,} declared")
    return entries


def _choose(entries: list[zipfile.ZipInfo], path: Path) -> dict[tuple[str, str], zipfile.ZipInfo]:
    """The entry that is the x or y of each split, by their names. Raises DataError where that is not certain."""
    chosen: dict[tuple[str, str], zipfile.ZipInfo] = {}
    for info in entries:
        role = _role(info.filename.removesuffix(".npy")) if info.filename.endswith(".npy") else None
        if role in chosen:
            raise DataError(
                f"{path}: holds both {chosen[role].filename} and {info.filename}, each may be the {role[1]} of "
                f"{role[0]}; write only one of them"
            )
        if role:
            chosen[role] = info
    for split, part in chosen:
        if part == "y" and (split, "x") not in chosen:
            raise DataError(f"{path}: holds {chosen[split, 'y'].filename}, but no features of {split}; {_EXPECTED}")
    if not chosen:
        names = [info.filename for info in entries[:8]]
        raise DataError(
            f"{path}: holds {', '.join(map(ascii, names)) or 'nothing'}{', …' if len(entries) > 8 else ''}, "
            f"none of which is known as features; {_EXPECTED}"
        )
    return chosen


def _role(name: str) -> tuple[str, str] | None:
    """Split and part (x or y) that an array of this name holds: of `x_train`, `X`, `train_images`, `val_labels`, …"""
    words = name.lower().split("_")
    if len(words) == 2 and split_of(words[0]):
        words.reverse()
    part, split = _ROLES.get(words[0]), split_of(words[1] if len(words) == 2 else "train")
    return (split, part) if part and split and len(words) <= 2 else None


def _read_entry(archive: zipfile.ZipFile, info: zipfile.ZipInfo, path: Path) -> np.ndarray:
    if info.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
        raise DataError(f"{path}: {info.filename}: this compression is not read; write it with np.savez_compressed")
    with archive.open(info) as file:
        # As many bytes as are declared are inflated, and then their CRC is checked; read() would inflate all there is.
        return read_npy(filled(file, info.file_size), f"{path}: {info.filename}")


def read_npy(data: bytes | memoryview, where: str) -> np.ndarray:
    """The array in the bytes of a `.npy` file: a view of them. Raises DataError; nothing is unpickled."""
    shape, fortran, dtype, begin = _read_header(data, where)
    if dtype.kind not in "biufSU" or dtype.hasobject or dtype.fields or dtype.subdtype or not dtype.itemsize:
        raise DataError(
            f"{where}: byte 0: dtype {str(dtype)[:80]} is not read; save plain numbers (or text for labels)"
        )
    if len(shape) > _MAX_AXES or any(type(size) is not int or not 0 < size < 2**63 for size in shape):
        raise DataError(
            f"{where}: byte 0: the header declares shape {str(shape)[:80]}, expected at most {_MAX_AXES} sizes from 1; "
            f"the array is empty or damaged, write it again"
        )
    expected = begin + prod(shape) * dtype.itemsize
    if len(data) != expected:
        raise DataError(
            f"{where}: byte {len(data):,}: the array ends here, but its header declares {list(shape)} {dtype}, which "
            f"end at byte {expected:,}; the file is damaged, fetch or write it again"
        )
    return np.frombuffer(data, dtype, offset=begin).reshape(shape, order="F" if fortran else "C")


def _read_header(data: bytes | memoryview, where: str) -> tuple[tuple[int, ...], bool, np.dtype, int]:
    """Shape, whether in Fortran's order, dtype, and the byte at which the numbers begin."""
    stream = io.BytesIO(data[:_HEADER_BYTES])
    try:
        version = np.lib.format.read_magic(stream)
        if version not in ((1, 0), (2, 0), (3, 0)):
            raise ValueError(f"version {version[0]}.{version[1]}, expected 1.0, 2.0 or 3.0")
        header = np.lib.format.read_array_header_1_0 if version == (1, 0) else np.lib.format.read_array_header_2_0
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of a file that Python 2 wrote: its sizes are 10L
            shape, fortran, dtype = header(stream)
    except Exception as error:  # NumPy raises many kinds for a bad header
        raise DataError(f"{where}: byte 0: no sound .npy header ({brief(error)}); fetch or write it again") from None
    return shape, fortran, dtype, stream.tell()
