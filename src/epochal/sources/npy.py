"""NumPy's `.npy` and `.npz`. NumPy reads the header, the numbers are taken as bytes; an object array is refused."""

import io
import zipfile
from math import prod
from pathlib import Path
from typing import Any

import numpy as np

from epochal.errors import DataError
from epochal.memory import format_bytes
from epochal.sources.files import read_bytes
from epochal.sources.raw import Raw

_HEADER_BYTES = 1 << 16  # NumPy refuses headers above 10,000 bytes

_NAMES = {
    "train": (("x_train", "y_train"), ("train_x", "train_y"), ("train_images", "train_labels"), ("x", "y"), ("X", "y"),
              ("data", "target"), ("data", "labels"), ("images", "labels"), ("features", "labels")),
    "valid": (("x_valid", "y_valid"), ("valid_x", "valid_y"), ("x_val", "y_val"), ("val_x", "val_y"),
              ("valid_images", "valid_labels"), ("val_images", "val_labels")),
    "test": (("x_test", "y_test"), ("test_x", "test_y"), ("test_images", "test_labels")),
}  # fmt: skip


def read_arrays(path: Path, labels: Any, limit: int) -> Raw:
    """A `.npy` file of examples; `labels` is an array, or a `.npy` file of labels."""
    files = (path,)
    if isinstance(labels, (str, Path)):
        files = (path, Path(labels))
        labels = read_npy(read_bytes(files[1], limit), str(files[1]))
    return Raw(path.name, {"train": (read_npy(read_bytes(path, limit), str(path)), labels)}, files)


def read_archive(path: Path, labels: Any, limit: int) -> Raw:
    """A `.npz` archive with arrays called x_train, y_train, x_test, y_test, …, or x and y."""
    try:
        with zipfile.ZipFile(path) as archive:
            entries = {info.filename.removesuffix(".npy"): info for info in archive.infolist()}
            size = sum(info.file_size for info in entries.values())
            if size > limit:
                raise DataError(
                    f"{path}: unpacks to {format_bytes(size)}, more than the {format_bytes(limit)} granted for "
                    f"reading; if the file is sound, grant more with --host-memory"
                )
            # zipfile never yields more bytes than the entry declares, and checks their CRC.
            found = {name: read_npy(archive.read(info), f"{path}: {name}") for name, info in entries.items()}
    except DataError:
        raise
    except OSError as error:
        raise DataError(f"{path}: cannot be read: {error.strerror or error}") from None
    except Exception as error:  # zipfile and zlib raise a dozen kinds for damaged archives
        raise DataError(f"{path}: this is no sound .npz archive ({error}); fetch or write it again") from None
    return Raw(path.name, _splits(found, labels, path), (path,))


def read_npy(data: bytes | memoryview, where: str) -> np.ndarray:
    """The array in the bytes of a `.npy` file: a view of them. Raises DataError; nothing is unpickled."""
    stream = io.BytesIO(data[:_HEADER_BYTES])
    try:
        version = np.lib.format.read_magic(stream)
        header = np.lib.format.read_array_header_1_0 if version == (1, 0) else np.lib.format.read_array_header_2_0
        shape, fortran, dtype = header(stream)
    except Exception as error:  # NumPy raises many kinds for a bad header
        raise DataError(
            f"{where}: byte 0: no sound .npy header ({str(error).splitlines()[0]}); write it again"
        ) from None
    if dtype.kind not in "biufSU" or dtype.hasobject or dtype.fields or dtype.subdtype:
        raise DataError(f"{where}: byte 0: dtype {dtype} is not read; save plain numbers (or text for labels)")
    begin, expected = stream.tell(), stream.tell() + prod(shape) * dtype.itemsize
    if any(size < 0 for size in shape) or len(data) != expected:
        raise DataError(
            f"{where}: byte {len(data):,}: the array ends here, but its header declares {list(shape)} {dtype}, which "
            f"end at byte {expected:,}; the file is damaged"
        )
    return np.frombuffer(data, dtype, offset=begin).reshape(shape, order="F" if fortran else "C")


def _splits(found: dict[str, np.ndarray], labels: Any, path: Path) -> dict[str, tuple[np.ndarray, Any]]:
    splits: dict[str, tuple[np.ndarray, Any]] = {}
    for split, pairs in _NAMES.items():
        for x, y in pairs:
            if x in found and (y in found or (split == "train" and len(found) == 1)):
                splits[split] = (found[x], found.get(y, labels))
                break
    if not splits:
        raise DataError(
            f"{path}: holds {', '.join(found) or 'no array'}; expected x_train and y_train (and x_valid, y_valid, "
            f"x_test, y_test), or x and y"
        )
    return splits
