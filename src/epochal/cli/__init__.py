"""The command line: one module a command, none with logic of its own.

A command is imported when it is called, JAX by the commands that compute.
"""

import json
import os
import sys
import tomllib
import traceback
import warnings
from collections.abc import Sequence
from contextlib import nullcontext, suppress
from itertools import pairwise
from pathlib import Path
from typing import Any

from cyclopts import App, CycloptsError, Parameter
from cyclopts.config import Toml

from epochal import __version__
from epochal.cli.compile_cache import enable as enable_compile_cache
from epochal.cli.conversion import convert, usage
from epochal.cli.streams import OutputError, guarded
from epochal.errors import DataWarning, EpochalError, speak_of_options, speaks_of_options
from epochal.system.options import UnreadError
from epochal.system.signals import Interrupted, listening

app = App(
    name="epochal",
    help="Train classifiers with the data set resident on the device. Start with: epochal train",
    version=__version__,
    result_action="return_value",
    default_parameter=Parameter(negative_iterable=(), converter=convert),
)
COMMANDS = (
    "train", "select", "resume", "evaluate", "compare", "predict", "inspect", "export", "reproduce", "bench", "doctor",
)  # fmt: skip
for name in COMMANDS:
    app.command(f"epochal.cli.{name}:{name}", name=name)
app.register_install_completion_command(help="Install completion for this shell: bash, zsh or fish.")


IO_ERROR = 74
"""Exit code where all is done and saved, but the result cannot be written to standard output (EX_IOERR)."""

_MOST_LINES, _MOST_LETTERS = 3, 2_000


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command; returns the exit code.

    0 done, 1 our fault or nothing can be stored, 2 bad input, 3 diverged, 74 the result cannot be written to standard
    output, 130, 143 and 129 interrupted by SIGINT, SIGTERM and SIGHUP.
    """
    words = list(sys.argv[1:] if arguments is None else arguments)
    with listening() as signals, guarded(escapes=not _helps(words)):
        signals.meaning = _meaning(words)
        code, message = _outcome(words)
        signals.over()
        with suppress(OutputError):  # the code says more
            if message is not None:
                _fail(words, message, code)
            if code:
                sys.stdout.flush()
        return code


def _outcome(words: list[str]) -> tuple[int, str | None]:
    """The exit code, and the message of an error."""
    before = speaks_of_options()
    try:
        return _run(words), None
    except CycloptsError as error:
        return 2, f"{usage(error)} See: epochal {_command(words)}--help"
    except EpochalError as error:
        configured = _configured(words) if isinstance(error, UnreadError) else ""
        return error.exit_code, f"{error}{configured}"
    except Interrupted as signal:
        with listening() as signals:
            return signal.code, signals.meaning
    except OutputError as error:  # a reader that has left wants no more
        reason = f"standard output cannot be written: {error}; what the command has stored is whole"
        return (0, None) if error.left else (IO_ERROR, reason)
    except MemoryError:
        return 2, "the memory of this machine does not suffice; take fewer rows or smaller layers"
    except Exception:
        return _unexpected()
    finally:
        speak_of_options(before)  # a program that calls a command reads of Python's parameters again


def _unexpected() -> tuple[int, str]:
    if trouble := _of_platform():
        return 2, trouble
    traceback.print_exc()
    return 1, "this is a fault of epochal; please report it with the lines above"


def _run(words: list[str]) -> int:
    speak_of_options()
    warnings.simplefilter("ignore", DataWarning)  # what they say is among the notes, which every command prints
    _check_place()
    app.config = _config(words)
    enable_compile_cache()
    if not words or words[0].startswith("-"):
        app.resolved_commands()  # the overview says what each is for
    code = app(words, exit_on_error=False, print_error=False) or 0
    with nullcontext() if code == 0 else suppress(OutputError):  # another code says more
        sys.stdout.flush()
    return code


def _helps(words: list[str]) -> bool:
    """Whether help is asked for, whose colours are epochal's own, and which shows no text of files."""
    before = words[: words.index("--")] if "--" in words else words
    return not words or words[0].startswith("-") or "--help" in before or "-h" in before


def _check_place() -> None:
    try:
        Path.cwd()
    except OSError as error:
        raise EpochalUsage(
            f"the working folder cannot be used: {error.strerror}; change to one that is there"
        ) from None


def _of_platform() -> str | None:
    """The message where JAX does not start on the platform of JAX_PLATFORMS."""
    wanted = os.environ.get("JAX_PLATFORMS")
    if not wanted or "jax" not in sys.modules:
        return None
    try:
        sys.modules["jax"].devices()
    except Exception as error:  # of whatever kind a plugin has
        reason = str(error).partition("\n")[0] or "it has no such device here, or lacks the plugin"
        return f"JAX_PLATFORMS={wanted}: JAX does not start: {reason}\nunset it, or ask: epochal doctor"
    return None


def _config_path(words: list[str]) -> str | None:
    path = next((after for word, after in pairwise(words) if word == "--config"), None)
    return next((word.removeprefix("--config=") for word in words if word.startswith("--config=")), path)


def _configured(words: list[str]) -> str:
    """Where an option may stand that the user has not typed."""
    path = _config_path(words)
    return "" if path is None else f" (options of {path} count as given)"


def _config(words: list[str]) -> tuple[Any, ...]:
    path = _config_path(words)
    if path is None:
        return ()
    if not Path(path).is_file():
        raise EpochalUsage(f"--config {path}: there is no such file; a run folder's recipe.toml is one")
    try:
        content = tomllib.loads(Path(path).read_bytes().decode())
    except (OSError, ValueError, RecursionError) as error:  # TOMLDecodeError and UnicodeDecodeError are ValueErrors
        raise EpochalUsage(f"--config {path}: cannot be read as TOML: {error}") from None
    for name, value in content.items():
        for one in value if isinstance(value, list) else [value]:
            if not isinstance(one, str | int | float) or "\0" in str(one):
                raise EpochalUsage(f"--config {path}: {name}: must be a text, a number, true or false, got {one!r}")
    return (Toml(path, use_commands_as_keys=False),)


class EpochalUsage(EpochalError):
    """A command line that makes no sense."""

    exit_code = 2


def _command(words: list[str]) -> str:
    return f"{words[0]} " if words and not words[0].startswith("-") and words[0] in app else ""


def _meaning(words: list[str]) -> str:
    """What an interruption means where no training runs."""
    if words[:1] == ["resume"]:
        return "interrupted before training went on, the run is as it was; resume it again"
    if words[:1] in (["train"], ["select"]):
        return "interrupted before the first step, there is nothing to save; start again"
    return "interrupted, nothing was left half-written"


def _fail(words: list[str], message: str, code: int) -> None:
    print(f"epochal: {_bounded(message)}", file=sys.stderr)
    if "--json" in words:
        print(json.dumps({"error": message, "exit_code": code}))


def _bounded(message: str) -> str:
    """The message in three lines of bounded length, also where a name in it has line ends, or is very long."""
    lines = message.split("\n")
    lines = [*lines[: _MOST_LINES - 1], "\\n".join(lines[_MOST_LINES - 1 :])] if len(lines) > _MOST_LINES else lines
    half = _MOST_LETTERS // 2
    return "\n".join(line if len(line) <= _MOST_LETTERS else f"{line[:half]} … {line[-half:]}" for line in lines)
