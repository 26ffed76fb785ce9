"""`python -m epochal` is the command `epochal`."""

import os
import signal
import sys
from contextlib import suppress

from epochal.system.signals import CODES, NUMBERS, Interrupted, Signals


def run() -> int:
    """The command; signals are received before anything that takes long is imported."""
    try:
        signals = Signals().__enter__()  # never left: the process ends with it
        _occupy()
        from epochal.cli import main

        code = main()
        signals.over()
    except KeyboardInterrupt:
        code = 130
    except Interrupted as interrupted:  # outside of what the command catches
        code = interrupted.code
    for number in NUMBERS:  # all is done and said; a late one shall not change the exit code
        signal.signal(number, signal.SIG_IGN)
    if code in CODES:
        # The end of the interpreter takes modules apart, and where JAX was interrupted while it compiled something,
        # that crashes (SIGSEGV in 12 of 40 runs, jaxlib 0.10.2). Nothing is left to be done.
        for stream in (sys.stdout, sys.stderr):
            with suppress(OSError, ValueError, AttributeError):
                stream.flush()
        os._exit(code)
    return code


def _occupy() -> None:
    """Standard streams that were closed (`>&-`): else the next file opened has their number, and is written into."""
    with suppress(OSError):
        while (handle := os.open(os.devnull, os.O_RDWR)) <= 2:
            os.set_inheritable(handle, True)
        os.close(handle)


if __name__ == "__main__":
    sys.exit(run())
