"""Class probabilities of an epochal model, with NumPy and nothing else.

python predict.py NEW.csv          rows of a table, with the columns trained on in any order
python predict.py NEW.npy          rows of an array, [rows, ...]
python predict.py NEW.csv --out PREDICTIONS.csv

From Python: `predict_proba(rows)` takes an array [rows, ...], or a table as a mapping of columns.
"""

import argparse
import csv
import json
import math
import sys
from pathlib import Path

import numpy as np

_HERE = Path(__file__).resolve().parent
_BLOCK = 1000
_ABSENT = {"", "na", "n/a", "nan", "null", "none"}
_SAID = []
_BOOLEANS = {"true": 1.0, "yes": 1.0, "false": 0.0, "no": 0.0, "1": 1.0, "0": 0.0}


def load():
    """The model's description, and its arrays by name."""
    about = json.loads((_HERE / "model.json").read_text(encoding="utf-8"))
    with np.load(_HERE / "parameters.npz", allow_pickle=False) as file:
        return about, {name: file[name] for name in file.files}


def features(about, rows):
    """Stored rows as the model takes them: an array of its shape, or the columns of a table as numbers."""
    if about["columns"] is None:
        return stored(about["rows"], np.asarray(rows))
    ignored(about, rows)
    lacking = [plan["name"] for plan in about["columns"] if plan["name"] not in rows]
    if lacking:
        raise ValueError(f"the table lacks the columns {', '.join(map(repr, lacking))}")
    parts = [_column(plan, np.asarray(rows[plan["name"]]).reshape(-1)) for plan in about["columns"]]
    return np.concatenate(parts, axis=1).astype(about["rows"]["dtype"], copy=False)


def stored(expected, x):
    """Rows of an array, if they are of the shape and the kind of numbers that the model was trained on."""
    if list(x.shape[1:]) != expected["shape"][1:]:
        raise ValueError(f"rows have shape {list(x.shape[1:])}, the model takes {expected['shape'][1:]}")
    takes = expected["dtype"] + (f" from {expected['range'][0]} to {expected['range'][1]}" if expected["range"] else "")
    if x.size and x.dtype.kind not in ("iub" if expected["range"] else "f"):
        raise ValueError(
            f"rows are {x.dtype}, the model takes {takes}, as it was trained on (and divides by "
            f"{expected['divided_inside_by']:g} itself); bring them to that form, then .astype({expected['dtype']!r})"
        )
    if (
        x.size
        and expected["range"]
        and not expected["range"][0] <= int(x.min()) <= int(x.max()) <= expected["range"][1]
    ):
        raise ValueError(f"rows go from {x.min()} to {x.max()}, the model takes {takes}, as it was trained on")
    return x.astype(expected["dtype"], copy=False)


def ignored(about, names):
    """Say on standard error, once, which columns of a table the model does not take."""
    known = {about["label"], *(plan["name"] for plan in about["columns"])}
    others = [name for name in names if name not in known]
    if others and others not in _SAID:
        _SAID.append(others)
        print(f"note: ignored columns: {', '.join(map(str, others))}", file=sys.stderr)


def _column(plan, cells):
    """The features of one column: float32 [rows, features]."""
    if plan["kind"] == "category":
        count = len(plan["categories"])
        known = {value: i for i, value in enumerate(plan["categories"])}
        texts = ["" if cell is None else str(cell) for cell in cells]
        absent = np.array([text not in known and text == "" for text in texts], bool)
        out = np.zeros((len(texts), count + 1), np.float32)
        codes = np.array([known.get(text, count) for text in texts], np.int64)
        out[np.flatnonzero(~absent), codes[~absent]] = 1
    else:
        values = cells.astype(np.float64)
        absent = np.isnan(values)
        middle = 0.5 if plan["kind"] == "boolean" else plan["mean"]
        filled = np.where(absent, middle, values)
        if plan["kind"] == "number":
            filled = (filled - plan["mean"]) / plan["scale"]
        out = filled.astype(np.float32)[:, None]
    return np.concatenate([out, absent[:, None].astype(np.float32)], axis=1) if plan["missing"] else out


def read_csv(about, path, separator=None):
    """The model's columns of a text table with a header. Cells are understood as epochal does."""
    with open(path, encoding="utf-8-sig", newline="") as file:
        head = file.readline()
        file.seek(0)
        separator = separator or max(",;\t|", key=head.count)
        names, *rows = [row for row in csv.reader(file, delimiter=separator, strict=True) if row]
    names = [name.strip() for name in names]
    ignored(about, names)
    columns = {}
    for plan in about["columns"]:
        if plan["name"] not in names:
            raise ValueError(f"{path}: has no column {plan['name']!r}, only {', '.join(names)}")
        place = names.index(plan["name"])
        cells = []
        for number, row in enumerate(rows):
            if len(row) != len(names):
                raise ValueError(f"{path}: row {number}: has {len(row)} cells, the header {len(names)}")
            cells.append(_cell(row[place].strip(), plan, f"{path}: row {number}, column {plan['name']!r}"))
        columns[plan["name"]] = np.array(cells, object if plan["kind"] == "category" else np.float64)
    return columns


