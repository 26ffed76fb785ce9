"""Writes an export: replaces only what an earlier export wrote and nobody has changed, and follows no link.

The SHA-256 of every file is stored beside it in the form of `sha256sum`, in `model.onnx.sha256` for a file and in
`SHA256SUMS` in a folder: `sha256sum -c` checks them, and a later export knows its own files by them.
"""

import hashlib
import os
import stat
from collections.abc import Mapping
from pathlib import Path

from epochal.errors import RunError, option
from epochal.system import atomic

_FIRST = b"# Files of an epochal export; one that has another SHA-256 is not replaced by a later export."
_MAX_BYTES = 1 << 20
"""Of a list of files; a longer one is not ours."""


def write(path: Path, files: Mapping[str, bytes], *, folder: bool) -> None:
    """Write an export: `files` into the folder `path`, or the only one of them as `path` itself.

    Raises RunError where that would replace what no export wrote, or what was changed since, and where it would follow
    a symbolic link; nothing is written then. Raises OSError where the disk refuses.
    """
    check(path, folder=folder)
    place, sums = (path, path / "SHA256SUMS") if folder else (path.parent, path.with_name(f"{path.name}.sha256"))
    named = files if folder else {path.name: next(iter(files.values()))}
    listed = _read_sums(sums)
    for name in named:
        _refuse_foreign(place / name, listed.get(name, set()), sums)
    atomic.make_folder(place)
    digests = {name: {hashlib.sha256(content).hexdigest()} for name, content in named.items()}
    others = {name: values for name, values in listed.items() if name not in digests} if folder else {}
    # Killed between two files, the old ones and the new ones are both known as ours.
    atomic.write(sums, _sums_text(others | {name: new | listed.get(name, set()) for name, new in digests.items()}))
    for name, content in named.items():
        atomic.write(place / name, content)
    atomic.write(sums, _sums_text(others | digests))


def check(path: Path, *, folder: bool) -> None:
    """Raise RunError where `path` is there and is no folder (no file): a link is neither."""
    mode = _mode(path)
    if mode is not None and not (stat.S_ISDIR if folder else stat.S_ISREG)(mode):
        raise RunError(
            f"{path}: is {_kind(path)}, this format writes {'a folder' if folder else 'a file'}; {_remedy()}"
        )


def _sums_text(digests: Mapping[str, set[str]]) -> bytes:
    lines = [f"{digest}  ".encode() + os.fsencode(name) for name, each in digests.items() for digest in sorted(each)]
    return b"\n".join([_FIRST, *lines, b""])


def _read_sums(sums: Path) -> dict[str, set[str]]:
    """The digests of an earlier export, by file; none where there was no export."""
    mode = _mode(sums)
    if mode is None:
        return {}
    if not stat.S_ISREG(mode):
        raise RunError(f"{sums}: is {_kind(sums)}, an export keeps the digests of its files there; {_remedy()}")
    with sums.open("rb") as file:
        first, *lines = file.read(_MAX_BYTES).split(b"\n")
    if first != _FIRST:
        raise RunError(f"{sums}: is there already, and no export wrote it; {_remedy()}")
    digests: dict[str, set[str]] = {}
    for digest, _, name in (line.partition(b"  ") for line in lines if line):
        digests.setdefault(os.fsdecode(name), set()).add(digest.decode("ascii", "replace"))
    return digests


def _refuse_foreign(path: Path, known: set[str], sums: Path) -> None:
    mode = _mode(path)
    if mode is None:
        return
    if not stat.S_ISREG(mode):
        raise RunError(f"{path}: is {_kind(path)}, an export writes a file there; {_remedy()}")
    if not known:
        raise RunError(f"{path}: is there already, and no export wrote it ({sums.name} does not list it); {_remedy()}")
    with path.open("rb") as file:
        digest = hashlib.file_digest(file, "sha256").hexdigest()
    if digest not in known:
        raise RunError(f"{path}: was changed after it was exported ({sums.name} has another SHA-256); {_remedy()}")


def _mode(path: Path) -> int | None:
    """The mode of `path`, of a link itself; None where there is nothing."""
    try:
        return path.lstat().st_mode
    except (FileNotFoundError, NotADirectoryError):
        return None


def _kind(path: Path) -> str:
    mode = _mode(path) or 0
    if stat.S_ISLNK(mode):
        return f"a symbolic link to {path.readlink()}"
    return "a folder" if stat.S_ISDIR(mode) else "a file" if stat.S_ISREG(mode) else "a device or a pipe"


def refuse_link(path: Path) -> None:
    """Raise RunError where `path` is a symbolic link."""
    if path.is_symlink():
        raise RunError(f"{path}: is {_kind(path)}, exports do not follow it; {_remedy()}")


def _remedy() -> str:
    return f"move it away, or name another place with {option('out')}"
