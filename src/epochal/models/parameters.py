"""Parameters as named arrays (`output.W`, `hidden0.b`, …), for files and digests."""

import hashlib
from typing import Any

import jax
import numpy as np


def flatten(params: Any) -> dict[str, np.ndarray]:
    """Every array of a pytree under its path, parts joined by dots, in the order of the names."""
    leaves = jax.tree_util.tree_flatten_with_path(params)[0]
    named = {path_name(path): np.asarray(leaf) for path, leaf in leaves}
    return dict(sorted(named.items()))


def unflatten(named: dict[str, np.ndarray], like: Any) -> Any:
    """The pytree shaped `like` with the arrays of `flatten`. Raises ValueError where names, shapes or dtypes differ."""
    paths, structure = jax.tree_util.tree_flatten_with_path(like)
    names = [path_name(path) for path, _ in paths]
    if sorted(names) != sorted(named):
        raise ValueError(f"arrays {sorted(named)}, expected {sorted(names)}")
    for name, (_, leaf) in zip(names, paths, strict=True):
        array = named[name]
        if array.shape != leaf.shape or array.dtype != leaf.dtype:
            raise ValueError(f"{name} is {array.dtype}{list(array.shape)}, expected {leaf.dtype}{list(leaf.shape)}")
    return structure.unflatten([named[name] for name in names])


def sha256(params: Any) -> str:
    """SHA-256 (hexadecimal) over the bytes of all arrays, in the order of their names."""
    digest = hashlib.sha256()
    for array in flatten(params).values():
        digest.update(np.ascontiguousarray(array).data)
    return digest.hexdigest()


def path_name(path: Any) -> str:
    """The parts of a leaf's path joined by dots."""
    return ".".join(_part(key) for key in path)


def _part(key: Any) -> str:
    return str(next(getattr(key, name) for name in ("key", "name", "idx") if hasattr(key, name)))
