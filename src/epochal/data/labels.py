"""Labels as int32 codes of classes, checked on the host before any cast, with row numbers in the messages.

On the device 2**32 + 3 would become 3, -1 the last class, and 10 of 10 classes a NaN, all without a word.
"""

from collections.abc import Mapping, Sequence
from typing import Any, NoReturn

import numpy as np

from epochal.errors import DataError

MAX_CLASSES = 100_000


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
    texts = np.unique(arrays["train"]) if arrays["train"].dtype.kind == "U" else None
    names = texts.tolist() if texts is not None else names
    if names is not None and len(set(names)) < len(names):
        twice = next(name for place, name in enumerate(names) if name in names[:place])
        raise DataError(f"{where}: two classes are called {twice[:80]!r}; rename one of them")
    count = len(names) if names is not None else int(arrays["train"].max()) + 1
    if count > MAX_CLASSES:
        raise DataError(
            f"{where}: the labels mean {count:,} classes, at most {MAX_CLASSES:,} are supported; "
            f"are these labels, or row numbers, or a regression target?"
        )
    if texts is not None:
        return {split: _codes(y, texts, f"{where}: {split}") for split, y in arrays.items()}, tuple(names or ())
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
        return _text(y.astype(y.dtype.newbyteorder("="), copy=False), where)
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
    return (str(value) if isinstance(value, np.generic) else repr(value)).replace("\n", " ")[:80]


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
    if first == "text":
        row = next((row for row, value in enumerate(values) if value.endswith("\0")), None)
        if row is not None:
            raise DataError(
                f"{where}: row {row:,} has label {_shown(values[row])}, whose last character is NUL, which text cannot "
                f"keep; write it without"
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


def known_labels(y: np.ndarray, classes: Sequence[str], where: str) -> np.ndarray:
    """Labels of other rows as int32 codes of `classes`: whole numbers number them, text names them."""
    if y.dtype.kind in "biuf":
        return encode_labels({"train": y}, where, classes)[0]["train"]
    order = np.argsort(np.array(classes, dtype=str), kind="stable")
    return order[_codes(_text(y, where), np.array(classes, dtype=str)[order], where)].astype(np.int32)


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
