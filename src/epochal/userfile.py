"""Objects of a user's own Python file, named FILE.py:NAME. The file is executed: it is the user's own code."""

import hashlib
import sys
import sysconfig
import traceback
from collections.abc import Iterable, Mapping
from functools import cache
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path
from typing import Any, NamedTuple

from epochal.errors import RecipeError

_SHOWN = 160  # characters of a foreign exception's message
_NOT_THEIRS = (str(Path(__file__).parent), sysconfig.get_path("stdlib"), "<")


class Fetched(NamedTuple):
    """An object, and the file that it came from; both are empty where it was given by value."""

    value: Any
    reference: str = ""
    sha256: str = ""

    @property
    def files(self) -> dict[str, str]:
        """The file and its SHA-256, as a run folder keeps it."""
        return {str(parted(self.reference)[0]): self.sha256} if self.reference else {}


GIVEN = Fetched(None)
"""From no file: given by value."""


def is_reference(text: object) -> bool:
    """Whether `text` has the form FILE.py:NAME."""
    return isinstance(text, str) and parted(text)[0].suffix == ".py" and text.rpartition(":")[2].isidentifier()


def absolute(reference: str) -> str:
    """The reference with the file's absolute path, so that a run finds it from anywhere."""
    path, name = parted(reference)
    return f"{path}:{name}"


def parted(reference: str) -> tuple[Path, str]:
    """The file, absolute, and the name."""
    file, _, name = reference.rpartition(":")
    return Path(file).expanduser().absolute(), name


def fetch(reference: Any) -> Fetched:
    """The object that FILE.py:NAME names; anything else as it is. One object as long as the file stays the same.

    Raises RecipeError where there is no such file or name, or where the file cannot be executed.
    """
    if not is_reference(reference):
        return Fetched(reference)
    path, name = parted(reference)
    try:
        of = path.stat()
        module, sha256 = _executed(path, of.st_mtime_ns, of.st_size)
    except FileNotFoundError:
        raise RecipeError(f"{path}: there is no such file; bring it back, or name another FILE.py:NAME") from None
    except OSError as error:
        raise RecipeError(f"{path}: cannot be read: {error.strerror or error}; name another FILE.py:NAME") from None
    if not hasattr(module, name):
        there = ", ".join(key for key, value in vars(module).items() if not key.startswith("_") and callable(value))
        raise RecipeError(f"{path}: defines no {name}; name one that it has: {there[:_SHOWN] or 'there is none'}")
    return Fetched(getattr(module, name), f"{path}:{name}", sha256)


def changed(files: Mapping[str, str]) -> list[str]:
    """What is to be said of `files`, SHA-256 by path, that are not as they were."""
    return [
        f"{path} has changed since: its SHA-256 was {sha256[:12]}…, is {_digest(path)[:12] or 'gone: no file'}…"
        for path, sha256 in sorted(files.items())
        if _digest(path) != sha256
    ]


def told(error: BaseException) -> str:
    """A foreign exception in one line: its type, the first line of its message, the line of the user's code."""
    text = next(iter(str(error).splitlines()), "")
    text = f"{type(error).__name__}: {text}".rstrip(": ")
    if isinstance(error, SyntaxError):
        return f"{text.split(' (')[0]} ({error.filename}, line {error.lineno})"
    frames = traceback.extract_tb(error.__traceback__)
    theirs = [frame for frame in frames if _is_theirs(frame.filename)]
    place = f" ({theirs[-1].filename}, line {theirs[-1].lineno})" if theirs else ""
    return (text if len(text) <= _SHOWN else f"{text[:_SHOWN]}…") + place


def _is_theirs(filename: str) -> bool:
    return not filename.startswith(_NOT_THEIRS) and not {"site-packages", "dist-packages"} & set(Path(filename).parts)


def _digest(path: str) -> str:
    try:
        return hashlib.sha256(Path(path).read_bytes()).hexdigest()
    except OSError:
        return ""


@cache
def _executed(path: Path, *_: int) -> tuple[Any, str]:
    """The module of a file, executed once in each of its states, and the SHA-256 of what was executed."""
    source = path.read_bytes()
    sha256 = hashlib.sha256(source).hexdigest()
    alias = f"epochal_user_{hashlib.sha256(str(path).encode()).hexdigest()[:12]}"
    spec = spec_from_file_location(alias, path)
    assert spec is not None
    module = module_from_spec(spec)
    before = sys.modules.get(alias)
    sys.modules[alias] = module  # dataclasses and the like look their module up
    sys.path.insert(0, str(path.parent))  # the file may import its neighbours
    try:
        exec(compile(source, path, "exec"), vars(module))
    except (Exception, SystemExit) as error:  # whatever the user's code raises is told with its place
        _put_back(alias, before)
        missing = isinstance(error, ModuleNotFoundError) and error.name
        remedy = f"install {missing}, or bring it beside the file" if missing else "mend the file"
        raise RecipeError(f"{path}: cannot be executed: {told(error)}; {remedy}") from error
    finally:
        sys.path.remove(str(path.parent))
    return module, sha256


def _put_back(alias: str, module: Any) -> None:
    if module is None:
        del sys.modules[alias]
    else:
        sys.modules[alias] = module


def merged(of: Iterable[Fetched]) -> dict[str, str]:
    """The files of several, SHA-256 by path."""
    return {path: sha256 for fetched in of for path, sha256 in fetched.files.items()}
