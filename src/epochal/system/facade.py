"""The facade of a package: what others may import from it, fetched when it is asked for."""

from collections.abc import Callable
from importlib import import_module
from typing import Any


def facade(package: str, **modules: str) -> tuple[Callable[[str], Any], Callable[[], list[str]], list[str]]:
    """`__getattr__`, `__dir__` and `__all__` of a package, from its public modules and the names that each gives it.

    Nothing is imported before it is asked for: JAX takes a second, and `epochal --help` has no use for it.

    >>> fetch, _, names = facade("epochal.system", memory="format_bytes parse_bytes", lock="")
    >>> names
    ['memory', 'format_bytes', 'parse_bytes', 'lock']
    >>> fetch("parse_bytes")("2GB")
    2000000000
    """
    homes = {name: module for module, names in modules.items() for name in names.split()}
    public = [name for module, names in modules.items() for name in (module, *names.split())]

    def fetch(name: str) -> Any:
        if name in homes:
            return getattr(import_module(f"{package}.{homes[name]}"), name)
        if name in modules:
            return import_module(f"{package}.{name}")
        raise AttributeError(f"module {package!r} has no attribute {name!r}")

    return fetch, lambda: public, public
