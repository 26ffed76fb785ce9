"""A process that has imported what the commands need, and forks for each of them: `python -m prepared SOCKET`.

Importing takes a command three seconds of the processor, and what most tests are about a tenth of that. A forked
command is still a process with streams, folder, environment, signals and exit code of its own. JAX starts no device
before the fork, so that nothing of it is shared. `commands` asks for them.
"""

import atexit
import gc
import importlib
import json
import os
import pkgutil
import runpy
import select
import signal
import socket
import sys
import tempfile
import threading
import traceback
import warnings
from contextlib import suppress
from pathlib import Path
from typing import Any

LATER = ("epochal.__main__", "epochal.runs.loggers.", "epochal.export.onnx", "epochal.estimator")
"""Not imported before the fork: what runs when imported, or reads the environment, or is rarely needed."""
LIBRARIES = (
    "sklearn.model_selection", "sklearn.datasets", "optax", "pyarrow.csv", "pyarrow.parquet", "pyarrow.feather",
    "PIL.Image", "rich.live", "rich.progress", "jax.experimental", "jax.export",
)  # fmt: skip


def prepare() -> None:
    """Import what commands import."""
    import epochal
    from epochal.cli.compile_cache import enable

    enable()  # as every command does before it imports JAX
    names = [module.name for module in pkgutil.walk_packages(epochal.__path__, "epochal.")]
    for name in [*(name for name in names if not name.startswith(LATER)), *LIBRARIES]:
        with suppress(ImportError):
            importlib.import_module(name)
    gc.collect()
    gc.freeze()  # a collection in a child would touch, and so copy, every page


def serve(path: str) -> None:
    """Answer requests until standard input ends, which is when the tests do."""
    listener = socket.socket(socket.AF_UNIX)
    listener.bind(path)
    listener.listen(64)
    print("ready", flush=True)
    warnings.filterwarnings("ignore", "This process .* is multi-threaded, use of fork", DeprecationWarning)
    while True:
        ready, _, _ = select.select([listener, sys.stdin], [], [])
        with suppress(ChildProcessError):
            while os.waitpid(-1, os.WNOHANG)[0]:
                pass
        if sys.stdin in ready:
            return
        connection, _ = listener.accept()
        if os.fork() == 0:
            listener.close()
            _attend(connection)
            return
        connection.close()


def _attend(connection: socket.socket) -> None:
    """In a child: have a grandchild run what is asked for; tell its number and how it ended."""
    length, handles, _, _ = socket.recv_fds(connection, 8, 3)
    request = json.loads(connection.makefile("rb").read(int.from_bytes(length, "little")))
    child = os.fork()
    if child == 0:
        connection.close()
        _become(request, handles)
        return
    with suppress(OSError):  # whoever asked has left
        connection.sendall(f"{child}\n".encode())
        _, status = os.waitpid(child, 0)
        connection.sendall(f"{os.waitstatus_to_exitcode(status)}\n".encode())
    os._exit(0)


def _become(request: dict[str, Any], handles: list[int]) -> None:
    """As `python -m MODULE WORDS`, `python FILE WORDS` or `python -c CODE WORDS`, where and as the request says."""
    for number, handle in enumerate(handles):
        os.dup2(handle, number)
        os.close(handle)
    os.chdir(request["cwd"])
    os.environ.clear()
    os.environ.update(request["environment"])
    tempfile.tempdir = None  # what it was for another environment
    signal.signal(signal.SIGINT, signal.default_int_handler)
    sys.stdin = sys.__stdin__ = open(0, closefd=False)  # noqa: SIM115
    sys.stdout = sys.__stdout__ = open(1, "w", closefd=False)  # noqa: SIM115
    sys.stderr = sys.__stderr__ = open(2, "w", closefd=False, errors="backslashreplace", buffering=1)  # noqa: SIM115
    program, code = request["program"], 0
    sys.argv = [program, *request["words"]]
    try:
        if program == "-c":
            code_of, *sys.argv[1:] = request["words"]
            sys.path[0] = ""
            exec(compile(code_of, "<string>", "exec"), sys.modules["__main__"].__dict__)
        elif program.endswith(".py"):
            sys.path[0] = str(Path(program).parent)
            runpy.run_path(program, run_name="__main__")
        else:
            sys.path[0] = request["cwd"]
            runpy.run_module(program, run_name="__main__", alter_sys=True)
    except SystemExit as end:
        code = _exit_code(end)
    except BaseException:
        traceback.print_exc()
        code = 1
    threading._shutdown()  # pyrefly: ignore
    atexit._run_exitfuncs()
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code)  # to take apart the modules of its parent would take longer than most commands do


def _exit_code(end: SystemExit) -> int:
    if end.code is None or isinstance(end.code, int):
        return end.code or 0
    print(end.code, file=sys.stderr)
    return 1


if __name__ == "__main__":
    prepare()
    serve(sys.argv[1])
