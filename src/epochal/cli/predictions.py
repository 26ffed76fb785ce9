"""Files of predictions: where one may be written, and in what form."""

import csv
import io
import json
import os
import secrets
import stat
import sys
import zipfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from epochal.cli.streams import EXACT
from epochal.errors import RecipeError, StorageError

FORMS = (".csv", ".jsonl", ".npz")
_FORMULA = ("=", "+", "-", "@", "\t", "\r", "\n")
_ARRAYS = {"label.npy", "probabilities.npy", "classes.npy"}


def check_place(out: Path, inputs: Sequence[Any]) -> None:
    """Raise RecipeError where predictions cannot be written to `out`, or would take the place of something else.

    `inputs` are the files that the rows come from. Nothing but an earlier file of predictions is replaced.
    """
    if out.suffix not in FORMS:
        raise RecipeError(f"--out {out}: must end in one of {', '.join(FORMS)}")
    try:
        mode = out.lstat().st_mode
    except FileNotFoundError:
        _check_folder(out)
        return
    except OSError as error:
        raise _unwritable(out, error) from None
    if not stat.S_ISREG(mode):
        raise RecipeError(f"--out {out}: is {_kind(mode)}, and predictions go to a file; give another name")
    if any(_same(out, given) for given in inputs):
        raise RecipeError(f"--out {out}: is the file that the rows come from; give another name")
    if not _is_ours(out):
        raise RecipeError(
            f"--out {out}: is there already, and holds no predictions of epochal's, which alone are replaced; "
            f"give another name, or remove it"
        )
    _check_folder(out)


def write(out: Path | None, p: Any, classes: Sequence[str], *, escape_formulas: bool = False) -> None:
    """Predictions to a file of the form that its name says, whole or not at all, or as CSV to standard output.

    Raises StorageError.
    """
    from epochal.system import atomic

    if out is None:
        _to_standard_output(_csv(p, classes, escape_formulas))
        return
    if out.suffix == ".npz":
        content = _npz(p, classes)
    else:
        text = "".join(_json_lines(p, classes)) if out.suffix == ".jsonl" else _csv(p, classes, escape_formulas)
        content = text.encode(errors=EXACT)
    try:
        atomic.write(out, content)
    except OSError as error:
        raise StorageError(
            f"--out {out}: cannot be written: {error.strerror or error}; nothing is left there"
        ) from None


def _to_standard_output(text: str) -> None:
    exactly = getattr(sys.stdout, "write_exactly", None)  # of `Guard`
    (exactly or sys.stdout.write)(text)


def _csv(p: Any, classes: Sequence[str], escape_formulas: bool) -> str:
    text = io.StringIO()
    names = [_no_formula(name) for name in classes] if escape_formulas else classes
    table = csv.writer(text, lineterminator="\n")
    table.writerow(["row", "class", *(f"p({name})" for name in classes)])
    for row, (label, ps) in enumerate(zip(p.argmax(axis=1).tolist(), p, strict=True)):
        table.writerow([row, names[label], *(f"{value:.6g}" for value in ps)])
    return text.getvalue()


def _no_formula(name: str) -> str:
    """The name, behind an apostrophe where a spreadsheet would take it for a formula; a number is none."""
    if not name.startswith(_FORMULA):
        return name
    try:
        float(name)
    except ValueError:
        return f"'{name}"
    return name


def _json_lines(p: Any, classes: Sequence[str]) -> Iterator[str]:
    for row, (label, ps) in enumerate(zip(p.argmax(axis=1).tolist(), p.tolist(), strict=True)):
        line = {"row": row, "class": classes[label], "probabilities": dict(zip(classes, ps, strict=True))}
        yield json.dumps(line) + "\n"


def _npz(p: Any, classes: Sequence[str]) -> bytes:
    import numpy as np

    buffer = io.BytesIO()
    np.savez(buffer, label=p.argmax(axis=1).astype(np.int32), probabilities=p, classes=np.array(classes))
    return buffer.getvalue()


def _check_folder(out: Path) -> None:
    """Raise RecipeError where no file can be made beside `out`, under the kind of name that it is written by first."""
    trial = out.with_name(f".{out.name}.{secrets.token_hex(4)}.tmp")
    try:
        os.close(os.open(trial, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600))
        trial.unlink()
    except OSError as error:
        raise _unwritable(out, error) from None


def _unwritable(out: Path, error: OSError) -> RecipeError:
    where = "" if out.parent.is_dir() else f": there is no folder {out.parent}"
    reason = where or f": {error.strerror or error}"
    return RecipeError(f"--out {out}: cannot be written{reason}; nothing was computed")


def _kind(mode: int) -> str:
    kinds = {stat.S_IFDIR: "a folder", stat.S_IFLNK: "a link", stat.S_IFIFO: "a named pipe", stat.S_IFSOCK: "a socket"}
    return kinds.get(stat.S_IFMT(mode), "a device")


def _same(out: Path, given: Any) -> bool:
    try:
        return out.samefile(given)
    except (OSError, TypeError, ValueError):  # a data set by its name
        return False


def _is_ours(path: Path) -> bool:
    """Whether the file is empty, or one that `write` has written, by its beginning."""
    try:
        if path.stat().st_size == 0:
            return True
        if path.suffix == ".npz":
            with zipfile.ZipFile(path) as archive:
                return set(archive.namelist()) == _ARRAYS
        with path.open("rb") as file:
            start = file.read(64)
    except (OSError, ValueError, zipfile.BadZipFile, NotImplementedError):
        return False
    return start.startswith(b"row,class,p(" if path.suffix == ".csv" else b'{"row": 0, "class": "')