def _cell(cell, plan, where):
    if cell.lower() in _ABSENT:
        return "" if plan["kind"] == "category" else math.nan
    if plan["kind"] == "category":
        return cell
    try:
        value = _BOOLEANS[cell.lower()] if plan["kind"] == "boolean" else float(cell)
        if not math.isfinite(value) or "_" in cell:
            raise ValueError
        return value
    except (KeyError, ValueError):
        raise ValueError(f"{where}: {cell!r} is no {plan['kind']}") from None


def main(predict_proba):
    """The command line."""
    about, _ = load()
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path)
    parser.add_argument("--out", type=Path)
    parser.add_argument("--separator")
    arguments = parser.parse_args()
    try:
        if about["columns"] is None:
            rows = np.load(arguments.data, allow_pickle=False)
        else:
            rows = read_csv(about, arguments.data, arguments.separator)
        p = predict_proba(rows)
        if arguments.out:
            with open(arguments.out, "w", encoding="utf-8", newline="") as file:
                write_csv(file, p, about["classes"])
    except (OSError, ValueError, EOFError, csv.Error) as error:
        sys.exit(f"predict.py: {error}")
    if not arguments.out:
        write_csv(sys.stdout, p, about["classes"])


def write_csv(file, p, classes):
    """A line a row: its number, the class, all classes' probabilities."""
    table = csv.writer(file, lineterminator="\n")
    table.writerow(["row", "class", *(f"p({name})" for name in classes)])
    for row, (label, ps) in enumerate(zip(p.argmax(axis=1).tolist(), p, strict=True)):
        table.writerow([row, classes[label], *(f"{value:.6g}" for value in ps)])


def softmax(logits):
    """The probabilities of logits [rows, classes]."""
    e = np.exp(logits - logits.max(axis=-1, keepdims=True))
    return e / e.sum(axis=-1, keepdims=True)


def erf(x):
    """The error function, which NumPy lacks."""
    return np.vectorize(math.erf, otypes=[x.dtype])(x)


def whole(x, dtype):
    """Floats as whole numbers, as JAX makes them: NaN is 0, what is beyond the dtype its least or greatest number."""
    info = np.iinfo(dtype)
    x = np.where(np.isnan(x), 0, x.astype(np.float64))
    return np.clip(x, info.min, np.nextafter(float(info.max) + 1, 0)).astype(dtype)


def lookup(x, indices, lengths, fill):
    """Of x [places, ...] those at indices [..., columns]: beyond `lengths` the nearest, or `fill` if there is one."""
    indices, flat = indices.astype(np.int64), np.int64(0)
    for column, length in enumerate(lengths):
        flat = flat * length + np.clip(indices[..., column], 0, length - 1)
    if fill is None:
        return x[flat]
    inside = ((indices >= 0) & (indices < np.array(lengths))).all(axis=-1)
    return np.where(inside.reshape(inside.shape + (1,) * (x.ndim - 1)), x[flat], fill)


def windows(x, size, strides, padding, dilation, fill):
    """Every window of x over all axes: [*places, *size]."""
    x = np.pad(x, padding, constant_values=fill)
    reach = [(s - 1) * d + 1 for s, d in zip(size, dilation, strict=True)]
    view = np.lib.stride_tricks.sliding_window_view(x, reach)
    return view[tuple([slice(None, None, s) for s in strides] + [slice(None, None, d) for d in dilation])]


def pool(x, reduce, size, strides, padding, dilation, fill):
    """A reduction over windows."""
    view = windows(x, size, strides, padding, dilation, fill)
    return reduce(view, axis=tuple(range(x.ndim, 2 * x.ndim)))


def convolution(x, w, strides, padding, dilation, groups):
    """Cross-correlation of x [rows, in, *places] with w [out, in / groups, *size]."""
    rank, each = x.ndim - 2, w.shape[0] // groups
    inside, parts = w.shape[1], []
    for g in range(groups):
        part = x[:, g * inside : (g + 1) * inside]
        view = windows(part, (1, 1, *w.shape[2:]), (1, 1, *strides), ((0, 0), (0, 0), *padding), (1, 1, *dilation), 0)
        view = view[(..., *([0, 0] + [slice(None)] * rank))]  # [rows, in, *places, *size]
        axes = ([1, *range(2 + rank, 2 + 2 * rank)], [1, *range(2, 2 + rank)])
        product = np.tensordot(view, w[g * each : (g + 1) * each], axes)  # [rows, *places, out / groups]
        parts.append(np.moveaxis(product, -1, 1))
    return np.concatenate(parts, axis=1)
