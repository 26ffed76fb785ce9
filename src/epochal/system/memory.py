"""Bytes: what the machine has free, and how amounts are written and read."""

import os
import re
import sys
from fractions import Fraction
from pathlib import Path

_UNITS = {"": 1, "K": 10**3, "M": 10**6, "G": 10**9, "T": 10**12, "KI": 2**10, "MI": 2**20, "GI": 2**30, "TI": 2**40}

_NO_LIMIT = 1 << 62


def parse_bytes(text: str | int) -> int:
    """Number of bytes in `text`: an integer, or a number with kB, MB, GB, TB (powers of 1000) or KiB … TiB (of 1024).

    Raises ValueError where `text` is no such amount.
    """
    match = re.fullmatch(r"\s*([0-9]{1,30}(?:\.[0-9]{1,30})?)\s*((?:[KMGT]I?)?)B?\s*", str(text).upper())
    if not match:
        raise ValueError(f"{text!r} is no amount of memory; write it like 500MB, 2GB or 2GiB")
    return int(Fraction(match[1]) * _UNITS[match[2]])


def format_bytes(count: int | float) -> str:
    """`count` bytes in the largest decimal unit that leaves at least 1, with two significant digits or more."""
    amount = float(count)
    for unit in ("bytes", "kB", "MB", "GB"):
        if amount < 999.5:
            return f"{amount:.0f} {unit}" if unit == "bytes" or amount >= 9.95 else f"{amount:.1f} {unit}"
        amount /= 1000
    return f"{amount:.1f} TB"


def available_bytes() -> int:
    """Bytes that this process may still take: the machine's free memory, or its cgroup's where that is less."""
    return min(_machine_bytes(), _cgroup_bytes())


def peak_bytes() -> int:
    """The most memory that this process has had resident so far, in bytes."""
    # Not getrusage: its peak is that of the parent where the parent, larger, forked this process.
    for line in _text(Path("/proc/self/status")).splitlines():
        if line.startswith("VmHWM:"):
            return int(line.split()[1]) * 1024
    try:
        import resource
    except ImportError:  # Windows has none of both
        return 0
    most = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return most if sys.platform == "darwin" else most * 1024


def _machine_bytes() -> int:
    for line in _text(Path("/proc/meminfo")).splitlines():
        if line.startswith("MemAvailable:"):
            return int(line.split()[1]) * 1024
    # macOS and Windows tell no figure without a library; half of what is installed is a safe guess.
    if hasattr(os, "sysconf") and "SC_PHYS_PAGES" in os.sysconf_names:
        return os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") // 2
    return 4 << 30


def _cgroup_bytes(root: Path = Path("/sys/fs/cgroup"), own: Path = Path("/proc/self/cgroup")) -> int:
    """The least that this process's control group, or one of those above it, has left."""
    left = [_NO_LIMIT]
    for line in _text(own).splitlines() or ["0::/"]:
        _, controllers, path = line.split(":", 2)
        if controllers == "":
            base, names = root, ("memory.max", "memory.current", "inactive_file")
        elif "memory" in controllers.split(","):
            base, names = root / "memory", ("memory.limit_in_bytes", "memory.usage_in_bytes", "total_inactive_file")
        else:
            continue
        # Inside a container the path may be the host's, and absent here; the root is then the container's own group.
        groups = Path(path.strip("/"))
        left += [_left(base / group, *names) for group in (groups, *groups.parents)]
    return min(left)


def _left(group: Path, limit: str, usage: str, cache: str) -> int:
    most, used = _text(group / limit).strip(), _text(group / usage).strip()
    if not (most.isdecimal() and used.isdecimal()):  # "max", or there is no such group
        return _NO_LIMIT
    # Files in the cache count as used, but are given back on demand.
    cached = re.search(rf"^{cache} (\d+)$", _text(group / "memory.stat"), re.MULTILINE)
    return max(0, int(most) - int(used) + int(cached[1] if cached else 0))


def _text(path: Path) -> str:
    try:
        return path.read_text()
    except OSError:
        return ""
