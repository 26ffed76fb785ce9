"""What data must satisfy before they go anywhere, with row numbers in the messages.

They are checked here, on the host, before any cast: on the device integers wrap at 32 bits and 1e300 becomes infinite,
all without a word.
"""

import hashlib
from collections.abc import Iterator, Mapping, Sized
from math import prod
from typing import Any

import numpy as np

from epochal.data.rows import BLOCK_BYTES, FileRows, Rows, as_rows, blocks
from epochal.errors import DataError, option
from epochal.system.aligned import frozen

_DIGEST_BYTES = 32
_SEARCHED = 1 << 20
_WIDE = 100.0
_NARROW = 0.01
_EXACT = 2**24  # whole numbers up to this are exact as float32
_MOST_FEATURES = 1000  # that are compared value by value


def features(x: Any, where: str) -> Rows:
    """`x` as rows of numbers, native byte order, dtype kept; finite; at least one row and one feature."""
    x = x if isinstance(x, FileRows) else as_rows(np.asarray(x))
    if x.dtype.kind not in "biuf" or x.dtype.itemsize > 8:
        raise DataError(
            f"{where}: features must be numbers of at most 64 bits, got dtype {str(x.dtype)[:80]}; turn text, objects "
            f"and sparse matrices into arrays of numbers"
        )
    if x.ndim < 2:
        raise DataError(
            f"{where}: features must have shape [rows, …], got {list(x.shape)}; reshape one feature to [rows, 1]"
        )
    if 0 in x.shape:
        raise DataError(
            f"{where}: the split is empty, its features have shape {list(x.shape)}; leave it out or fill it"
        )
    if isinstance(x, np.ndarray) and not x.dtype.isnative:
        x = frozen(x.astype(x.dtype.newbyteorder("=")))  # ours alone
    if x.dtype.kind == "b" and any(block.view(np.uint8).max() > 1 for _, block in blocks(x)):
        raise DataError(f"{where}: some booleans are neither 0 nor 1; the data are damaged, fetch or write them again")
    if span := _span(x.dtype):
        _within(x, *span, where)
    return x


def _span(dtype: np.dtype) -> tuple[Any, Any] | None:
    """The least and the greatest value that a device keeps, where `dtype` has others."""
    if dtype.kind == "f":
        most = np.finfo("f4" if dtype.itemsize == 8 else dtype).max
        return -most, most
    if dtype.kind in "iu" and dtype.itemsize == 8:
        bounds = np.iinfo(f"{dtype.kind}4")
        return bounds.min, bounds.max
    return None


def _within(x: Rows, low: Any, high: Any, where: str) -> None:
    for begin, block in blocks(x):
        with np.errstate(invalid="ignore"):
            if low <= block.min() and block.max() <= high:  # false where a NaN is the least
                continue
            row, *place = (int(i) for i in np.argwhere(~((block >= low) & (block <= high)))[0])
        raise DataError(
            f"{where}: row {begin + row:,}, feature {', '.join(map(str, place))} is {block[(row, *place)]}; every "
            f"feature must be finite, and from {low:.10g} to {high:.10g}: impute or rescale it, or drop the row"
        )


def unscaled(x: Rows, divisor: float, where: str) -> str:
    """A note where features, once divided by `divisor`, are far from the range that training copes with; "" if not."""
    if x.dtype.kind == "b":
        return ""
    ranges = [(float(block.min()), float(block.max())) for _, block in blocks(x)]
    low, high = min(least for least, _ in ranges) / divisor, max(most for _, most in ranges) / divisor
    largest = max(abs(low), abs(high))
    if _NARROW <= largest <= _WIDE or largest == 0:
        return ""
    return (
        f"{where}: features range from {low:,.6g} to {high:,.6g} and are not scaled, which trains badly or not at all; "
        f"standardise them (scikit-learn: StandardScaler), load them as a data frame (its columns are standardised), "
        f"or use {option('divisor')}"
    )


def merged_numbers(x: Rows) -> str:
    """A note where different whole numbers of a feature become one, as the step computes with float32; else nothing.

    Blocks are compared each by itself; what is exact as float32 costs a look at the greatest value.
    """
    wide = (x.dtype.kind in "iu" and x.dtype.itemsize > 2) or x.dtype == np.float64
    for _, block in blocks(x) if wide else ():
        flat = block.reshape(len(block), -1)
        if max(abs(int(flat.min())), abs(int(flat.max()))) <= _EXACT:
            continue
        lossy = (flat.astype(np.float32).astype(np.float64) != flat).any(axis=0) & (flat == np.floor(flat)).all(axis=0)
        for feature in np.flatnonzero(lossy)[:_MOST_FEATURES].tolist():
            values = np.unique(flat[:, feature])
            same = np.flatnonzero(np.diff(values.astype(np.float32)) == 0)
            if len(same):
                one, other = (int(values[same[0] + i]) for i in (0, 1))
                return (
                    f"feature {feature:,} holds whole numbers that become one as float32, such as {one} and {other}: "
                    f"above 2**24 only some are exact; number them 0, 1, … (identifiers), or subtract an offset"
                )
    return ""


