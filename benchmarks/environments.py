"""A virtual environment for each peer, made once from its pinned requirements in the user's cache folder.

    python benchmarks/environments.py [PEER ...]      makes them ahead of a comparison

Peers with the same requirements share one.
"""

import hashlib
import subprocess
import sys
from pathlib import Path

from platformdirs import user_cache_path

from registry import PEERS, PEERS_FOLDER


def folder(requirements: Path) -> Path:
    """Where the environment of these requirements belongs: a name of their content and of this Python."""
    digest = hashlib.sha256(requirements.read_bytes() + sys.version.encode()).hexdigest()
    return user_cache_path("epochal", appauthor=False) / "benchmarks" / digest[:16]


def python_of(peer: str) -> Path:
    """The Python of a peer's environment, which is made where there is none. Raises CalledProcessError."""
    requirements = PEERS_FOLDER / f"{peer}.txt"
    place = folder(requirements)
    python = place / ("Scripts/python.exe" if sys.platform == "win32" else "bin/python")
    if not (place / "made").exists():  # written last, so that half an environment is made again
        print(f"making the environment of {peer} in {place}", file=sys.stderr)
        subprocess.run([sys.executable, "-m", "venv", "--clear", place], check=True)
        install = [python, "-m", "pip", "install", "-qq", "--disable-pip-version-check", "-r", requirements]
        subprocess.run(install, check=True, stdout=sys.stderr)
        (place / "made").write_bytes(requirements.read_bytes())
    return python


if __name__ == "__main__":
    for name in sys.argv[1:] or PEERS:
        print(f"{name:<16}{python_of(name)}")
