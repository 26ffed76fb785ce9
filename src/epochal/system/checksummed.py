"""Named arrays and a few plain values in one safetensors file, under a SHA-256 of all of them.

Files are read here and not by the library: it takes a path, follows links, waits for a FIFO without end, and knows
dtypes that NumPy has not.
"""

import hashlib
import json
import math
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import ml_dtypes
import numpy as np
import safetensors.numpy

from epochal.errors import RunError
from epochal.system import atomic, json_file, plain_files
from epochal.system.memory import available_bytes, format_bytes
from epochal.system.plain_files import reason

_DTYPES = {
    "F64": "<f8", "F32": "<f4", "F16": "<f2", "BF16": ml_dtypes.bfloat16, "I64": "<i8", "I32": "<i4", "I16": "<i2",
    "I8": "i1", "U64": "<u8", "U32": "<u4", "U16": "<u2", "U8": "u1", "BOOL": "?",
}  # fmt: skip
_MOST_HEADER = 32 << 20


def write(path: Path, arrays: Mapping[str, np.ndarray], values: Mapping[str, Any]) -> None:
    """Write `arrays` and the JSON `values` to `path`, whole or not at all. Raises OSError."""
    text = json.dumps(values, sort_keys=True)
    contiguous = {name: np.ascontiguousarray(array).reshape(array.shape) for name, array in arrays.items()}
    content = safetensors.numpy.save(contiguous, {"values": text, "sha256": _seal(contiguous, text)})
    atomic.write(path, content)


def read(path: Path) -> tuple[dict[str, np.ndarray], dict[str, Any]]:
    """The arrays and the values of a file. Raises RunError where a bit of it differs, FileNotFoundError for no file.

    PermissionError where it may not be read: such a file is not damaged.
    """
    try:
        header, content = _parts(path)
        metadata = header.pop("__metadata__")
        text, seal = metadata["values"], metadata["sha256"]
        arrays = {name: _array(entry, content) for name, entry in header.items()}
        if sum(array.nbytes for array in arrays.values()) != len(content):
            raise ValueError("its arrays do not fill it")
    except (FileNotFoundError, PermissionError):
        raise
    except (OSError, KeyError, TypeError, AttributeError, ValueError, OverflowError) as error:
        raise RunError(f"{path}: cannot be read: {reason(error)}; the file is damaged, or none of epochal's") from None
    if not isinstance(text, str) or _seal(arrays, text) != seal:
        raise RunError(f"{path}: its SHA-256 is not the one it was written with; the file is damaged")
    try:
        values = json_file.parse(text.encode())
        if not isinstance(values, dict):
            raise ValueError("its values are no object")
    except ValueError as error:
        raise RunError(f"{path}: cannot be read: {error}; the file is damaged, or none of epochal's") from None
    return arrays, values


def _parts(path: Path) -> tuple[dict[str, Any], bytes]:
    """The header and the bytes behind it. Raises OSError, ValueError."""
    file = plain_files.opened(path, os.O_RDONLY)
    try:
        size = os.fstat(file).st_size
        length = int.from_bytes(_take(file, 8), "little")
        if not 2 <= length <= min(_MOST_HEADER, size - 8):
            raise ValueError(f"its header would have {length:,} bytes")
        header = json_file.parse(_take(file, length))
        if not isinstance(header, dict):
            raise ValueError("its header is no object")
        left = size - 8 - length
        if left > (free := available_bytes()):
            raise ValueError(
                f"it holds {format_bytes(left)}, more than the {format_bytes(free)} of memory that is free"
            )
        if sum(_bytes(entry) for name, entry in header.items() if name != "__metadata__") != left:
            raise ValueError(f"its arrays would not fill its {left:,} bytes")
        return header, _take(file, left)
    finally:
        os.close(file)


def _take(file: int, count: int) -> bytes:
    content = bytearray()
    while len(content) < count and (block := os.read(file, min(1 << 24, count - len(content)))):
        content += block
    if len(content) < count:
        raise ValueError("it ends too soon")
    return content  # pyrefly: ignore


def _bytes(entry: Any) -> int:
    """The size of an array by its header. Raises KeyError, TypeError, ValueError."""
    shape, name = entry["shape"], entry["dtype"]
    if name not in _DTYPES:
        raise ValueError(f"it holds numbers of type {json_file.shown(name)}, which epochal never writes")
    if not isinstance(shape, list) or not all(type(size) is int and 0 <= size < 2**48 for size in shape):
        raise ValueError(f"an array has the shape {json_file.shown(shape)}")
    return math.prod(shape) * np.dtype(_DTYPES[name]).itemsize


def _array(entry: Any, content: bytes) -> np.ndarray:
    begin, end = entry["data_offsets"]
    if type(begin) is not int or type(end) is not int or end - begin != _bytes(entry) or not 0 <= begin <= end:
        raise ValueError(f"an array has the place {json_file.shown([begin, end])}")
    return np.frombuffer(content, np.uint8)[begin:end].view(np.dtype(_DTYPES[entry["dtype"]])).reshape(entry["shape"])


def _seal(arrays: Mapping[str, np.ndarray], text: str) -> str:
    digest = hashlib.sha256(text.encode(errors="surrogatepass"))
    for name, array in sorted(arrays.items()):
        digest.update(f"\0{name}\0{array.dtype.str}{array.shape}\0".encode(errors="surrogatepass"))
        digest.update(np.ascontiguousarray(array).reshape(-1).view(np.uint8).data)
    return digest.hexdigest()