def same_length(x: Sized, y: np.ndarray, where: str) -> None:
    """Raise DataError unless there are as many labels as rows."""
    if y.ndim != 1:
        raise DataError(
            f"{where}: labels must have shape [rows], got {list(y.shape)}; give one label a row: "
            f"{'y.ravel()' if 1 in y.shape else 'of one-hot labels y.argmax(axis=1)'}"
        )
    if len(x) != len(y):
        raise DataError(f"{where}: {len(x):,} rows but {len(y):,} labels; every row needs exactly one")


def same_shape(splits: Mapping[str, Rows], where: str) -> None:
    """Raise DataError unless all splits have examples of one shape and one dtype."""
    name, first = next(iter(splits.items()))
    for other, x in splits.items():
        if x.shape[1:] != first.shape[1:] or x.dtype != first.dtype:
            raise DataError(
                f"{where}: {name} has examples {first.dtype}{list(first.shape[1:])}, but {other} has "
                f"{x.dtype}{list(x.shape[1:])}; make them alike: reshape, or cast with x.astype(…)"
            )


def shared_rows(a: Rows, b: Rows, hashes: tuple[np.ndarray, np.ndarray] | None = None) -> int:
    """How many rows of `b` are identical to some row of `a`, byte for byte; `hashes` are the `row_hashes` of both."""
    hashes_a, hashes_b = hashes or (row_hashes(a), row_hashes(b))
    sought = np.sort(hashes_b)
    met, alike = np.zeros(len(sought), bool), []
    for begin in range(0, len(hashes_a), _SEARCHED):
        piece = hashes_a[begin : begin + _SEARCHED]
        places = np.minimum(np.searchsorted(sought, piece), len(sought) - 1)
        matches = np.flatnonzero(sought[places] == piece)
        met[places[matches]] = True
        alike.append(begin + matches)
    # Few rows have equal hashes by chance: those are compared whole, in a set, so that no data make it slow.
    known = set(_contents(a, np.concatenate(alike)))
    suspect = np.flatnonzero(met[np.searchsorted(sought, hashes_b)])
    return sum(content in known for content in _contents(b, suspect))


def overlaps(splits: Mapping[str, Rows], hashes: Mapping[str, np.ndarray], where: str) -> list[tuple[str, bool]]:
    """A note for each two splits that share rows, and whether that is a cause for alarm.

    It is where they are more than a twentieth of the rows, and rows are hardly alike otherwise: a table of a few
    categories repeats its rows everywhere. Rows of `test` are looked for in train and valid, those of `valid` in train;
    `hashes` are the `row_hashes` of each.
    """
    notes = []
    for of, others in (("test", ("train", "valid")), ("valid", ("train",))):
        distinct = 10 * len(np.unique(hashes[of])) > 9 * len(hashes[of])
        for other in others:
            count = shared_rows(splits[other], splits[of], (hashes[other], hashes[of]))
            if count:
                note = f"{where}: {count:,} of {len(splits[of]):,} {of} rows are identical to a {other} row"
                notes.append((note, distinct and 20 * count > len(splits[of])))
    return notes


def _contents(x: Rows, rows: np.ndarray) -> Iterator[bytes]:
    """The bytes of each of some rows; a digest in place of many."""
    width = prod(x.shape[1:]) * x.dtype.itemsize
    step = max(1, BLOCK_BYTES // max(1, width))
    for begin in range(0, len(rows), step):
        piece = rows[begin : begin + step]
        for row in x.gather(piece) if isinstance(x, FileRows) else x[piece]:
            content = row.tobytes()
            yield content if width <= _DIGEST_BYTES else hashlib.blake2b(content, digest_size=_DIGEST_BYTES).digest()


def row_hashes(x: Rows) -> np.ndarray:
    """A 64-bit hash of the bytes of every row: uint64 [rows]. Equal rows have equal hashes; others hardly ever."""
    width = prod(x.shape[1:]) * x.dtype.itemsize
    words = -(-width // 8)
    weights = np.random.Philox(key=np.uint64(1)).random_raw(words) | np.uint64(1)
    hashes = [np.zeros(0, np.uint64)]
    for _, block in blocks(x):
        flat = np.ascontiguousarray(block).reshape(len(block), -1).view(np.uint8)
        padded = np.zeros((len(block), words * 8), np.uint8) if width % 8 else flat
        if width % 8:
            padded[:, :width] = flat
        block_words = padded.view(np.uint64)
        hashes.append((block_words ^ (block_words >> np.uint64(32))) @ weights)
    return np.concatenate(hashes)
