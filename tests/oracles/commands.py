"""Running the command line as a user does: as a process of its own."""

import atexit
import io
import json
import os
import shutil
import socket
import subprocess
import sys
import tempfile
from functools import cache
from pathlib import Path
from typing import Any

import prepared

STARTING = ("PYTHON", "JAX_", "XLA_", "LC_", "LANG", "OMP_", "OPENBLAS_")
"""Variables that Python or a library reads when it starts; where they differ, a process is started anew."""


def epochal(*words: object, cwd: Path, fresh: bool = False, **environment: str) -> subprocess.CompletedProcess[str]:
    """`epochal WORDS` in the folder `cwd`; standard output and error are no terminal.

    It is a process of its own. Unless it is to be `fresh`, it is forked from one that has imported what it needs.
    """
    return process("epochal", *words, cwd=cwd, fresh=fresh, **environment)


def result(*words: object, cwd: Path, fresh: bool = False, **environment: str) -> dict[str, Any]:
    """The one JSON object of a command that must succeed."""
    done = epochal(*words, "--json", cwd=cwd, fresh=fresh, **environment)
    assert done.returncode == 0, done.stderr
    assert done.stdout.count("\n") == 1, "more than one line on standard output"
    return json.loads(done.stdout)


def process(
    program: str, *words: object, cwd: Path, fresh: bool = False, **environment: str
) -> subprocess.CompletedProcess[str]:
    """`python -m PROGRAM WORDS`; `python FILE WORDS` where it ends in .py, `python -c CODE WORDS` for -c."""
    texts, full = list(map(str, words)), os.environ | environment
    if fresh or not hasattr(os, "fork") or _starting(full) != _starting(_server()[1]):
        named = [program] if program == "-c" or program.endswith(".py") else ["-m", program]
        return subprocess.run(
            [sys.executable, *named, *texts],
            cwd=cwd,
            capture_output=True,
            text=True,
            errors="surrogateescape",  # a path may hold any byte
            timeout=600,
            check=False,
            env=full,
        )
    with tempfile.TemporaryFile() as out, tempfile.TemporaryFile() as err, Path(os.devnull).open() as none:
        request = {"program": program, "words": texts, "cwd": str(Path.cwd() / cwd), "environment": full}
        code = _ask(request, [none.fileno(), out.fileno(), err.fileno()])
        return subprocess.CompletedProcess([program, *texts], code, _text(out), _text(err))


def _starting(environment: dict[str, str]) -> dict[str, str]:
    return {name: value for name, value in environment.items() if name.startswith(STARTING)}


def _text(file: Any) -> str:
    file.seek(0)
    return io.IncrementalNewlineDecoder(None, translate=True).decode(file.read().decode(errors="surrogateescape"), True)


def _ask(request: dict[str, Any], handles: list[int]) -> int:
    content = json.dumps(request).encode("ascii")
    with socket.socket(socket.AF_UNIX) as connection:
        connection.connect(_server()[0])
        connection.settimeout(600)
        socket.send_fds(connection, [len(content).to_bytes(8, "little")], handles)
        connection.sendall(content)
        with connection.makefile("r") as answers:
            child = int(answers.readline())
            try:
                return int(answers.readline())
            except TimeoutError:
                os.kill(child, 9)
                raise


@cache
def _server() -> tuple[str, dict[str, str], subprocess.Popen[str]]:
    """The socket of the process that forks, what it has for an environment, and the process."""
    folder, environment = tempfile.mkdtemp(prefix="epochal-prepared-"), dict(os.environ)
    path = str(Path(folder, "socket"))
    server = subprocess.Popen(
        [sys.executable, prepared.__file__, path], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    assert server.stdout
    assert server.stdout.readline() == "ready\n"
    atexit.register(_end, server, folder)
    return path, environment, server


def _end(server: subprocess.Popen[str], folder: str) -> None:
    server.communicate(timeout=60)
    shutil.rmtree(folder, ignore_errors=True)
