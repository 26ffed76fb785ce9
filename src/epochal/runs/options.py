"""How a run is kept: one frozen dataclass."""

from dataclasses import dataclass
from typing import Literal

from epochal.system.options import Options, within


@dataclass(frozen=True, kw_only=True)
class CheckpointOptions(Options):
    """How a run is kept."""

    checkpoint_seconds: float = within(60.0, least=0)
    """Seconds between two checkpoints at most; a new best is saved as soon as that costs less than 2 %."""

    on_storage_error: Literal["retry", "stop"] = "retry"
    """Where a checkpoint cannot be saved: go on and try again, or stop with exit code 1."""

    open_test: bool = True
    """Score the test split at the end, once."""
