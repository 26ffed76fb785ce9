"""JSON that is read back: one function with limits, and a digest over what it says.

A digest (`sha256` among the keys) finds damage and mistakes. It is no signature: whoever writes a file may seal it.
"""

import hashlib
import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from epochal.errors import RunError
from epochal.system import plain_files
from epochal.system.plain_files import reason

MOST_BYTES = 64 << 20
_MOST_VALUES, _MOST_DEPTH = 4_000_000, 40
SEAL = "sha256"


def parse(content: bytes) -> Any:
    """The value of a JSON text. Raises ValueError for what is none, is too large or too deep, or has NaN in it."""
    values = content.count(b",") + content.count(b"[") + content.count(b"{")
    if len(content) > MOST_BYTES or values > _MOST_VALUES:
        raise ValueError(f"it has {len(content):,} bytes and {values:,} values, more than it may have")
    try:
        told = json.loads(content, parse_constant=_refused)
        _check_depth(told, _MOST_DEPTH)
    except RecursionError:
        raise ValueError("it is nested too deeply") from None
    except json.JSONDecodeError as error:
        raise ValueError(f"it is no JSON: {error}") from None
    except UnicodeDecodeError as error:
        raise ValueError(f"it is no JSON: {error.reason} at byte {error.start:,}") from None
    return told


def read(path: Path) -> Any:
    """The value of a JSON file. Raises OSError, ValueError."""
    return parse(plain_files.read(path, MOST_BYTES))


def digest(told: Any) -> str:
    """SHA-256 of a JSON value, in hexadecimal, whatever the order of its keys and the blanks in its text."""
    return hashlib.sha256(json.dumps(told, sort_keys=True, separators=(",", ":")).encode()).hexdigest()


def sealed(told: Mapping[str, Any]) -> dict[str, Any]:
    rest = {name: value for name, value in told.items() if name != SEAL}
    return rest | {SEAL: digest(rest)}


def read_sealed(path: Path, kind: str, number: int, remedy: str) -> dict[str, Any]:
    """The object of a JSON file, without the digest that it carries, which must be that of its content.

    It is a `kind` of format `number`. Raises FileNotFoundError; RunError, with the file and the `remedy`.
    """
    try:
        told = read(path)
        if not isinstance(told, dict) or told.get("format") != number:
            raise RunError(f"{path}: is no {kind} of format {number}; open it with the epochal that wrote it")
        return opened(told)
    except FileNotFoundError:
        raise
    except PermissionError as error:
        raise RunError(f"{path}: may not be read: {reason(error)}; make it readable for yourself") from None
    except (OSError, ValueError) as error:
        raise RunError(f"{path}: cannot be read: {reason(error)}; {remedy}") from None


def opened(told: dict[str, Any]) -> dict[str, Any]:
    """What `sealed` was given. Raises ValueError where it differs."""
    seal = told.pop(SEAL, None)
    if seal is None:
        raise ValueError("it has no sha256, the digest that it was written with")
    if seal != (found := digest(told)):
        raise ValueError(f"its SHA-256 is {found[:12]}…, it was written with {shown(seal)[:12]}…")
    return told


def shown(text: Any) -> str:
    """Text of a file, short and without control characters."""
    text = text if isinstance(text, str) else repr(text)
    return re.sub(r"[^\x20-\x7e]", "?", text)[:120]


def _refused(name: str) -> None:
    raise ValueError(f"it is no JSON: {name} is no number")


def _check_depth(value: Any, left: int) -> None:
    if isinstance(value, (list, dict)):
        if not left:
            raise RecursionError
        for item in value.values() if isinstance(value, dict) else value:
            if isinstance(item, (list, dict)):
                _check_depth(item, left - 1)
