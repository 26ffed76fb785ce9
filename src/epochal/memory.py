"""Bytes: what the machine has free, and how amounts are written and read."""

import os
import re
from pathlib import Path

_UNITS = {"": 1, "K": 10**3, "M": 10**6, "G": 10**9, "T": 10**12, "KI": 2**10, "MI": 2**20, "GI": 2**30, "TI": 2**40}


def parse_bytes(text: str | int) -> int:
    """Number of bytes in `text`: an integer, or a number with kB, MB, GB, TB (powers of 1000) or KiB … TiB (of 1024).

    Raises ValueError where `text` is no such amount.
    """
    match = re.fullmatch(r"\s*(\d+(?:\.\d+)?)\s*([KMGT]?I?)B?\s*", str(text).upper())
    if not match:
        raise ValueError(f"{text!r} is no amount of memory; write it like 500MB, 2GB or 2GiB")
    return int(float(match[1]) * _UNITS[match[2]])


def format_bytes(count: int | float) -> str:
    """`count` bytes in the largest decimal unit that leaves a number of at least 1, with two significant digits."""
    amount = float(count)
    for unit in ("bytes", "kB", "MB", "GB"):
        if amount < 999.5:
            return f"{amount:.0f} {unit}" if unit == "bytes" or amount >= 9.95 else f"{amount:.1f} {unit}"
        amount /= 1000
    return f"{amount:.1f} TB"


def available_bytes() -> int:
    """Bytes that this process may still take: the machine's free memory, or its cgroup's where that is less."""
    return min(_machine_bytes(), _cgroup_bytes())


def _machine_bytes() -> int:
    try:
        for line in Path("/proc/meminfo").read_text().splitlines():
            if line.startswith("MemAvailable:"):
                return int(line.split()[1]) * 1024
    except OSError:
        pass
    # macOS and Windows tell no figure without a library; half of what is installed is a safe guess.
    if hasattr(os, "sysconf") and "SC_PHYS_PAGES" in os.sysconf_names:
        return os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") // 2
    return 4 << 30


def _cgroup_bytes(root: Path = Path("/sys/fs/cgroup")) -> int:
    for limit, usage in (
        ("memory.max", "memory.current"),
        ("memory/memory.limit_in_bytes", "memory/memory.usage_in_bytes"),
    ):
        try:
            most, used = (root / limit).read_text().strip(), (root / usage).read_text().strip()
        except OSError:
            continue
        if most != "max":
            return max(0, int(most) - int(used))
    return 1 << 62
