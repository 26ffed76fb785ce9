"""`epochal doctor`."""

import errno
import os
import shutil
import subprocess
from contextlib import suppress
from pathlib import Path
from typing import Any

from epochal.cli.options import Json


def doctor(*, json: Json = False) -> int:
    """Say what epochal finds on this machine: versions, devices, memory, caches, extras, and what is wrong."""
    from epochal.cli import output
    from epochal.runs.versions import installed
    from epochal.system import extras
    from epochal.system.memory import available_bytes, format_bytes

    devices, trouble = _devices()
    versions = installed()
    gpus = graphics_cards()
    advice = diagnose(gpus, devices, extras.missing("cuda"))
    report = {
        "versions": versions,
        "devices": devices,
        "gpus": gpus,
        "memory_bytes": available_bytes(),
        "caches": _caches(),
        "extras": {name: extras.missing(name) for name in extras.EXTRAS},
        "advice": ([f"JAX does not start: {trouble}"] if trouble else []) + advice,
    }
    if json:
        output.print_json(report)
        return 0
    for name, version in versions.items():
        print(f"{name:<12} {version}")
    for device in devices:
        free = f", {format_bytes(device['free_bytes'])} free" if device["free_bytes"] is not None else ""
        print(f"{'device':<12} {device['platform']}: {device['kind']}{free}")
    print(f"{'memory':<12} {format_bytes(report['memory_bytes'])} free for this process")
    for name, cache in report["caches"].items():
        size = format_bytes(cache["bytes"]) if cache["bytes"] is not None else "not there yet"
        size += f"; cannot be read: {cache['trouble']}" if cache["trouble"] else ""
        print(f"{'cache':<12} {name}: {cache['path'] or 'off'}{f' ({size})' if cache['path'] else ''}")
    for name, lacking in report["extras"].items():
        state = f"needs {', '.join(lacking)}: {extras.install(name)}" if lacking else "there"
        print(f"{'extra':<12} {name}: {state}")
    for line in report["advice"]:
        print(f"{'!':<12} {line}")
    return 0


def diagnose(gpus: list[str], devices: list[dict[str, Any]], lacking: list[str]) -> list[str]:
    """Advice where the machine has a GPU that JAX does not see."""
    if not gpus or any(device["platform"] != "cpu" for device in devices):
        return []
    from epochal.system import extras

    if os.environ.get("JAX_PLATFORMS", "").strip() == "cpu":
        why = "JAX_PLATFORMS=cpu hides it; unset it"
    elif lacking:
        why = f"JAX is installed for CPUs; {extras.install('cuda')}"
    else:
        why = "the CUDA plugin is installed; is the driver new enough for it, and CUDA_VISIBLE_DEVICES not empty?"
    return [f"this machine has {', '.join(gpus)}, but JAX runs on the CPU: {why}"]


def graphics_cards() -> list[str]:
    """The NVIDIA GPUs of the machine, by its driver."""
    if (program := shutil.which("nvidia-smi")) is None:
        return []
    query = [program, "--query-gpu=name", "--format=csv,noheader"]
    try:
        done = subprocess.run(query, capture_output=True, text=True, timeout=20, check=True)
    except (OSError, subprocess.SubprocessError):
        return []
    return [line.strip() for line in done.stdout.splitlines() if line.strip()]


def _devices() -> tuple[list[dict[str, Any]], str]:
    import jax

    try:
        devices = jax.devices()
    except Exception as error:  # a platform that was asked for is not there; of whatever kind its plugin has
        return [], str(error).partition("\n")[0] or type(error).__name__
    return [{"platform": d.platform, "kind": d.device_kind, "free_bytes": _free(d)} for d in devices], ""


def _free(device: Any) -> int | None:
    stats = device.memory_stats() or {}
    return int(stats["bytes_limit"]) - int(stats.get("bytes_in_use", 0)) if "bytes_limit" in stats else None


def _caches() -> dict[str, dict[str, Any]]:
    import jax

    from epochal.errors import DataError
    from epochal.system.cache_folder import cache_folder

    compiled = jax.config.jax_compilation_cache_dir  # pyrefly: ignore
    paths: dict[str, Path | None] = {"data sets": None, "compiled programs": Path(compiled) if compiled else None}
    with suppress(DataError):  # a user without a home
        paths["data sets"] = cache_folder()
    caches: dict[str, dict[str, Any]] = {}
    for name, path in paths.items():
        size, trouble = _size(path) if path else (None, "")
        caches[name] = {"path": str(path) if path else None, "bytes": size, "trouble": trouble}
    return caches


def _size(path: Path) -> tuple[int | None, str]:
    """The bytes of the files in a folder, None where it is not there; and why some, or all, cannot be looked at."""
    trouble: list[str] = []
    total = 0
    for folder, _, names in os.walk(path, onerror=lambda error: trouble.append(f"{error.filename}: {error.strerror}")):
        for name in names:
            try:
                total += Path(folder, name).lstat().st_size
            except OSError as error:
                trouble.append(f"{error.filename}: {error.strerror}")
    if not os.path.lexists(path) and all(line.endswith(os.strerror(errno.ENOENT)) for line in trouble):
        return None, ""
    return total, trouble[0] if trouble else ""
