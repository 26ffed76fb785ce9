"""Narrow storage of features on the device; they become the compute dtype inside the step.

Whole numbers of 8 bits take a quarter of the memory of float32 and lose nothing. float16 and bfloat16 halve it and
round; that is never done unasked.
"""

import ml_dtypes
import numpy as np

from epochal.errors import DataError, option
from epochal.lending import frozen, zeros
from epochal.rows import FileRows, Rows, blocks


def stored(x: Rows, storage: str, where: str) -> tuple[Rows, str]:
    """`x` in the dtype `storage`, and what that did to it, in words; `auto` leaves it as it is.

    Raises DataError where uint8 would lose anything, or a value overflows.
    """
    target = np.dtype(ml_dtypes.bfloat16 if storage == "bfloat16" else storage if storage != "auto" else x.dtype)
    if target == x.dtype:
        return x, ""
    # Rows of a file stay there, and are cast whenever they are read.
    out = x.narrowed(target) if isinstance(x, FileRows) else zeros(x.shape, target)
    largest = 0.0
    for begin, block in blocks(x):
        with np.errstate(over="ignore", invalid="ignore"):
            part = block.astype(target)
            lost = np.abs(part.astype(np.float64) - block.astype(np.float64))
        bad = ~np.isfinite(lost) if storage != "uint8" else lost != 0
        if bad.any():
            row, *place = (int(i) for i in np.argwhere(bad)[0])
            raise DataError(
                f"{where}: row {begin + row:,}, feature {', '.join(map(str, place))} is {block[(row, *place)]}, which "
                f"{storage} cannot hold; leave {option('storage')} out, or choose a wider one"
            )
        largest = max(largest, float(lost.max()))
        if isinstance(out, np.ndarray):
            out[begin : begin + len(block)] = part
    return frozen(out), f"stored as {storage}; the largest rounding of a feature is {largest:.3g}" if largest else ""
