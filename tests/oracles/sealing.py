"""Changing files of a run as somebody does who knows how they are sealed."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

from epochal.system import json_file, jsonl


def told_by(path: Path) -> dict[str, Any]:
    """What a sealed JSON file says."""
    return json.loads(path.read_text())


def reseal(path: Path, told: dict[str, Any]) -> None:
    """Write `told` there under a digest of its own."""
    path.write_text(sealed_text(told))


def sealed_text(told: dict[str, Any]) -> str:
    """The text of such a file."""
    return json.dumps(json_file.sealed(told))


def rechain(path: Path, change: Callable[[str], str]) -> None:
    """Change the text of every line of a chain, and chain them anew."""
    lines, last = [], b""
    for value in jsonl.unchained(jsonl.lines(path)):
        last = jsonl.chained(json.loads(change(json.dumps(value))), last)
        lines.append(last)
    path.write_bytes(b"".join(lines))
