"""Narrow storage of features on the device; they become the compute dtype inside the step.

Whole numbers of 8 bits take a quarter of the memory of float32 and lose nothing. float16 and bfloat16 halve it and
round; that is never done unasked.
"""

import ml_dtypes
import numpy as np

from epochal.data.rows import FileRows, Rows, blocks
from epochal.errors import DataError, option
from epochal.system.aligned import frozen, zeros


def cast_storage(x: Rows, storage: str, where: str) -> tuple[Rows, str]:
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


def as_trained(
    x: Rows, trained: np.dtype, scale: float, storage: str, of_source: float | None, where: str
) -> tuple[Rows, float, str]:
    """Other rows in the storage form of those trained on, what divides them, and a note where they were converted.

    Those were stored as `trained` by the option `storage`, and divided by `scale`; `of_source` is what the source of
    these says that they are divided by. A number means what it meant in training, or the rows are refused (DataError).
    """
    kinds = {"i": "whole", "u": "whole", "b": "whole"}
    kind, wanted = kinds.get(x.dtype.kind, "float"), kinds.get(trained.kind, "float")
    if x.dtype != trained and kind == "float" and wanted == "whole" and storage == "auto":
        raise DataError(
            f"{where}: the rows are {x.dtype}, but the model was trained on {trained} divided by {scale:g}; give rows "
            f"of {trained}, or say with {option('divisor')} what these are to be divided by (1: scaled already)"
        )
    if x.dtype != trained and kind == "whole" and wanted == "float":
        if of_source is not None:
            note = f"{where}: the rows are {x.dtype} over {of_source:g}, those trained on were {trained} over {scale:g}"
            return x, of_source, note
        if x.dtype == np.uint8:
            raise DataError(
                f"{where}: the rows are uint8, but the model was trained on {trained} divided by {scale:g}; give rows "
                f"of {trained}, or say with {option('divisor')} what these bytes are to be divided by"
            )
        return x, scale, f"{where}: the rows are {x.dtype}; they are taken as the {trained} that was trained on"
    x, note = cast_storage(x, storage, where)
    if x.dtype != trained and wanted == "whole":
        x, note = _narrowed(x, trained, where), f"{where}: the rows are {x.dtype}; taken as {trained}, which holds them"
    if of_source is not None and of_source != scale:
        note = f"{where}: is divided by {scale:g}, as the rows trained on, not by the usual {of_source:g}"
    return x, scale, note


def _narrowed(x: Rows, dtype: np.dtype, where: str) -> Rows:
    """Whole numbers in another whole dtype that holds them all. Raises DataError."""
    if isinstance(x, FileRows):
        return x.narrowed(dtype)
    out = x.astype(dtype)
    if (lost := out != x).any():
        row, *place = (int(i) for i in np.argwhere(lost)[0])
        raise DataError(
            f"{where}: row {row:,}, feature {', '.join(map(str, place))} is {x[(row, *place)]}, but the model was "
            f"trained on {dtype}, which cannot hold it; give rows as they were in training"
        )
    return frozen(out)
