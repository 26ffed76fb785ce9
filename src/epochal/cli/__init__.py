"""The command line: one module a command, none with logic of its own.

A command is imported when it is called, JAX by the commands that compute.
"""

import io
import json
import sys
import traceback
import warnings
from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any

from cyclopts import App, CycloptsError, Parameter
from cyclopts.config import Toml

from epochal import __version__
from epochal.cli.compilation import keep_programs
from epochal.cli.conversion import converted, usage
from epochal.cli.signals import Interrupted
from epochal.errors import DataWarning, EpochalError, speak_of_options, speaks_of_options
from epochal.unread import UnreadError

app = App(
    name="epochal",
    help="Train classifiers with the data set resident on the device. Start with: epochal train",
    version=__version__,
    result_action="return_value",
    default_parameter=Parameter(negative_iterable=(), converter=converted),
)
COMMANDS = (
    "train", "select", "resume", "evaluate", "compare", "predict", "inspect", "export", "reproduce", "bench", "doctor",
)  # fmt: skip
for name in COMMANDS:
    app.command(f"epochal.cli.{name}:{name}", name=name)
app.register_install_completion_command(help="Install completion for this shell: bash, zsh or fish.")


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command; returns the exit code: 0 done, 1 our fault, 2 bad input, 3 diverged, 130 interrupted."""
    words = list(sys.argv[1:] if arguments is None else arguments)
    _speak_utf8()
    before = speaks_of_options()
    speak_of_options()
    warnings.simplefilter("ignore", DataWarning)  # what they say is among the notes, which every command prints
    try:
        app.config = _config(words)
        keep_programs()
        if not words or words[0].startswith("-"):
            app.resolved_commands()  # the overview says what each is for
        code = app(words, exit_on_error=False, print_error=False)
        sys.stdout.flush()
        return code or 0
    except CycloptsError as error:
        return _fail(words, f"{usage(error)} See: epochal {_command(words)}--help", 2)
    except UnreadError as error:
        return _fail(words, f"{error}{_configured(words)}", error.exit_code)
    except EpochalError as error:
        return _fail(words, str(error), error.exit_code)
    except Interrupted as signal:
        return _fail(words, _before(words), signal.code)
    except KeyboardInterrupt:
        return _fail(words, "interrupted, nothing was left half-written", 130)
    except BrokenPipeError:
        sys.stderr.close()  # whoever read our output has left; Python would complain while flushing
        return 0
    except Exception:
        traceback.print_exc()
        return _fail(words, "this is a fault of epochal; please report it with the lines above", 1)
    finally:
        speak_of_options(before)  # a program that calls a command is told of Python's parameters again


def _speak_utf8() -> None:
    """Windows gives a pipe the encoding of its region, which lacks the letters of many a class name."""
    for stream in (sys.stdout, sys.stderr):
        if sys.platform == "win32" and isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(encoding="utf-8")


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
    return (Toml(path, use_commands_as_keys=False),)


class EpochalUsage(EpochalError):
    """A command line that makes no sense."""

    exit_code = 2


def _command(words: list[str]) -> str:
    return f"{words[0]} " if words and not words[0].startswith("-") and words[0] in app else ""


def _before(words: list[str]) -> str:
    """What an interruption means where no training runs."""
    if words[:1] == ["resume"]:
        return "interrupted before training went on, the run is as it was; resume it again"
    return "interrupted before the first step, there is nothing to save; start again"


def _fail(words: list[str], message: str, code: int) -> int:
    print(f"epochal: {message}", file=sys.stderr)
    if "--json" in words:
        print(json.dumps({"error": message, "exit_code": code}))
    return code
