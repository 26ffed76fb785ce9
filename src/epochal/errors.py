"""The exceptions that epochal raises on purpose.

    EpochalError            exit code 1
    ├── RecipeError         2   a hyper-parameter out of its range (also a ValueError)
    ├── DataError           2   input that cannot be used: the file, the place, both values, the remedy
    ├── CapacityError       2   the data and the program do not fit the memory granted
    ├── DivergedError       3   the loss became NaN or infinite
    └── RunError            2   a run folder that cannot be read or continued
        └── StorageError    1   a checkpoint that cannot be written

A message is one to three lines: the place first, then what was found against what was expected, then what to do.
The command line prints it as it stands and leaves with the class's `exit_code`; a traceback is never part of it.
"""

import shlex
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

_ON_COMMAND_LINE = [False]


def escaped(text: str, most: int = 300) -> str:
    """`text` of a file or of its name in one line: what cannot be printed is escaped, what is longer is cut."""
    plain = text if text.isprintable() else "".join(c if c.isprintable() else repr(c)[1:-1] for c in text[: most + 1])
    return plain if len(plain) <= most else plain[: most - 1] + "…"


class DataWarning(UserWarning):
    """Something about the data that a user should know; the same words are among the notes of the data set."""


def speak_of_options(whether: bool = True) -> None:
    """Let messages name the command line's options (`--drop id`) from now on, or Python's parameters again."""
    _ON_COMMAND_LINE[0] = whether


def speaks_of_options() -> bool:
    """Whether messages name the command line's options."""
    return _ON_COMMAND_LINE[0]


def option(name: str, value: Any = None) -> str:
    """How the user at hand writes the option `name`: `drop='id'` in Python, `--drop id` on the command line.

    Without a value: `drop=…`, or `--drop`. A value True or False is a flag; a list is an option given several times.

    >>> option("drop", "id"), option("label"), option("host_memory", "4GB"), option("skip_unlabelled", True)
    ("drop='id'", 'label=…', "host_memory='4GB'", 'skip_unlabelled=True')
    """
    if not speaks_of_options():
        return f"{name}=…" if value is None else f"{name}={value!r}"
    flag = f"--{name.replace('_', '-')}"
    if value is False:
        return f"--no-{flag[2:]}"
    if isinstance(value, list):
        return " ".join(f"{flag} {shlex.quote(str(one))}" for one in value)
    return flag if value is None or value is True else f"{flag} {shlex.quote(str(value))}"


def memory(count: int, amount: str) -> str:
    """The same of the memory on the device: `memory_bytes=344000` in Python, `--memory 344kB` on the command line."""
    return option("memory", amount.replace(" ", "")) if speaks_of_options() else option("memory_bytes", count)


class EpochalError(Exception):
    """Root of every exception raised on purpose; catch it to catch them all."""

    exit_code = 1


class RecipeError(EpochalError, ValueError):
    """A hyper-parameter or an option has a value that makes no sense."""

    exit_code = 2


class DataError(EpochalError):
    """Input data that cannot be used as they are."""

    exit_code = 2


@contextmanager
def reading(path: Any, remedy: str = "check its path, kind and permissions") -> Iterator[None]:
    """Raise DataError, with the remedy, where the system cannot read `path` (OSError)."""
    try:
        yield
    except OSError as error:
        raise DataError(f"{path}: cannot be read: {error.strerror or error}; {remedy}") from None


class CapacityError(EpochalError):
    """The data, or the program that trains on them, need more memory than is granted."""

    exit_code = 2


class DivergedError(EpochalError):
    """The training loss became NaN or infinite.

    `fit` is the `Fit` of the best parameters until then, None where no validation had succeeded.
    """

    exit_code = 3
    fit: Any = None


class RunError(EpochalError):
    """A run folder that is missing, damaged, in use, or belongs to other data or another recipe."""

    exit_code = 2


class StorageError(RunError):
    """The state of a run cannot be saved: the disk is full, read-only, or failing."""

    exit_code = 1
