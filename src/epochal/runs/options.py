"""Options of how a run folder is written."""

from dataclasses import dataclass
from typing import Literal

from epochal.errors import RecipeError


@dataclass(frozen=True, kw_only=True)
class CheckpointOptions:
    """When checkpoints are saved, what happens where they cannot be, and whether the test split is opened."""

    checkpoint_seconds: float = 60.0
    """Seconds between two checkpoints at most; a new best is saved as soon as that costs less than 2 %."""

    on_storage_error: Literal["retry", "stop"] = "retry"
    """Where a checkpoint cannot be saved: go on and try again, or stop with exit code 1."""

    no_test: bool = False
    """Leave the test split closed at the end."""

    def __post_init__(self) -> None:
        if not self.checkpoint_seconds >= 0:
            raise RecipeError(f"checkpoint_seconds: must be at least 0, got {self.checkpoint_seconds!r}")
        if self.on_storage_error not in ("retry", "stop"):
            raise RecipeError(f"on_storage_error: must be retry or stop, got {self.on_storage_error!r}")
