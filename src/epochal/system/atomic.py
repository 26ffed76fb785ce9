"""Atomic writes: files that are there whole or not at all."""

import errno
import json
import os
import re
import secrets
from contextlib import suppress
from pathlib import Path
from typing import Any

from epochal.system import plain_files

_NEW = os.O_WRONLY | os.O_CREAT | os.O_EXCL


def write(path: Path, content: bytes) -> None:
    """Put `content` at `path`: written under another name, flushed to the disk, renamed. Raises OSError.

    Whoever opens `path` at any instant, or after a power loss, finds the old content or the new one, never a part.
    A link of that name is replaced, and not followed.
    """
    other = path.with_name(f".{path.name}.{secrets.token_hex(4)}.tmp")
    with plain_files.folder(path.parent) as handle:
        file = os.open(plain_files.at(other, handle), _NEW | plain_files.SAFE, 0o666, dir_fd=handle)
        try:
            try:
                plain_files.write_all(file, content)
                os.fsync(file)
            finally:
                os.close(file)
            names = plain_files.at(other, handle), plain_files.at(path, handle)
            os.replace(*names, src_dir_fd=handle, dst_dir_fd=handle)
        except BaseException:
            with suppress(OSError):
                os.unlink(plain_files.at(other, handle), dir_fd=handle)
            raise
    sync_folder(path.parent)


def write_json(path: Path, content: Any) -> None:
    """`write` of JSON, indented for people."""
    write(path, (json.dumps(content, indent=2) + "\n").encode())


def sweep(folder: Path, *names: str) -> None:
    """Remove what killed writers of the files `names` (regular expressions) have left in `folder`. Raises OSError."""
    pattern = re.compile(rf"\.(?:{'|'.join(names)})\.[0-9a-f]{{8}}\.tmp")
    for path in list(folder.iterdir()):
        if pattern.fullmatch(path.name) and plain_files.is_plain(path):
            plain_files.unlink(path)


def is_temporary(name: str) -> bool:
    """Whether a file of that name is what a killed writer has left."""
    return re.fullmatch(r"\..+\.[0-9a-f]{8}\.tmp", name) is not None


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
