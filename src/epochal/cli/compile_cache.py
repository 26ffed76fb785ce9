"""JAX's persistent compilation cache, in the user's cache folder: the second `epochal train` does not compile again.

It is the command's alone. A program that imports epochal chooses for itself, by JAX's own settings.
"""

import hashlib
import os
import platform
from contextlib import suppress
from pathlib import Path

from platformdirs import user_cache_path

from epochal.errors import DataError
from epochal.system import environment as surroundings
from epochal.system.cache_folder import Folder

MOST_BYTES = 1 << 30


def enable() -> None:
    """Enable the cache before JAX is imported. What the user has set stays as it is."""
    environment = os.environ
    if "JAX_COMPILATION_CACHE_DIR" not in environment:
        try:
            environment["JAX_COMPILATION_CACHE_DIR"] = str(_create_folder())
        except (RuntimeError, OSError, DataError):  # no home, or a folder of others: everything is compiled again
            return
        environment.setdefault("JAX_COMPILATION_CACHE_MAX_SIZE", str(MOST_BYTES))
    environment.setdefault("JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS", "0")
    environment.setdefault("JAX_PERSISTENT_CACHE_MIN_ENTRY_SIZE_BYTES", "-1")
    if environment.get("JAX_COMPILATION_CACHE_MAX_SIZE", "-1") != "-1":
        with suppress(OSError):
            _sweep(Path(environment["JAX_COMPILATION_CACHE_DIR"]))


def _create_folder() -> Path:
    """The folder, made for this user alone: a program of another's is executed. Raises OSError, DataError."""
    place = folder()
    with Folder.opened(place, make=True):
        return place


def _sweep(programs: Path) -> None:
    """Remove what a killed process has half written: JAX would warn of it in every later run.

    Where its cache has a limit, JAX writes `NAME-cache`, then `NAME-atime`, under a lock, and wants both of each.
    """

    def halves() -> list[str]:
        names = {path.name for path in programs.iterdir()}
        return [n for n in names if n.endswith("-cache") and f"{n.removesuffix('-cache')}-atime" not in names]

    if halves():
        from filelock import FileLock, Timeout

        with suppress(Timeout), FileLock(programs / ".lockfile", timeout=0):  # whoever has it is writing
            for name in halves():
                (programs / name).unlink(missing_ok=True)


def folder() -> Path:
    """The folder of the programs: one for each kind of processor, as machines of several kinds may share a home."""
    kind = hashlib.sha256(f"{platform.machine()} {surroundings.features()}".encode()).hexdigest()[:12]
    return user_cache_path("epochal", appauthor=False) / "programs" / kind
