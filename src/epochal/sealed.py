"""Named arrays and a few plain values in one safetensors file, under a SHA-256 of all of them."""

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import safetensors
import safetensors.numpy

from epochal import atomic
from epochal.errors import RunError


def write(path: Path, arrays: Mapping[str, np.ndarray], told: Mapping[str, Any]) -> None:
    """Put `arrays` and the JSON values `told` at `path`, whole or not at all. Raises OSError."""
    text = json.dumps(told, sort_keys=True)
    contiguous = {name: np.ascontiguousarray(array).reshape(array.shape) for name, array in arrays.items()}
    content = safetensors.numpy.save(contiguous, {"told": text, "sha256": _seal(contiguous, text)})
    atomic.write(path, content)


def read(path: Path) -> tuple[dict[str, np.ndarray], dict[str, Any]]:
    """What `write` put there. Raises RunError where a bit of it differs, FileNotFoundError where there is nothing."""
    try:
        with safetensors.safe_open(path, "numpy") as file:
            metadata = file.metadata() or {}
            arrays = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118, it is no mapping
        text, seal = metadata["told"], metadata["sha256"]
    except FileNotFoundError:
        raise
    except (OSError, KeyError, safetensors.SafetensorError) as error:
        raise RunError(f"{path}: cannot be read: {error}; the file is damaged, or none of epochal's") from None
    if _seal(arrays, text) != seal:
        raise RunError(f"{path}: its SHA-256 is not the one it was written with; the file is damaged")
    return arrays, json.loads(text)


def _seal(arrays: Mapping[str, np.ndarray], text: str) -> str:
    digest = hashlib.sha256(text.encode())
    for name, array in sorted(arrays.items()):
        digest.update(f"\0{name}\0{array.dtype.str}{array.shape}\0".encode())
        digest.update(np.ascontiguousarray(array).data)
    return digest.hexdigest()
