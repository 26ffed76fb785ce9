"""Files that grow by whole lines, a JSON value each.

Lines may be a chain: each carries the digest of the one before it and its own, so that none is changed, left out or
put in between without a trace. Lines that are cut off at the end leave none.
"""

import json
import os
import stat
from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

from epochal.system import atomic, json_file, lock, plain_files

MOST_BYTES = 512 << 20
_LONGEST, _BLOCK = json_file.MOST_BYTES, 1 << 20
_BEGIN = b'{"'
BEFORE = "before"


def line(value: Any) -> bytes:
    return (json.dumps(value) + "\n").encode()


def chained(value: dict[str, Any], before: bytes) -> bytes:
    """The line of `value` behind the line `before`, which is empty for the first one."""
    return line(json_file.sealed(value | {BEFORE: _digest_of(before)}))


def append(path: Path, added: Iterable[bytes] | Callable[[bytes], bytes]) -> None:
    """Add lines, all of them or none; `sync` flushes them to the disk. Raises OSError.

    Or the line that `added` makes of the last one. A last line that lost power has cut short is dropped; a file that
    ends otherwise is none of epochal's, and stays as it is. Processes that add at the same time wait for each other.
    """
    file = plain_files.opened(path, os.O_RDWR | os.O_CREAT | os.O_APPEND)
    try:
        lock.wait(file)
        end, last = _end(file, path)
        content = added(last) if callable(added) else b"".join(added)
        if os.fstat(file).st_size != end:
            os.ftruncate(file, end)
        try:
            plain_files.write_all(file, content)
        except BaseException:
            with suppress(OSError):
                os.ftruncate(file, end)
            raise
    finally:
        os.close(file)


def sync(path: Path) -> None:
    """Flush the lines, and the name of the file, to the disk. Raises OSError."""
    handle = plain_files.opened(path, os.O_RDWR)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
    atomic.sync_folder(path.parent)


def lines(path: Path) -> list[bytes]:
    """The whole lines; none where there is no such file. Raises OSError, also for what is too large."""
    try:
        file = plain_files.opened(path, os.O_RDONLY)
    except FileNotFoundError:
        return []
    try:
        plain_files.check_size(os.fstat(file).st_size, MOST_BYTES, path)
        return list(_lines(file))
    finally:
        os.close(file)


def unchained(texts: Iterable[bytes]) -> Iterator[dict[str, Any]]:
    """The values of the lines of a chain. Raises ValueError at the first that does not belong there."""
    before = b""
    for number, text in enumerate(texts, 1):
        try:
            value = json_file.parse(text)
            if not isinstance(value, dict):
                raise ValueError("it is no object")
            value = json_file.opened(value)
            if value.pop(BEFORE, None) != _digest_of(before):
                raise ValueError("it does not follow the line before it")
        except ValueError as error:
            raise ValueError(f"line {number:,}: {error}") from None
        before = text
        yield value


def _digest_of(text: bytes) -> str:
    """The digest that a line of a chain carries; empty for none."""
    if not text:
        return ""
    try:
        value = json_file.parse(text)
        return str(value[json_file.SEAL]) if isinstance(value, dict) else json_file.digest(value)
    except (ValueError, KeyError):
        return "of no line of a chain"


def _lines(file: int) -> Iterator[bytes]:
    rest = b""
    while block := os.read(file, _BLOCK):
        *whole, rest = (rest + block).split(b"\n")
        yield from (text + b"\n" for text in whole)
        if rest[:2] not in (_BEGIN, _BEGIN[: len(rest)]) or len(rest) > _LONGEST:
            return  # no line that a kill has cut short: whoever adds to it will say so


def _end(file: int, path: Path) -> tuple[int, bytes]:
    """Where the last whole line ends, and that line. Raises OSError where what follows is no part of one."""
    state = os.fstat(file)
    if state.st_nlink > 1 and stat.S_ISREG(state.st_mode):
        raise OSError(0, "has another name elsewhere (a hard link); put a copy of it in its place", str(path))
    plain_files.check_size(state.st_size, MOST_BYTES, path)
    tail, place = b"", state.st_size
    while place and tail.rstrip(b"\n").count(b"\n") < 2 - tail.endswith(b"\n") and len(tail) <= 2 * _LONGEST:
        step = min(_BLOCK, place)
        place -= step
        os.lseek(file, place, os.SEEK_SET)
        tail = os.read(file, step) + tail
    cut = tail.rfind(b"\n") + 1
    part = tail[cut:].rstrip(b"\0")
    last = tail[:cut].rstrip(b"\n").rpartition(b"\n")[2] + b"\n" if cut else b""
    if not (part.startswith(_BEGIN) or _BEGIN.startswith(part)) or (last and not last.startswith(_BEGIN)):
        raise OSError(0, "does not end in a line of epochal's, and stays as it is; move it elsewhere", str(path))
    return state.st_size - len(tail) + cut, last
