"""Versions of all that may change the bits of a run, and how they differ from those of another time."""

import platform
import sys
from collections.abc import Iterable, Mapping
from importlib.metadata import PackageNotFoundError, version

from epochal.system import environment


def versions(libraries: Iterable[str] = ()) -> dict[str, str]:
    """Versions of all that may change the bits of a run, and the machine with its device.

    Of the `libraries` that not every run needs also where no code has imported them yet.
    """
    device = {"device": sys.modules["jax"].devices()[0].device_kind} if "jax" in sys.modules else {}
    return installed(libraries) | environment.settings() | device


def differences(then: Mapping[str, str]) -> list[str]:
    """What of `then`, the `versions` of a run, is another now and may change bits."""
    now = versions(then)
    return [
        f"{name} was {then[name] or 'not set'}, is {now[name] or 'not set'}"
        for name in sorted(now)
        if name in then and then[name] != now[name]
    ]


def installed(libraries: Iterable[str] = ()) -> dict[str, str]:
    """The same without the device, which starts JAX."""
    values = {"python": platform.python_version(), "platform": platform.platform()}
    values |= {"cores": str(environment.cores()), "processor": environment.processor()}
    libraries = [package for package in ("flax", "equinox") if package in sys.modules or package in libraries]
    for package in ("epochal", "jax", "jaxlib", "numpy", "optax", *libraries):
        try:
            values[package] = version(package)
        except PackageNotFoundError:
            values[package] = "unknown"
    return values
