"""A process of its own for a decoder: what comes back, and what becomes of crashes, hangs and bombs."""

import os
import signal
import subprocess
import sys
import threading
import time
from contextlib import suppress
from pathlib import Path

import numpy as np
import pytest

from epochal.errors import DataError
from epochal.system import isolated
from refusals import refusal
from work import at_most

GIB = 1 << 30


def echo(*values):
    print("noise of a library on standard output")
    return list(values)


def modules():
    return sorted(sys.modules)


def refuse(what):
    raise DataError(f"{what}: is bad; mend it")


def fail():
    raise KeyError("a fault")


def die(number):
    os.kill(os.getpid(), number)


def leave():
    os._exit(3)


def spin():
    while True:
        pass


def grow():
    return len(bytearray(64 * GIB))


def big(rows):
    return np.arange(rows, dtype=np.float64)


def call(function, *arguments, seconds=600.0, memory_bytes=GIB):
    return isolated.call(function, *arguments, where="t.parquet", memory_bytes=memory_bytes, seconds=seconds)


def test_values_and_arrays_go_there_and_back():
    tree = {"a": [1, 2.5, None, True, "ü\ud800\n"], "b": {"c": np.arange(6, dtype=">i2").reshape(2, 3)}}
    arrays = [np.array([np.nan, -0.0]), np.zeros((0, 3), np.int32), np.array(7, np.uint8), np.asfortranarray(np.eye(3))]
    [back, *others] = call(echo, tree, *arrays)
    assert back["a"] == tree["a"]
    assert back["b"]["c"].dtype.str == ">i2"
    np.testing.assert_array_equal(back["b"]["c"], tree["b"]["c"])
    for array, other in zip(arrays, others, strict=True):
        assert (array.dtype, array.shape) == (other.dtype, other.shape)
        assert array.tobytes() == other.tobytes()


def test_a_large_array_comes_whole():
    rows = 5_000_000
    np.testing.assert_array_equal(call(big, rows), big(rows))


def test_the_child_imports_no_jax():
    assert not {"jax", "optax", "sklearn", "cyclopts", "rich", "pyarrow"} & set(call(modules))


def test_a_refusal_of_the_child_is_ours():
    assert refusal(call, refuse, "t.csv") == "t.csv: is bad; mend it"


@pytest.mark.parametrize("number", [signal.SIGSEGV, signal.SIGABRT, signal.SIGKILL, signal.SIGFPE])
def test_a_crash_is_a_refusal(number):
    assert f"t.parquet: the reader crashed on this file ({number.name}); it is" in refusal(call, die, int(number))


def test_a_hang_is_stopped():
    with at_most(seconds=5):  # it spins for an hour
        assert "t.parquet: reading took more than 1 s" in refusal(call, spin, seconds=1.0)


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux keeps the limit of address space")
def test_a_bomb_meets_the_limit():
    assert "t.parquet: needs more than 1.1 GB, the memory granted" in refusal(call, grow)


def test_other_exceptions_are_faults_of_ours_and_are_shown():
    with pytest.raises(RuntimeError, match=r"(?s)t\.parquet: .*KeyError: 'a fault'"):
        call(fail)
    with pytest.raises(RuntimeError, match="ended with code 3"):
        call(leave)


def children() -> set[str]:
    """This process's children, dead ones included that nobody has waited for."""
    found: set[str] = set()
    for task in Path("/proc/self/task").iterdir():
        with suppress(FileNotFoundError):  # a thread that has just ended
            found.update((task / "children").read_text().split())
    return found


@pytest.mark.skipif(sys.platform != "linux", reason="Linux lists a process's children")
def test_no_child_stays_behind():
    before = children()  # other tests may have started the process that forks commands
    for function in (spin, fail, leave):
        with pytest.raises((DataError, RuntimeError)):
            call(function, seconds=0.5)
    assert children() == before


PARENT = """
import os, sys
from pathlib import Path
from epochal.system import isolated
sys.path += sys.argv[1].split(os.pathsep)
import test_isolated
isolated.call(test_isolated.wait, sys.argv[2], where="t", memory_bytes=1 << 30, seconds=500.0)
"""


def wait(path):
    Path(path).write_text(str(os.getpid()))
    os.read(os.pipe()[0], 1)


@pytest.mark.skipif(sys.platform != "linux", reason="Linux alone ends children with their parents")
@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM])
def test_a_child_that_waits_ends_with_its_parent(tmp_path, number):
    told = tmp_path / "child"
    parent = subprocess.Popen([sys.executable, "-c", PARENT, os.pathsep.join(sys.path), str(told)])
    while not (told.exists() and told.read_text()):
        assert parent.poll() is None
        time.sleep(0.05)
    child = int(told.read_text())
    os.kill(child, 0)
    parent.send_signal(number)
    parent.wait()
    for _ in range(600):
        try:
            if Path(f"/proc/{child}/stat").read_text().rpartition(")")[2].split()[0] == "Z":
                return  # it has ended; whoever inherited it has not looked yet
        except OSError:
            return
        time.sleep(0.05)
    os.kill(child, signal.SIGKILL)
    pytest.fail("the child has stayed")


def test_a_child_has_a_clock_of_its_own(monkeypatch):
    monkeypatch.setattr(threading.Timer, "start", lambda self: None)  # a parent that is stopped
    assert "the reader crashed on this file (SIGALRM)" in refusal(call, wait_long, seconds=-8.0)


def wait_long():
    os.read(os.pipe()[0], 1)
