"""IDX files for tests, written from the format's description and not with the code under test."""

import struct

import numpy as np

TYPES = {0x08: ">u1", 0x09: ">i1", 0x0B: ">i2", 0x0C: ">i4", 0x0D: ">f4", 0x0E: ">f8"}
CODES = {np.dtype(name): code for code, name in TYPES.items()}
IMAGES, LABELS = "images-idx3-ubyte", "labels-idx1-ubyte"


def pack(array: np.ndarray) -> bytes:
    """The array as an IDX file."""
    array = np.asarray(array)
    stored = array.astype(array.dtype.newbyteorder(">"))
    return (
        bytes([0, 0, CODES[stored.dtype], array.ndim]) + struct.pack(f">{array.ndim}I", *array.shape) + stored.tobytes()
    )


def images(rows: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, (rows, 4, 3), np.uint8)


def labels(rows: int) -> np.ndarray:
    return (np.arange(rows) % 3).astype(np.uint8)
