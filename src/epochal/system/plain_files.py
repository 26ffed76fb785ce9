"""Files of a folder that somebody else may have made: opened without following links, and read with a bound.

A file is opened relative to a handle of its folder, and is a regular file, or it is refused. The folder itself may be
a link where its user named it; inside a run or a selection (`Inner`) no folder may be one.
"""

import errno
import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

_BY_HANDLE = os.open in os.supports_dir_fd  # not on Windows: paths are opened as they are there
_FOLDER = getattr(os, "O_DIRECTORY", 0) | getattr(os, "O_CLOEXEC", 0) | getattr(os, "O_PATH", os.O_RDONLY)
_PLAIN = getattr(os, "O_CLOEXEC", 0) | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0)
_NO_LINK = getattr(os, "O_NOFOLLOW", 0)
SAFE = _PLAIN | _NO_LINK
"""Flags of every file that is opened: no link, no waiting for a FIFO, not for children."""
_KINDS = {
    stat.S_IFLNK: "a link, which is not followed here", stat.S_IFIFO: "a FIFO", stat.S_IFSOCK: "a socket",
    stat.S_IFCHR: "a device", stat.S_IFBLK: "a device", stat.S_IFDIR: "a folder",
}  # fmt: skip
_BLOCK = 1 << 24


class Inner(type(Path())):  # pyrefly: ignore
    """The path of a folder inside a run or a selection, or of a file there: the folder is never a link."""


@contextmanager
def folder(path: Path) -> Iterator[int | None]:
    """A handle of the folder `path`; None where the system opens no files by one. Raises OSError."""
    if not _BY_HANDLE:
        if isinstance(path, Inner) and path.is_symlink():
            raise OSError(errno.ELOOP, _is(stat.S_IFLNK), str(path))
        yield None
        return
    if isinstance(path, Inner) and stat.S_ISLNK(os.lstat(path).st_mode):  # for the words; the flag decides
        raise OSError(errno.ELOOP, _is(stat.S_IFLNK), str(path))
    handle = os.open(path, _FOLDER | (_NO_LINK if isinstance(path, Inner) else 0))
    try:
        yield handle
    finally:
        os.close(handle)


def at(path: Path, handle: int | None) -> str | Path:
    """How the file `path` is called beside the `handle` of its folder."""
    return path if handle is None else path.name


def opened(path: Path, flags: int, mode: int = 0o666) -> int:
    """A handle of the regular file `path`. Raises OSError, in words, for what is none."""
    with folder(path.parent) as handle:
        name = at(path, handle)
        try:
            _check(os.stat(name, dir_fd=handle, follow_symlinks=False), path)
        except FileNotFoundError:
            if not flags & os.O_CREAT:
                raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), str(path)) from None
        file = os.open(name, flags | SAFE, mode, dir_fd=handle)
    try:
        _check(os.fstat(file), path)
    except BaseException:
        os.close(file)
        raise
    return file


def is_plain(path: Path) -> bool:
    """Whether `path` is a regular file, and no link to one."""
    try:
        with folder(path.parent) as handle:
            return stat.S_ISREG(os.stat(at(path, handle), dir_fd=handle, follow_symlinks=False).st_mode)
    except OSError:
        return False


def check_folder(path: Path) -> None:
    """Raise OSError where something lies at `path` that is no folder, such as a link to one."""
    if os.path.lexists(path) and not stat.S_ISDIR(mode := os.lstat(path).st_mode):
        raise OSError(errno.ENOTDIR, _is(stat.S_IFMT(mode)), str(path))


def exists(path: Path) -> bool:
    """Whether there is anything of that name, a broken link included."""
    return os.path.lexists(path)


def read(path: Path, most: int) -> bytes:
    """The content of a regular file of at most `most` bytes. Raises OSError, in words, for any other."""
    file = opened(path, os.O_RDONLY)
    try:
        size = os.fstat(file).st_size
        check_size(size, most, path)
        content = bytearray()
        while block := os.read(file, min(_BLOCK, most + 1 - len(content))):
            content += block
            check_size(len(content), most, path)  # of a file that grows
        return bytes(content)
    finally:
        os.close(file)


def write_all(file: int, content: bytes | memoryview) -> None:
    """Write all of `content`; a disk that is nearly full takes a part. Raises OSError."""
    left = memoryview(content)
    while left:
        left = left[os.write(file, left) :]


def replace(path: Path, name: str) -> Path:
    """Rename a file within its folder; an older one of that name is replaced. Raises OSError."""
    other = path.with_name(name)
    with folder(path.parent) as handle:
        os.replace(at(path, handle), at(other, handle), src_dir_fd=handle, dst_dir_fd=handle)
    return other


def unlink(path: Path) -> None:
    """Remove a file or a link, if it is there. Raises OSError."""
    with folder(path.parent) as handle:
        try:
            os.unlink(at(path, handle), dir_fd=handle)
        except FileNotFoundError:
            return


def set_aside(path: Path, word: str) -> Path:
    """Rename `path` to a name with `word` that is free, and return that. Raises OSError."""
    names = (f"{path.name}.{word}{f'-{number}' if number > 1 else ''}" for number in range(1, 10_000))
    return replace(path, next(name for name in names if not exists(path.with_name(name))))


def check_size(size: int, most: int, path: Path) -> None:
    """Raise OSError for a file of more than `most` bytes."""
    if size > most:
        raise OSError(errno.EFBIG, f"has {size:,} bytes, more than the {most:,} that it may have", str(path))


def reason(error: BaseException) -> str:
    """What an error says, without its number."""
    return (error.strerror if isinstance(error, OSError) else "") or str(error) or repr(error)


def _check(state: os.stat_result, path: Path) -> None:
    if not stat.S_ISREG(state.st_mode):
        raise OSError(errno.EINVAL, _is(stat.S_IFMT(state.st_mode)), str(path))


def _is(kind: int) -> str:
    return f"is {_KINDS.get(kind, 'no file')}"
