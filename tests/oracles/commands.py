"""Running the command line as a user does: as a process of its own."""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any


def epochal(*words: object, cwd: Path, **environment: str) -> subprocess.CompletedProcess[str]:
    """`epochal WORDS` in the folder `cwd`; standard output and error are pipes, so no terminal."""
    return subprocess.run(
        [sys.executable, "-m", "epochal", *map(str, words)],
        cwd=cwd,
        capture_output=True,
        text=True,
        errors="surrogateescape",  # a path may hold any byte
        timeout=300,
        check=False,
        env=os.environ | environment,
    )


def result(*words: object, cwd: Path, **environment: str) -> dict[str, Any]:
    """The one JSON object of a command that must succeed."""
    done = epochal(*words, "--json", cwd=cwd, **environment)
    assert done.returncode == 0, done.stderr
    assert done.stdout.count("\n") == 1, "more than one line on standard output"
    return json.loads(done.stdout)
