"""The environment that the bits of a run depend on: cores, processor, settings of XLA."""

import hashlib
import os
import platform
import sys
from pathlib import Path

_VARIABLES = ("XLA_FLAGS", "NVIDIA_TF32_OVERRIDE")
_SETTINGS = ("jax_default_prng_impl", "jax_threefry_partitionable", "jax_default_matmul_precision", "jax_enable_x64")


def cores() -> int:
    """The threads of JAX's pool on a CPU, by which sums are divided.

    XLA counts the cores that this process may run on (affinity, cpusets of Slurm and containers), or takes the number
    that these variables give; a quota of processor time does not change the pool.
    """
    for name in ("PJRT_NPROC", "NPROC"):
        given = os.environ.get(name, "")
        if given.isascii() and given.isdecimal() and int(given) > 0:
            return int(given)
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def processor() -> str:
    """The model of the processor, and a digest of what it can do: XLA compiles for that."""
    model = next((value for name, value in _cpuinfo() if name in ("model name", "CPU part")), platform.processor())
    digest = hashlib.sha256(f"{platform.machine()} {features()}".encode()).hexdigest()[:12]
    return f"{model or platform.machine()} ({digest})"


def features() -> str:
    """The instructions that the processor has, as the system tells."""
    return next((value for name, value in _cpuinfo() if name in ("flags", "Features")), platform.processor())


def settings() -> dict[str, str]:
    """Settings of XLA and JAX that change rounding or random numbers, whether they are set or not."""
    found = {name: " ".join(os.environ.get(name, "").split()) for name in _VARIABLES}
    if jax := sys.modules.get("jax"):
        found |= {name: str(getattr(jax.config, name, "unknown")) for name in _SETTINGS}
    return found


def _cpuinfo() -> list[tuple[str, str]]:
    try:
        lines = Path("/proc/cpuinfo").read_text(errors="replace").splitlines()
    except OSError:
        return []
    parts = (line.partition(":") for line in lines)
    return [(name.strip(), value.strip()) for name, _, value in parts]
