"""Running a peer as a process of its own, and what else the machine did meanwhile."""

import json
import os
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from environments import python_of
from registry import PEERS

ROOT = Path(__file__).parent.parent
LIMIT_SECONDS = 1800


@dataclass(frozen=True)
class Place:
    """Where peers run: caches below `caches`, one a peer; in this Python instead of their own where `here`."""

    caches: Path
    here: bool = False

    def environment(self, peer: str) -> dict[str, str]:
        """The environment variables: compiled programs are cached in the peer's folder, which is empty at first."""
        own = self.caches / peer
        kept = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
        kept |= {"XDG_CACHE_HOME": str(own), "TORCHINDUCTOR_CACHE_DIR": str(own / "inductor")}
        return kept | ({"PYTHONPATH": str(ROOT / "src")} if peer == "epochal_" else {})


def run(peer: str, job: dict[str, Any], place: Place) -> dict[str, Any]:
    """One process of `peer`: what it printed, seconds from its start, and the load by others, or its `error`.

    Times are seconds since the process was started: `ready` (imports done, data read), each epoch's `ended`, `total`.
    """
    python = sys.executable if place.here else python_of(peer)
    words = [python, PEERS[peer].file(peer), json.dumps(job)]
    busy, used = _busy_seconds(), _children_seconds()
    spawned = time.time()
    try:
        done = subprocess.run(
            words, capture_output=True, text=True, timeout=LIMIT_SECONDS, check=False, env=place.environment(peer)
        )
    except subprocess.TimeoutExpired:
        return {"error": f"took longer than {LIMIT_SECONDS:,} s"}
    total = time.time() - spawned
    if done.returncode or not done.stdout.strip():
        return {"error": "\n".join(done.stderr.strip().splitlines()[-5:]) or f"exit code {done.returncode}"}
    told = json.loads(done.stdout.strip().splitlines()[-1])
    for epoch in told["epochs"]:
        epoch["ended"] -= spawned
    others = _busy_seconds() - busy - (_children_seconds() - used)
    share = max(0.0, others / (total * (os.cpu_count() or 1)))
    return told | {"ready": told["ready"] - spawned, "total": total, "foreign_load": share}


def _busy_seconds() -> float:
    """CPU seconds that all processes have used since the machine started; 0 where it does not tell."""
    try:
        user, nice, system, _, _, interrupts, soft, *_ = Path("/proc/stat").read_text().split("\n")[0].split()[1:]
    except (OSError, ValueError):
        return 0.0
    return sum(map(int, (user, nice, system, interrupts, soft))) / os.sysconf("SC_CLK_TCK")


def _children_seconds() -> float:
    times = os.times()
    return times.children_user + times.children_system
