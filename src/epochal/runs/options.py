"""Options of how a run folder is written."""

from dataclasses import dataclass
from typing import Literal

from epochal.system.options import Options, within


@dataclass(frozen=True, kw_only=True)
class CheckpointOptions(Options):
    """When checkpoints are saved, what happens where they cannot be, and whether the test split is opened."""

    checkpoint_seconds: float = within(60.0, least=0)
    """Seconds between two checkpoints at most; a new best is saved as soon as that costs less than 2 %."""

    on_storage_error: Literal["retry", "stop"] = "retry"
    """Where a checkpoint cannot be saved: go on and try again, or stop with exit code 1."""

    open_test: bool = True
    """Score the test split at the end, once."""
