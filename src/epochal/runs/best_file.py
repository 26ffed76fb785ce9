"""`best.safetensors` of a run folder: the parameters with the best validation score."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from epochal.errors import RunError, StorageError
from epochal.models import parameters
from epochal.runs.schema import RunRecord
from epochal.system import checksummed
from epochal.system.plain_files import reason
from epochal.training.progress import BEST, Best

NAME = "best.safetensors"


def write(folder: Path, best: Best, named: Mapping[str, np.ndarray], run_sha256: str) -> None:
    """Keep the best parameters by name, of the run with that identity. Raises StorageError."""
    try:
        checksummed.write(folder / NAME, named, best.to_json() | {"run": run_sha256})
    except OSError as error:
        raise StorageError(f"{folder / NAME}: the best parameters cannot be saved: {reason(error)}") from None


def read(folder: Path, record: RunRecord, shapes: Any) -> tuple[Best, Any]:
    """The best parameters in the structure of `shapes`, which must be those of this run. Raises RunError.

    While it goes on, `run.json` is older than they are; once it has ended, their digest is in it.
    """
    path = folder / NAME
    try:
        named, metadata = checksummed.read(path)
        run = metadata.pop("run", None)
        best = BEST(metadata, "")
    except FileNotFoundError:
        raise RunError(f"{path}: is missing; the run ended before its first validation, train it again") from None
    except PermissionError as error:
        raise RunError(f"{path}: may not be read: {reason(error)}; make it readable for yourself") from None
    except ValueError as error:
        raise RunError(f"{path}: are no best parameters of epochal's: {error}; bring the file back") from None
    if run != record.run_sha256:
        raise RunError(
            f"{path}: belongs to another run, of another model, recipe or data: {str(run)[:12]}…, this one is "
            f"{record.run_sha256[:12]}…; bring its own file back, or train it again"
        )
    try:
        params = parameters.unflatten(named, shapes)
    except ValueError as error:
        raise RunError(f"{path}: holds another model's parameters: {error}") from None
    if record.stopped and record.parameters_sha256 != (sha256 := parameters.sha256(params)):
        raise RunError(
            f"{path}: is not the file that this run ended with: the parameters have the SHA-256 {sha256[:12]}…, "
            f"run.json says {str(record.parameters_sha256)[:12]}…; bring its own file back"
        )
    return best, params
