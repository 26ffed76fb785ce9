"""Objects of a user's own Python file, named FILE.py:NAME. The file is executed: it is the user's own code."""

import sysconfig
import traceback
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

from epochal.errors import RecipeError
from epochal.system import user_code

_SHOWN = 160  # characters of a foreign exception's message
_NOT_THEIRS = (str(Path(__file__).parent), sysconfig.get_path("stdlib"), "<")


class Fetched(NamedTuple):
    """An object, and the file that it came from; `reference` is empty where it was given by value."""

    value: Any
    reference: str = ""
    root: user_code.Root | None = None

    @property
    def files(self) -> dict[str, bytes]:
        """The texts that were executed for it so far, the file and what it imports of its folder, by path in there."""
        return self.root.files if self.root else {}


GIVEN = Fetched(None)
"""From no file: given by value."""

Fetch = Callable[[Any], Fetched]
"""How a reference becomes an object: from the file, or from what a run has kept of it."""


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
    """The object that FILE.py:NAME names; anything else as it is. One object as long as its files stay the same.

    Raises RecipeError where there is no such file or name, or where the file cannot be executed.
    """
    if isinstance(reference, Fetched):
        return reference
    if not is_reference(reference):
        return Fetched(reference)
    path, name = parted(reference)
    return named(f"{path}:{name}", path, name, partial(user_code.executed, path), "mend the file")


def named(reference: str, path: Path, name: str, load: Callable[[], user_code.Root], remedy: str) -> Fetched:
    """The object `name` of the module that `load` executes; messages have `path` and `remedy`. Raises RecipeError."""
    try:
        root = load()
    except FileNotFoundError as error:
        if error.filename != str(path):  # a file that the user's own code looks for
            raise _failed(path, error, remedy) from error
        raise RecipeError(f"{path}: there is no such file; bring it back, or name another FILE.py:NAME") from None
    except (Exception, SystemExit) as error:  # whatever the user's code raises is reported with its place
        if isinstance(error, OSError) and not _frames(error):
            text = error.strerror or error
            raise RecipeError(f"{path}: cannot be read: {text}; name another FILE.py:NAME") from None
        missing = isinstance(error, ModuleNotFoundError) and error.name
        raise _failed(path, error, f"install {missing}, or bring it beside the file" if missing else remedy) from error
    if not hasattr(root.module, name):
        there = ", ".join(key for key, of in vars(root.module).items() if not key.startswith("_") and callable(of))
        raise RecipeError(f"{path}: defines no {name}; name one that it has: {there[:_SHOWN] or 'there is none'}")
    return Fetched(getattr(root.module, name), reference, root)


def _failed(path: Path, error: BaseException, remedy: str) -> RecipeError:
    return RecipeError(f"{path}: cannot be executed: {told(error)}; {remedy}")


def told(error: BaseException) -> str:
    """A foreign exception in one line: its type, the first line of its message, the line of the user's code."""
    text = next(iter(str(error).splitlines()), "")
    text = f"{type(error).__name__}: {text}".rstrip(": ")
    if isinstance(error, SyntaxError):
        return f"{text.split(' (')[0]} ({error.filename}, line {error.lineno})"
    theirs = _frames(error)
    place = f" ({theirs[-1].filename}, line {theirs[-1].lineno})" if theirs else ""
    return (text if len(text) <= _SHOWN else f"{text[:_SHOWN]}…") + place


def _frames(error: BaseException) -> list[traceback.FrameSummary]:
    """The frames of the user's own code."""
    frames = traceback.extract_tb(error.__traceback__)
    return [frame for frame in frames if _is_theirs(frame.filename)]


def _is_theirs(filename: str) -> bool:
    return not filename.startswith(_NOT_THEIRS) and not {"site-packages", "dist-packages"} & set(Path(filename).parts)
