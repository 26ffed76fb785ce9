"""The user's cache folder, and a folder of one's own in it, by its handle: no link in it is ever followed.

Who may write to a folder of the cache gives its reader their numbers, so it must belong to this user (root: to root)
and nobody else may write to it. A folder that `EPOCHAL_CACHE` names and that is not so (a laboratory's, /tmp, a volume
of another owner in a container) holds a folder of its own for each user: `user-NUMBER`, made for that user alone.
"""

import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from epochal.errors import DataError

_OTHERS_WRITE = stat.S_IWGRP | stat.S_IWOTH
_HANDLES = os.open in os.supports_dir_fd and os.listdir in os.supports_fd
_FLAGS = getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_CLOEXEC", 0) | getattr(os, "O_NONBLOCK", 0)
_BINARY = getattr(os, "O_BINARY", 0)


def cache_folder() -> Path:
    """Where this user's data are kept that can be had again: `EPOCHAL_CACHE`, or the platform's folder for caches.

    Raises DataError where neither is to be had.
    """
    base = _named()
    try:
        found = base.stat()
    except OSError:  # it is not there yet, and will be made
        return base
    return base if is_own(found) else base / f"user-{os.geteuid()}"


def _named() -> Path:
    try:
        if named := os.environ.get("EPOCHAL_CACHE"):
            return Path(named).expanduser()
        from platformdirs import user_cache_path

        return user_cache_path("epochal", appauthor=False)
    except RuntimeError as error:  # a user without a home
        raise DataError(
            f"EPOCHAL_CACHE: the cache folder cannot be found: {error}; name a folder with EPOCHAL_CACHE"
        ) from None


def is_own(found: os.stat_result) -> bool:
    """Whether a file or folder is this user's, and nobody else may write to it. Windows does not say: True."""
    if not hasattr(os, "geteuid"):
        return True
    return found.st_uid == os.geteuid() and not found.st_mode & _OTHERS_WRITE


class Folder:
    """A folder of this user's own. Names are of files in it; a link among them is not followed."""

    def __init__(self, path: Path, handle: int | None):
        self.path, self._handle = path, handle

    @classmethod
    @contextmanager
    def opened(cls, path: Path, *, make: bool = False) -> Iterator["Folder"]:
        """The folder `path`; its last part must be no link. Raises OSError, DataError where it is not this user's."""
        if make:
            path.parent.parent.mkdir(parents=True, exist_ok=True)
            for place in (path.parent, path):
                with suppress(FileExistsError):
                    place.mkdir(0o700)
        found = path.lstat()
        if stat.S_ISLNK(found.st_mode):
            raise DataError(f"{path}: is a link; name the folder that it leads to with EPOCHAL_CACHE, or remove it")
        handle = os.open(path, os.O_RDONLY | os.O_DIRECTORY | _FLAGS) if _HANDLES else None
        try:
            found = path.lstat() if handle is None else os.fstat(handle)
            if not is_own(found):
                raise DataError(_strange(path, found))
            yield cls(path, handle)
        finally:
            if handle is not None:
                os.close(handle)

    @contextmanager
    def sub(self, name: str) -> Iterator["Folder"]:
        """The folder `name` in this one. Raises OSError, also where it is another user's or a link."""
        handle = os.open(name, os.O_RDONLY | os.O_DIRECTORY | _FLAGS, dir_fd=self._handle) if _HANDLES else None
        try:
            found = self.stat(name) if handle is None else os.fstat(handle)
            if not (stat.S_ISDIR(found.st_mode) and is_own(found)):
                raise NotADirectoryError(name)
            yield Folder(self.path / name, handle)
        finally:
            if handle is not None:
                os.close(handle)

    def open(self, name: str, flags: int = os.O_RDONLY) -> int:
        """A handle on the regular file `name`, made for this user alone where it is made. Raises OSError."""
        handle = os.open(self._at(name), flags | _FLAGS | _BINARY, 0o600, dir_fd=self._handle)
        try:
            found = os.fstat(handle)
            if not (stat.S_ISREG(found.st_mode) and is_own(found)):
                raise OSError(f"{name} is no regular file of this user's")
        except OSError:
            os.close(handle)
            raise
        return handle

    def names(self) -> list[str]:
        """What is in it. Raises OSError."""
        return os.listdir(self.path if self._handle is None else self._handle)  # noqa: PTH208  a handle

    def stat(self, name: str) -> os.stat_result:
        """Of a link the link itself. Raises OSError."""
        return os.stat(self._at(name), dir_fd=self._handle, follow_symlinks=False)

    def mkdir(self, name: str) -> None:
        """Make a folder for this user alone. Raises OSError."""
        os.mkdir(self._at(name), 0o700, dir_fd=self._handle)

    def rename(self, name: str, other: str) -> None:
        """Raises OSError."""
        os.rename(self._at(name), self._at(other), src_dir_fd=self._handle, dst_dir_fd=self._handle)

    def unlink(self, name: str) -> None:
        """Remove a file, or a link. Raises OSError."""
        os.unlink(self._at(name), dir_fd=self._handle)

    def rmdir(self, name: str) -> None:
        """Remove an empty folder. Raises OSError."""
        os.rmdir(self._at(name), dir_fd=self._handle)

    def _at(self, name: str) -> str:
        return str(self.path / name) if self._handle is None else name


def _strange(path: Path, found: os.stat_result) -> str:
    whose = f"belongs to user {found.st_uid}" if found.st_uid != os.geteuid() else "can be written by others"
    return (
        f"{path}: {whose} (mode {stat.S_IMODE(found.st_mode):04o}), and who may write there gives you your numbers; "
        f"name a folder of your own with EPOCHAL_CACHE, or chmod 700 it where it is yours"
    )
