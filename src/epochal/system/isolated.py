"""A function called in a child process, so that a native decoder that crashes on a file takes nothing with it.

The child has a limit on memory and time, imports no JAX, and speaks through pipes: plain values as JSON, arrays as
their bytes. Nothing is pickled. It ends with its parent, and by a clock of its own; where memory runs out it goes
first. It guards against crashes, hangs and bombs; it is no sandbox.
"""

import ctypes
import json
import os
import signal
import subprocess
import sys
import tempfile
import threading
import traceback
from collections.abc import Callable
from contextlib import suppress
from importlib import import_module
from pathlib import Path
from typing import IO, Any

import numpy as np

from epochal.errors import DataError, option, speak_of_options, speaks_of_options
from epochal.system.memory import format_bytes

START_BYTES = 2 << 30
"""Address space of a child beside what it reads: libraries and the stacks of threads, most of it never touched."""

_BEGIN = "import json, sys; sys.path[:] = json.loads(sys.argv[1]); from epochal.system.isolated import _serve; _serve()"
_ARRAY = "\0array"
_SECONDS, _BYTES_A_SECOND = 60.0, 2e6  # far below what any decoder does: who needs longer hangs
_REMEDY = "it is damaged or hostile; fetch or write it again"


def time_limit(size: int) -> float:
    """The seconds that decoding files of `size` bytes may take."""
    return _SECONDS + size / _BYTES_A_SECOND


def call(function: Callable[..., Any], *arguments: Any, where: str, memory_bytes: int, seconds: float) -> Any:
    """What `function(*arguments)` returns, called in a new process. `where` begins the messages.

    `function` is one of a module. Arguments and result are trees of lists, dictionaries (text as keys), plain values
    and number arrays. The child may take `memory_bytes` beside what libraries need, and must answer within `seconds`.
    Raises the child's DataError, or a DataError where it crashes, is too slow or takes too much memory; RuntimeError
    with the child's traceback for any other exception.
    """
    words = [sys.executable, "-P", "-c", _BEGIN, json.dumps(sys.path), str(os.getpid())]
    request = [
        function.__module__, function.__qualname__, list(arguments), int(memory_bytes), seconds, speaks_of_options(),
    ]  # fmt: skip
    quiet = os.environ | {"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"}
    with tempfile.TemporaryFile() as complaints:
        child = subprocess.Popen(
            words, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=complaints, env=quiet, start_new_session=True,
            pipesize=1 << 20,
        )  # fmt: skip
        late = threading.Event()

        def stop() -> None:
            late.set()
            child.kill()

        clock = threading.Timer(seconds, stop)
        clock.start()
        try:
            answer = _converse(child, request)
        finally:
            clock.cancel()
            child.kill()  # it has answered, or never will
            code = child.wait()
        if late.is_set():
            raise DataError(f"{where}: reading took more than {seconds:.0f} s and was stopped; {_REMEDY}")
        if answer is None:
            _explain(code, where, complaints)
        kind, value = answer
    if kind == "value":
        return value
    if kind == "refused":
        raise DataError(value)
    if kind == "memory":
        raise DataError(
            f"{where}: needs more than {format_bytes(memory_bytes)}, the memory granted for reading; if the file is "
            f"sound, grant more with {option('host_memory')}"
        )
    raise RuntimeError(f"{where}: the process that reads it failed:\n{value}")


def _converse(child: subprocess.Popen[bytes], request: Any) -> Any:
    """The child's answer, None where it ends without a whole one."""
    assert child.stdin
    assert child.stdout
    with child.stdin, child.stdout, suppress(BrokenPipeError, EOFError, ValueError):
        _send(child.stdin, request)
        child.stdin.close()
        return _receive(child.stdout)
    return None


def _explain(code: int, where: str, complaints: Any) -> None:
    if code < 0 or code > 128:
        number = -code if code < 0 else code - 128
        name = signal.Signals(number).name if number in set(signal.Signals) else f"signal {number}"
        raise DataError(f"{where}: the reader crashed on this file ({name}); {_REMEDY}")
    complaints.seek(0)
    output = complaints.read().decode(errors="replace")[-2000:]
    raise RuntimeError(f"{where}: the process that reads it ended with code {code}:\n{output}")


