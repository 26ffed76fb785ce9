"""The test-set ledger of a run: one line for every time that its test split was opened."""

import json
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from epochal import atomic
from epochal.score import Score

NAME = "test-ledger.jsonl"


def record(folder: Path, fingerprint: str, score: Score, parameters_sha256: str) -> int:
    """Note that the test split of the data `fingerprint` was scored; returns how often that has been done now."""
    entry = {
        "time": datetime.now(UTC).isoformat(timespec="seconds"),
        "data": fingerprint,
        "parameters_sha256": parameters_sha256,
        "test": score.to_json(),
    }
    atomic.append(folder / NAME, json.dumps(entry))
    return len(entries(folder))


def entries(folder: Path) -> list[dict[str, Any]]:
    """Every opening so far, in order."""
    path = folder / NAME
    return [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []
