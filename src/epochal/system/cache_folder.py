"""The user's cache folder, and private folders in it, opened by handle: no link in them is ever followed.

Who may write to a folder of the cache gives its reader their numbers, so it must belong to this user (root: to root)
and nobody else may write to it. A folder that `EPOCHAL_CACHE` names and that is not so (a laboratory's, /tmp, a volume
of another owner in a container) holds a private folder for each user: `user-NUMBER`.
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
    """The folder of data that can be fetched or converted again: `EPOCHAL_CACHE`, or the platform's folder for caches.

    Raises DataError where there is neither.
    """
    base = _named()
    try:
        state = base.stat()
    except OSError:  # it does not exist yet
        return base
    return base if is_own(state) else base / f"user-{os.geteuid()}"


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


def is_own(state: os.stat_result) -> bool:
    """Whether a file or folder is this user's, and nobody else may write to it. Windows does not say: True."""
    if not hasattr(os, "geteuid"):
        return True
    return state.st_uid == os.geteuid() and not state.st_mode & _OTHERS_WRITE


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
        state = path.lstat()
        if stat.S_ISLNK(state.st_mode):
            raise DataError(f"{path}: is a link; name the folder that it leads to with EPOCHAL_CACHE, or remove it")
        handle = os.open(path, os.O_RDONLY | os.O_DIRECTORY | _FLAGS) if _HANDLES else None
        try:
            state = path.lstat() if handle is None else os.fstat(handle)
            if not is_own(state):
                raise DataError(_strange(path, state))
            yield cls(path, handle)
        finally:
            if handle is not None:
                os.close(handle)

    @contextmanager
    def sub(self, name: str) -> Iterator["Folder"]:
        """The folder `name` in this one. Raises OSError, also where it is another user's or a link."""
        handle = os.open(name, os.O_RDONLY | os.O_DIRECTORY | _FLAGS, dir_fd=self._handle) if _HANDLES else None
        try:
            state = self.stat(name) if handle is None else os.fstat(handle)
            if not (stat.S_ISDIR(state.st_mode) and is_own(state)):
                raise NotADirectoryError(name)
            yield Folder(self.path / name, handle)
        finally:
            if handle is not None:
                os.close(handle)

    def open(self, name: str, flags: int = os.O_RDONLY) -> int:
        """A handle on the regular file `name`; a new file is private to this user. Raises OSError."""
        handle = os.open(self._at(name), flags | _FLAGS | _BINARY, 0o600, dir_fd=self._handle)
        try:
            state = os.fstat(handle)
            if not (stat.S_ISREG(state.st_mode) and is_own(state)):
                raise OSError(f"{name} is no regular file of this user's")
        except OSError:
            os.close(handle)
            raise
        return handle

    def names(self) -> list[str]:
        return os.listdir(self.path if self._handle is None else self._handle)  # noqa: PTH208  a handle

    def stat(self, name: str) -> os.stat_result:
        """Of a link the link itself. Raises OSError."""
        return os.stat(self._at(name), dir_fd=self._handle, follow_symlinks=False)

    def mkdir(self, name: str) -> None:
        os.mkdir(self._at(name), 0o700, dir_fd=self._handle)

    def rename(self, name: str, other: str) -> None:
        os.rename(self._at(name), self._at(other), src_dir_fd=self._handle, dst_dir_fd=self._handle)

    def unlink(self, name: str) -> None:
        os.unlink(self._at(name), dir_fd=self._handle)

    def rmdir(self, name: str) -> None:
        os.rmdir(self._at(name), dir_fd=self._handle)

    def _at(self, name: str) -> str:
        return str(self.path / name) if self._handle is None else name


def _strange(path: Path, state: os.stat_result) -> str:
    whose = f"belongs to user {state.st_uid}" if state.st_uid != os.geteuid() else "can be written by others"
    return (
        f"{path}: {whose} (mode {stat.S_IMODE(state.st_mode):04o}), and who may write there gives you your numbers; "
        f"name a folder of your own with EPOCHAL_CACHE, or chmod 700 it where it is yours"
    )
