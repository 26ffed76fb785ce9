"""Bounds of what a piece of work may cost. They are in processor time: that of a clock a busy machine changes.

A test which says that something takes little sets a bound of several times what it takes, below what it would take
with the fault that the test is about: a second for a file of some kilobytes, where a hostile one would take hours.
"""

import resource
import time
from collections.abc import Iterator
from contextlib import contextmanager


def processor_seconds() -> float:
    """What this thread, and the child processes that have ended, have used of the processor so far."""
    children = resource.getrusage(resource.RUSAGE_CHILDREN)
    return time.thread_time() + children.ru_utime + children.ru_stime


@contextmanager
def at_most(seconds: float) -> Iterator[None]:
    """The block must use no more than so many seconds of the processor, its children's included."""
    begun = processor_seconds()
    yield
    used = processor_seconds() - begun
    assert used < seconds, f"used {used:.2f} s of the processor"
