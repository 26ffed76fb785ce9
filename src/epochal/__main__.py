"""`python -m epochal` is the command `epochal`."""

import os
import signal
import sys
from contextlib import suppress

_INTERRUPTED = (130, 143)


def run() -> int:
    """The command, also where Ctrl-C comes while it is still being imported."""
    try:
        from epochal.cli import main
    except KeyboardInterrupt:
        return _INTERRUPTED[0]
    code = main()
    for number in (signal.SIGINT, signal.SIGTERM):  # all is done and said; a late one shall not change the exit code
        signal.signal(number, signal.SIG_IGN)
    if code in _INTERRUPTED:
        # The end of the interpreter takes modules apart, and where JAX was interrupted while it was imported or
        # compiled something, that crashes (SIGSEGV in 12 of 40 runs, jaxlib 0.10.2). Nothing is left to be done.
        for stream in (sys.stdout, sys.stderr):
            with suppress(OSError, ValueError):
                stream.flush()
        os._exit(code)
    return code


if __name__ == "__main__":
    sys.exit(run())
