"""Executes a user's file, or what a run has kept of it: once, as long as its texts stay the same."""

from collections.abc import Mapping
from pathlib import Path
from threading import RLock
from types import ModuleType
from typing import NamedTuple

from epochal.system.user_package import Package, packages, read_text

_lock = RLock()
_current: dict[Path, Package] = {}


class Root(NamedTuple):
    """A module that was named by a user, and so the beginning of what is executed."""

    package: Package
    module: ModuleType
    relative: str

    @property
    def files(self) -> dict[str, bytes]:
        """The text of the file and of all that it has imported from its folder so far, by path in the folder."""
        return self.package.files(self.module.__name__)


def executed(path: Path) -> Root:
    """The module of a file, executed once as long as it and what it imports from its folder stay the same.

    Raises OSError where it cannot be read, and whatever the user's code raises.
    """
    with _lock:
        package = _current.get(path.parent)
        if package is None or not package.is_fresh(path.name):
            package = _current[path.parent] = Package(path.parent)
        return Root(package, package.load(path.name), path.name)


def kept(folder: Path, relative: str, texts: Mapping[str, bytes], place: Path) -> Root:
    """The module `relative` of a folder as it was, executed from `texts`; `place` is where these lie.

    Where the very texts have been executed before, it is the same module.
    """
    with _lock:
        for package in list(packages.values()):
            if package.folder == folder and package.has_executed(relative, texts):
                return Root(package, package.load(relative), relative)
        package = Package(folder, texts, place)
        return Root(package, package.load(relative), relative)


__all__ = ["Root", "executed", "kept", "read_text"]
