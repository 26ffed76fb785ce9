"""Whether code was written by this user: a key in the user's data folder signs what a run keeps of code.

The key never leaves the machine. What it has signed was executed by this user before; anything else asks first.
"""

import hashlib
import hmac
import json
import logging
import os
import secrets
import stat
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

import platformdirs

_NAME, _BYTES = "code.key", 32
_PURPOSE = b"epochal: code of a run\n"

log = logging.getLogger("epochal")


def signature(content: Mapping[str, Any]) -> dict[str, str] | None:
    """The signature of this user; None, with a warning, where there can be no key."""
    try:
        key = _key(make=True)
    except (OSError, RuntimeError, ValueError) as error:  # RuntimeError: a user without a home
        log.warning("%s; the code of this run is not signed, opening it will need --trust", error)
        return None
    return {"key": _name(key), "hmac": _digest(key, content)}


def objection(content: Mapping[str, Any], signed: Any) -> str | None:
    """Why `signed` is no signature of this user for `content`, in words; None where it is one."""
    if not isinstance(signed, Mapping):
        return "is not signed"
    try:
        key = _key(make=False)
    except FileNotFoundError:
        return "was written by another user, or on another machine"
    except (OSError, RuntimeError, ValueError) as error:
        return f"cannot be checked ({error})"
    if hmac.compare_digest(str(signed.get("hmac")).encode("ascii", "replace"), _digest(key, content).encode()):
        return None
    if signed.get("key") == _name(key):
        return "is not as this user's run has signed it"
    return "was written by another user, or on another machine"


def _digest(key: bytes, content: Mapping[str, Any]) -> str:
    text = json.dumps(content, sort_keys=True, separators=(",", ":")).encode()
    return hmac.new(key, _PURPOSE + text, hashlib.sha256).hexdigest()


def _name(key: bytes) -> str:
    """What tells one key from another, and nothing of the key."""
    return hashlib.sha256(_PURPOSE + key).hexdigest()[:16]


def _key(*, make: bool) -> bytes:
    """The user's key. Raises OSError, RuntimeError; ValueError where it is none that nobody else may know."""
    path = platformdirs.user_data_path("epochal", appauthor=False) / _NAME
    try:
        return _read(path)
    except FileNotFoundError:
        if not make:
            raise
    path.parent.mkdir(parents=True, exist_ok=True)
    other = path.with_name(f".{_NAME}.{secrets.token_hex(4)}.tmp")
    try:
        handle = os.open(other, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with os.fdopen(handle, "wb") as file:
            file.write(secrets.token_bytes(_BYTES))
            file.flush()
            os.fsync(file.fileno())
        try:
            os.link(other, path)  # unlike a rename, it does not replace the key of a process that was faster
        except FileExistsError:
            pass
        except OSError:  # a file system without links
            if not path.exists():
                other.replace(path)
    finally:
        with suppress(OSError):
            other.unlink()
    return _read(path)


def _read(path: Path) -> bytes:
    handle = os.open(path, os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0))
    with os.fdopen(handle, "rb") as file:
        state = os.fstat(file.fileno())
        if not stat.S_ISREG(state.st_mode):
            raise ValueError(f"{path}: is no file; remove it, and the next run makes a new key")
        if os.name == "posix" and state.st_mode & 0o077:
            raise ValueError(f"{path}: others may read it; `chmod 600` it, or remove it if they may have")
        key = file.read(_BYTES + 1)
    if len(key) != _BYTES:
        raise ValueError(f"{path}: is no key of {_BYTES} bytes; remove it, and the next run makes a new one")
    return key
