"""What data must satisfy before they go anywhere, with row numbers in the messages.

Labels are checked here, on the host, before any cast: on the device 2**32 + 3 would become 3, -1 the last class, and
10 of 10 classes a NaN, all without a word. So would wide features: integers wrap at 32 bits, 1e300 becomes infinite.
"""

from collections.abc import Mapping, Sequence
from typing import Any, NoReturn

import numpy as np

from epochal.errors import DataError

_BLOCK_BYTES = 1 << 24
MAX_CLASSES = 100_000


def features(x: Any, where: str) -> np.ndarray:
    """`x` as an array of numbers, native byte order, dtype kept; finite; at least one row and one feature."""
    x = np.asarray(x)
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
    if not x.dtype.isnative:
        x = x.astype(x.dtype.newbyteorder("="))
        x.flags.writeable = False  # ours alone, so that the device may take the memory as it is
    if x.dtype.kind == "b" and x.view(np.uint8).max() > 1:
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


def _within(x: np.ndarray, low: Any, high: Any, where: str) -> None:
    rows = max(1, _BLOCK_BYTES // max(1, x[:1].nbytes))
    for begin in range(0, len(x), rows):
        block = x[begin : begin + rows]
        with np.errstate(invalid="ignore"):
            if low <= block.min() and block.max() <= high:  # false where a NaN is the least
                continue
            row, *place = (int(i) for i in np.argwhere(~((block >= low) & (block <= high)))[0])
        raise DataError(
            f"{where}: row {begin + row:,}, feature {', '.join(map(str, place))} is {block[(row, *place)]}; every "
            f"feature must be finite, and from {low:.10g} to {high:.10g}: impute or rescale it, or drop the row"
        )


def same_length(x: np.ndarray, y: np.ndarray, where: str) -> None:
    """Raise DataError unless there are as many labels as rows."""
    if y.ndim != 1:
        raise DataError(
            f"{where}: labels must have shape [rows], got {list(y.shape)}; give one label a row: "
            f"{'y.ravel()' if 1 in y.shape else 'of one-hot labels y.argmax(axis=1)'}"
        )
    if len(x) != len(y):
        raise DataError(f"{where}: {len(x):,} rows but {len(y):,} labels; every row needs exactly one")


def same_shape(splits: Mapping[str, np.ndarray], where: str) -> None:
    """Raise DataError unless all splits have examples of one shape and one dtype."""
    name, first = next(iter(splits.items()))
    for other, x in splits.items():
        if x.shape[1:] != first.shape[1:] or x.dtype != first.dtype:
            raise DataError(
                f"{where}: {name} has examples {first.dtype}{list(first.shape[1:])}, but {other} has "
                f"{x.dtype}{list(x.shape[1:])}; make them alike: reshape, or cast with x.astype(…)"
            )


def encode_labels(
    labels: Mapping[str, np.ndarray], where: str, names: Sequence[str] | None = None
) -> tuple[dict[str, np.ndarray], tuple[str, ...]]:
    """Labels of every split as int32 codes 0 …, and the class names in that order.

    Whole numbers from 0 stay as they are; text (and booleans) are sorted and numbered; `names` names whole numbers.
    """
    arrays = {split: _plain(y, f"{where}: {split}") for split, y in labels.items()}
    for split, y in arrays.items():
        if (y.dtype.kind == "U") != (arrays["train"].dtype.kind == "U"):
            raise DataError(
                f"{where}: train has labels of dtype {labels['train'].dtype}, but {split} of {labels[split].dtype}; "
                f"make all of them whole numbers, or all of them text"
            )
    found = np.unique(arrays["train"]) if arrays["train"].dtype.kind == "U" else None
    names = found.tolist() if found is not None else names
    count = len(names) if names is not None else int(arrays["train"].max()) + 1
    if count > MAX_CLASSES:
        raise DataError(
            f"{where}: the labels mean {count:,} classes, at most {MAX_CLASSES:,} are supported; "
            f"are these labels, or row numbers, or a regression target?"
        )
    if found is not None:
        return {split: _codes(y, found, f"{where}: {split}") for split, y in arrays.items()}, tuple(names or ())
    for split, y in arrays.items():
        if y.max() >= count:
            row = int(np.argmax(y >= count))
            raise DataError(
                f"{where}: {split}: row {row:,} has label {int(y[row]):,}, but classes run 0..{count - 1:,}"
                + ("" if names is not None else " in train")
                + "; fix the label, or bring train rows of that class"
            )
    numbered = tuple(names) if names is not None else tuple(str(i) for i in range(count))
    return {split: y.astype(np.int32) for split, y in arrays.items()}, numbered


def _plain(y: np.ndarray, where: str) -> np.ndarray:
    """Labels as int64 from 0, or as text."""
    if y.dtype.kind in "OT":
        y = _from_objects(y.tolist(), where)
    if y.dtype.kind == "S":
        return _text(np.char.decode(y, "utf-8", "surrogateescape"), where)  # no UTF-8: a surrogate, refused there
    if y.dtype.kind == "b":
        return y.astype(str)
    if y.dtype.kind == "U":
        return _text(y.astype(y.dtype.newbyteorder("=")), where)
    if y.dtype.kind not in "iuf":
        raise DataError(
            f"{where}: labels must be whole numbers or text, got dtype {str(y.dtype)[:80]}; "
            f"turn them into one of these: y.astype(int) or y.astype(str)"
        )
    wide = np.promote_types(y.dtype, np.float64) if y.dtype.kind == "f" else y.dtype  # float16 has no 2**31
    with np.errstate(invalid="ignore"):  # a NaN may be a signalling one
        whole = (y >= 0) & (y.astype(wide) < 2**31) & (y == np.floor(y))
    if not whole.all():
        row = int(np.argmin(whole))
        _refuse(row, y[row], where)
    return y.astype(np.int64)


def _refuse(row: int, value: Any, where: str) -> NoReturn:
    value = value.item() if isinstance(value, np.generic) else value
    remedy = "number the classes 0, 1, …, or write them as text: y.astype(str)"
    if value is None or (isinstance(value, (float, np.longdouble)) and np.isnan(value)):
        remedy = "label the row, or drop it"
    elif isinstance(value, (float, np.longdouble)) and 0 <= value < 2**31:
        remedy = "is this a regression target? epochal trains classifiers"
    raise DataError(
        f"{where}: row {row:,} has label {_shown(value)}; labels are whole numbers from 0 to 2,147,483,647, or text: "
        f"{remedy}"
    )


def _shown(value: Any) -> str:
    return repr(value).replace("\n", " ")[:80]


def _from_objects(values: list[Any], where: str) -> np.ndarray:
    kinds = {bool: "a boolean", np.bool_: "a boolean", str: "text", int: "a whole number", np.integer: "a whole number"}
    first = ""
    for row, value in enumerate(values):
        kind = next((name for type_, name in kinds.items() if isinstance(value, type_)), "")
        if not kind or (kind == "a whole number" and not 0 <= value < 2**31):
            _refuse(row, value, where)
        first = first or kind
        if kind != first:
            raise DataError(
                f"{where}: row {row:,} has label {_shown(value)}, {kind}, but row 0 has {_shown(values[0])}, {first}; "
                f"make all of them whole numbers, or all of them text"
            )
    return np.array(values, {"text": str, "a boolean": bool}.get(first, np.int64))


def _text(y: np.ndarray, where: str) -> np.ndarray:
    """`y`, if all its characters are ones that can be printed and written to files."""
    letters = np.ascontiguousarray(y).view(np.uint32).reshape(len(y), -1)
    bad = (letters > 0x10FFFF) | ((letters >= 0xD800) & (letters < 0xE000))
    if bad.any():
        row, place = (int(i) for i in np.argwhere(bad)[0])
        raise DataError(
            f"{where}: row {row:,} has a label whose character {place} is U+{letters[row, place]:04X}, which is no "
            f"character; the data are damaged or no UTF-8, write them again as text"
        )
    return y


def _codes(y: np.ndarray, classes: np.ndarray, where: str) -> np.ndarray:
    codes = np.searchsorted(classes, y)
    unknown = classes[np.minimum(codes, len(classes) - 1)] != y
    if unknown.any():
        row = int(np.argmax(unknown))
        raise DataError(
            f"{where}: row {row:,} has label {str(y[row])!r}, which no train row has "
            f"(train has {', '.join(map(repr, classes[:5].tolist()))}{', …' if len(classes) > 5 else ''}); "
            f"fix the label, or bring train rows of that class"
        )
    return codes.astype(np.int32)


def all_classes(y: np.ndarray, classes: Sequence[str], where: str, remedy: str = "") -> None:
    """Raise DataError where train lacks a class, or has only one. `remedy` replaces the usual advice."""
    counts = np.bincount(y, minlength=len(classes))
    if not counts.all():
        missing = np.flatnonzero(counts == 0)
        usual = "subtract 1 from all labels" if missing.tolist() == [0] else "number the classes 0, 1, … without gaps"
        raise DataError(
            f"{where}: train has no row of class {missing[0]} ({classes[missing[0]]!r})"
            f"{f' and of {len(missing) - 1:,} more' if len(missing) > 1 else ''}, of {len(classes):,} classes; "
            f"{remedy or f'{usual}, write them as text, or bring rows of it'}"
        )
    if len(classes) < 2:
        raise DataError(
            f"{where}: all {len(y):,} train rows have class {classes[0]!r}; a classifier needs two classes, bring "
            f"rows of another"
        )


def shared_rows(a: np.ndarray, b: np.ndarray) -> int:
    """How many rows of `b` are identical to some row of `a`, byte for byte."""
    hashes_a, hashes_b = _row_hashes(a), _row_hashes(b)
    # Few rows have equal hashes by chance: those are compared whole, in a set, so that no data make it slow.
    known = {a[row].tobytes() for row in np.flatnonzero(np.isin(hashes_a, hashes_b))}
    return sum(b[row].tobytes() in known for row in np.flatnonzero(np.isin(hashes_b, hashes_a)))


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
