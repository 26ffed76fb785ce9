"""Files that are there whole or not at all."""

import json
import os
import tempfile
from contextlib import suppress
from pathlib import Path
from typing import Any


def write(path: Path, content: bytes) -> None:
    """Put `content` at `path`: written under another name, flushed to the disk, renamed. Raises OSError.

    Whoever opens `path` at any instant, or after a power loss, finds the old content or the new one, never a part.
    """
    handle, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.", suffix=".tmp")
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        Path(name).replace(path)
    except BaseException:
        with suppress(OSError):
            Path(name).unlink()
        raise
    sync_folder(path.parent)


def append(path: Path, line: str) -> None:
    """Add one line to a file and flush it to the disk. Raises OSError."""
    with path.open("a", encoding="utf-8") as file:
        file.write(line + "\n")
        file.flush()
        os.fsync(file.fileno())


def write_json(path: Path, content: Any) -> None:
    """`write` of JSON, indented for people."""
    write(path, (json.dumps(content, indent=2) + "\n").encode())


def sync_folder(folder: Path) -> None:
    """Flush a folder's entries, where the system lets folders be opened."""
    with suppress(OSError):
        handle = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)