def _serve() -> None:
    """The child: one request on standard input, one answer on standard output."""
    _end_with(int(sys.argv[2]))
    # Whatever a library prints must not mix with the answer.
    out = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)
    module, name, arguments, memory_bytes, seconds, of_options = _receive(sys.stdin.buffer)
    if of_options:
        speak_of_options()
    try:
        function: Any = import_module(module)
        for part in name.split("."):
            function = getattr(function, part)
        _limit(memory_bytes, seconds)
        answer = ["value", function(*arguments)]
    except DataError as error:
        answer = ["refused", str(error)]
    except MemoryError:
        answer = ["memory", ""]
    except BaseException:
        answer = ["failed", traceback.format_exc()]
    _send(out, answer)
    out.flush()
    os._exit(0)  # no destructor of a library that has met a hostile file


_PR_SET_PDEATHSIG = 1
_LATE_SECONDS = 10


def _end_with(parent: int) -> None:
    """Have the system end this process when `parent` ends, and end now where it has ended already."""
    with suppress(OSError, AttributeError):  # Linux alone has it; elsewhere there is the clock
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != parent and os.name == "posix":
        os._exit(0)


def _limit(memory_bytes: int, seconds: float) -> None:
    if hasattr(signal, "setitimer"):  # a child that waits takes no processor time
        signal.signal(signal.SIGALRM, signal.SIG_DFL)
        signal.setitimer(signal.ITIMER_REAL, seconds + _LATE_SECONDS)
    with suppress(OSError):  # where a control group's memory runs out, the system ends this process, not its parent
        Path("/proc/self/oom_score_adj").write_text("1000")
    try:
        import resource
    except ImportError:  # Windows: time alone is limited there
        return
    cpu = int(seconds + 1) * (os.cpu_count() or 1)  # ends a child whose parent was killed
    for what, most in (("RLIMIT_AS", memory_bytes + START_BYTES), ("RLIMIT_CPU", cpu), ("RLIMIT_CORE", 0)):
        with suppress(ValueError, OSError, AttributeError):  # a stricter limit holds already, or there is no such limit
            resource.setrlimit(getattr(resource, what), (most, most))


def _send(stream: IO[bytes], value: Any) -> None:
    """`value` as a length, JSON, and the bytes of its arrays."""
    arrays: list[np.ndarray] = []

    def refer(array: Any) -> Any:
        array = np.ascontiguousarray(array) if np.ndim(array) else np.asarray(array)
        if array.dtype.kind not in "biuf":
            raise TypeError(f"an array of {array.dtype} cannot be sent")
        arrays.append(array)
        return {_ARRAY: [array.dtype.str, list(array.shape)]}

    # Text of files may hold half of a surrogate pair; ASCII escapes carry it.
    text = json.dumps(value, default=refer).encode("ascii")
    stream.write(len(text).to_bytes(8, "little") + text)
    for array in arrays:
        stream.write(array.reshape(-1).view(np.uint8).data)
    stream.flush()


def _receive(stream: IO[bytes]) -> Any:
    """What `_send` wrote. Raises EOFError where it ends too early."""
    text = _exactly(stream, int.from_bytes(_exactly(stream, 8), "little"))
    arrays: list[np.ndarray] = []

    def place(value: dict[str, Any]) -> Any:
        if list(value) != [_ARRAY]:
            return value
        dtype, shape = value[_ARRAY]
        arrays.append(np.empty(shape, dtype))
        return arrays[-1]

    value = json.loads(text, object_hook=place)
    for array in arrays:
        _fill(stream, array.reshape(-1).view(np.uint8).data)
    return value


def _exactly(stream: Any, count: int) -> bytearray:
    """The next `count` bytes of the stream. Raises EOFError."""
    buffer = bytearray(count)
    _fill(stream, memoryview(buffer))
    return buffer


def _fill(stream: Any, view: memoryview) -> None:
    while view:
        count = stream.readinto(view)
        if not count:
            raise EOFError
        view = view[count:]
