"""What data must satisfy before they go anywhere, with row numbers in the messages.

Labels are checked here, on the host, before any cast: on the device 2**32 + 3 would become 3, -1 the last class, and
10 of 10 classes a NaN, all without a word.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from epochal.errors import DataError

_BLOCK_BYTES = 1 << 24
MAX_CLASSES = 100_000


def features(x: Any, where: str) -> np.ndarray:
    """`x` as an array of numbers, native byte order, dtype kept; finite; at least one row and one feature."""
    x = np.asarray(x)
    if x.dtype.kind not in "biuf":
        raise DataError(f"{where}: features must be numbers, got dtype {x.dtype}; turn text and objects into numbers")
    if x.ndim < 2:
        raise DataError(
            f"{where}: features must have shape [rows, …], got {list(x.shape)}; reshape one feature to [rows, 1]"
        )
    if 0 in x.shape:
        raise DataError(
            f"{where}: the split is empty, its features have shape {list(x.shape)}; leave it out or fill it"
        )
    if not x.dtype.isnative:
        x = x.astype(x.dtype.newbyteorder("="))
    if x.dtype.kind == "f":
        _finite(x, where)
    return x


def _finite(x: np.ndarray, where: str) -> None:
    rows = max(1, _BLOCK_BYTES // max(1, x[:1].nbytes))
    for begin in range(0, len(x), rows):
        block = np.isfinite(x[begin : begin + rows])
        if not block.all():
            row, *place = (int(i) for i in np.argwhere(~block)[0])
            value = x[(begin + row, *place)]
            raise DataError(
                f"{where}: row {begin + row:,}, feature {', '.join(map(str, place))} is {value}; "
                f"every feature must be finite: impute it or drop the row"
            )


def same_length(x: np.ndarray, y: Any, where: str) -> None:
    """Raise DataError unless there are as many labels as rows."""
    if np.ndim(y) != 1:
        raise DataError(f"{where}: labels must have shape [rows], got {list(np.shape(y))}; give one label a row")
    if len(x) != len(y):
        raise DataError(f"{where}: {len(x):,} rows but {len(y):,} labels; every row needs exactly one")


def same_shape(splits: Mapping[str, np.ndarray], where: str) -> None:
    """Raise DataError unless all splits have examples of one shape and one dtype."""
    name, first = next(iter(splits.items()))
    for other, x in splits.items():
        if x.shape[1:] != first.shape[1:] or x.dtype != first.dtype:
            raise DataError(
                f"{where}: {name} has examples {first.dtype}{list(first.shape[1:])}, but {other} has "
                f"{x.dtype}{list(x.shape[1:])}; make them alike"
            )


def encode_labels(
    labels: Mapping[str, Any], where: str, names: Sequence[str] | None = None
) -> tuple[dict[str, np.ndarray], tuple[str, ...]]:
    """Labels of every split as int32 codes 0 …, and the class names in that order.

    Whole numbers from 0 stay as they are; text (and booleans) are sorted and numbered; `names` names whole numbers.
    """
    arrays = {split: np.asarray(y) for split, y in labels.items()}
    if any(y.dtype.kind in "USObT" for y in arrays.values()):
        return _encode_names(arrays, where)
    coded = {split: _whole(y, f"{where}: {split}") for split, y in arrays.items()}
    most = max(int(y.max()) for y in coded.values())
    count = len(names) if names is not None else int(coded["train"].max()) + 1
    for split, y in coded.items():
        if y.max() >= count:
            row = int(np.argmax(y >= count))
            raise DataError(
                f"{where}: {split}: row {row:,} has label {int(y[row]):,}, but classes run 0..{count - 1:,}"
                + ("" if names is not None else " in train")
                + "; fix the label, or bring train rows of that class"
            )
    if most >= MAX_CLASSES:
        raise DataError(f"{where}: label {most:,} means {most + 1:,} classes, at most {MAX_CLASSES:,} are supported; "
                        f"are these labels, or is it a regression target?")  # fmt: skip
    classes = tuple(names) if names is not None else tuple(str(i) for i in range(count))
    return {split: y.astype(np.int32) for split, y in coded.items()}, classes


def _whole(y: np.ndarray, where: str) -> np.ndarray:
    if y.dtype.kind not in "iuf":
        raise DataError(f"{where}: labels must be whole numbers or text, got dtype {y.dtype}")
    bad = ~(y >= 0) | (y != np.floor(y)) | (y >= 2**31) if y.dtype.kind == "f" else (y < 0) | (y >= 2**31)
    if bad.any():
        row = int(np.argmax(bad))
        raise DataError(
            f"{where}: row {row:,} has label {y[row]}; labels are whole numbers from 0 to 2,147,483,647, or text"
        )
    return y.astype(np.int64)


def _encode_names(arrays: Mapping[str, np.ndarray], where: str) -> tuple[dict[str, np.ndarray], tuple[str, ...]]:
    text = {split: _as_text(y, f"{where}: {split}") for split, y in arrays.items()}
    classes = np.unique(text["train"])
    coded = {}
    for split, y in text.items():
        codes = np.searchsorted(classes, y)
        unknown = classes[np.minimum(codes, len(classes) - 1)] != y
        if unknown.any():
            row = int(np.argmax(unknown))
            raise DataError(
                f"{where}: {split}: row {row:,} has label {str(y[row])!r}, which no train row has "
                f"(train has {', '.join(map(repr, classes[:5].tolist()))}{', …' if len(classes) > 5 else ''}); "
                f"fix the label, or bring train rows of that class"
            )
        coded[split] = codes.astype(np.int32)
    return coded, tuple(classes.tolist())


def _as_text(y: np.ndarray, where: str) -> np.ndarray:
    if y.dtype.kind == "O":
        for row, value in enumerate(y.tolist()):
            if not isinstance(value, (str, bool, int)):
                raise DataError(f"{where}: row {row:,} has label {value!r}; labels are whole numbers or text")
    if y.dtype.kind == "S":
        return np.char.decode(y, "utf-8", "replace")
    return y.astype(str)


def all_classes(y: np.ndarray, classes: Sequence[str], where: str) -> None:
    """Raise DataError where train lacks a class, or has only one."""
    counts = np.bincount(y, minlength=len(classes))
    if not counts.all():
        missing = int(np.argmin(counts > 0))
        raise DataError(
            f"{where}: train has no row of class {missing} ({classes[missing]!r}), of {len(classes):,} classes; "
            f"number the classes 0, 1, … without gaps, or bring rows of it"
        )
    if len(classes) < 2:
        raise DataError(f"{where}: all {len(y):,} train rows have class {classes[0]!r}; a classifier needs two classes")


def shared_rows(a: np.ndarray, b: np.ndarray) -> int:
    """How many rows of `b` are identical to some row of `a`, byte for byte."""
    hashes_a, hashes_b = _row_hashes(a), _row_hashes(b)
    order = np.argsort(hashes_a, kind="stable")
    places = np.searchsorted(hashes_a[order], hashes_b)
    count = 0
    for row in np.flatnonzero(np.isin(hashes_b, hashes_a)):
        place = places[row]
        while place < len(order) and hashes_a[order[place]] == hashes_b[row]:
            if np.array_equal(a[order[place]], b[row]):
                count += 1
                break
            place += 1
    return count


def _row_hashes(x: np.ndarray) -> np.ndarray:
    """A 64-bit hash of every row's bytes: uint64 [rows]. Equal rows have equal hashes; the caller compares the rest."""
    width = x[:1].nbytes
    words = -(-width // 8)
    weights = np.random.Philox(key=np.uint64(1)).random_raw(words) | np.uint64(1)
    out = np.empty(len(x), np.uint64)
    rows = max(1, _BLOCK_BYTES // max(1, width))
    for begin in range(0, len(x), rows):
        block = np.ascontiguousarray(x[begin : begin + rows]).reshape(min(rows, len(x) - begin), -1).view(np.uint8)
        padded = np.zeros((len(block), words * 8), np.uint8) if width % 8 else block
        if width % 8:
            padded[:, :width] = block
        block_words = padded.view(np.uint64)
        out[begin : begin + rows] = (block_words ^ (block_words >> np.uint64(32))) @ weights
    return out
