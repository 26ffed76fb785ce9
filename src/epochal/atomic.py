"""Files that are there whole or not at all."""

import errno
import json
import os
import secrets
from contextlib import suppress
from pathlib import Path
from typing import Any


def write(path: Path, content: bytes) -> None:
    """Put `content` at `path`: written under another name, flushed to the disk, renamed. Raises OSError.

    Whoever opens `path` at any instant, or after a power loss, finds the old content or the new one, never a part.
    """
    other = path.with_name(f".{path.name}.{secrets.token_hex(4)}.tmp")
    try:
        with other.open("xb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        other.replace(path)
    except BaseException:
        with suppress(OSError):
            other.unlink()
        raise
    sync_folder(path.parent)


def write_json(path: Path, content: Any) -> None:
    """`write` of JSON, indented for people."""
    write(path, (json.dumps(content, indent=2) + "\n").encode())


def sweep(folder: Path, *names: str) -> None:
    """Remove what killed writers of the files `names` (patterns) have left in `folder`. Raises OSError."""
    for name in names:
        for path in folder.glob(f".{name}.*.tmp"):
            path.unlink(missing_ok=True)


def make_folder(folder: Path) -> None:
    """Make `folder` and those above it, each with its entry flushed to the disk. Raises OSError."""
    if not folder.is_dir():
        if folder.parent != folder:  # a drive that is not there is its own parent
            make_folder(folder.parent)
        folder.mkdir(exist_ok=True)
        sync_folder(folder.parent)


def sync_folder(folder: Path) -> None:
    """Flush a folder's entries, where the system can. Raises OSError."""
    try:
        handle = os.open(folder, os.O_RDONLY)
    except PermissionError:  # Windows opens no folders; elsewhere one may be written to and not read
        return
    try:
        os.fsync(handle)
    except OSError as error:
        if error.errno not in (errno.EINVAL, errno.ENOTSUP):  # file systems that flush no folders
            raise
    finally:
        os.close(handle)
