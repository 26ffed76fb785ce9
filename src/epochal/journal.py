"""Files that grow by whole lines, a JSON value each."""

import json
import os
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path
from typing import IO, Any

from epochal import atomic, lock


def line(value: Any) -> bytes:
    """The line of `value`."""
    return (json.dumps(value) + "\n").encode()


def append(path: Path, added: Iterable[bytes]) -> None:
    """Add lines, all of them or none; `sync` flushes them to the disk. Raises OSError.

    A last line that lost power has cut short is dropped. Processes that add at the same time wait for each other.
    """
    with path.open("ab+", buffering=0) as file:
        lock.wait(file)
        end = _whole(file)
        file.truncate(end)
        content = b"".join(added)
        try:
            while content:  # a disk that is nearly full takes a part
                content = content[file.write(content) :]
        except BaseException:
            with suppress(OSError):
                file.truncate(end)
            raise


def sync(path: Path) -> None:
    """Flush the lines, and the name of the file, to the disk. Raises OSError."""
    handle = os.open(path, os.O_RDWR)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
    atomic.sync_folder(path.parent)


def lines(path: Path) -> list[bytes]:
    """The whole lines; none where there is no such file. Raises OSError."""
    try:
        content = path.read_bytes()
    except FileNotFoundError:
        return []
    return [text + b"\n" for text in content.split(b"\n")[:-1]]


def _whole(file: IO[bytes]) -> int:
    """Where the last whole line ends."""
    size = file.seek(0, os.SEEK_END)
    file.seek(max(0, size - 1))
    if file.read(1) in (b"", b"\n"):
        return size
    file.seek(0)
    return file.read().rfind(b"\n") + 1
