"""`rows.safetensors` of a run folder: digests of the run's rows by split, by which they are recognised.

With them are the names of the ledgers that count how often the test rows were opened.
"""

from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from epochal.data.dataset import Dataset
from epochal.data.known_rows import NAMES, KnownRows
from epochal.errors import RunError
from epochal.system import checksummed
from epochal.system.plain_files import reason
from epochal.system.schema import fields, listed, sha256, whole

NAME = "rows.safetensors"


@dataclass(frozen=True)
class RecordedData:
    """What a run folder keeps of its data; the digests of their rows are read when they are needed."""

    folder: Path
    fingerprint: str
    origin: str | None

    @cached_property
    def known_rows(self) -> KnownRows:
        """Raises RunError."""
        return read(self.folder, self.fingerprint)

    @cached_property
    def ledger_keys(self) -> tuple[str, ...]:
        """Raises RunError."""
        return ledger_keys(self.folder, self.fingerprint)


def write(folder: Path, data: Dataset) -> None:
    """Keep the digests of the rows of a run. Raises OSError."""
    known = data.known_rows
    metadata = {"limits": known.limits(), "ledgers": list(data.ledger_keys), "data": data.fingerprint}
    checksummed.write(folder / NAME, known.arrays(), metadata)


def read(folder: Path, fingerprint: str | None) -> KnownRows:
    """The digests that `write` kept, of data with that fingerprint. Raises RunError."""
    arrays, metadata = _read(folder, fingerprint)
    try:
        return KnownRows.from_arrays(arrays, metadata["limits"])
    except (KeyError, TypeError, ValueError) as error:
        raise RunError(f"{folder / NAME}: is damaged: {error!r}; bring it back, or train anew") from None


def ledger_keys(folder: Path, fingerprint: str | None) -> tuple[str, ...]:
    """The ledgers of the run's test rows. Raises RunError."""
    return _read(folder, fingerprint)[1]["ledgers"]


def _read(folder: Path, fingerprint: str | None) -> tuple[dict[str, Any], dict[str, Any]]:
    path = folder / NAME
    try:
        arrays, values = checksummed.read(path)
        metadata = _METADATA(values, "")
        if set(arrays) != set(NAMES) or not all(a.ndim == 1 and a.dtype == np.uint64 for a in arrays.values()):
            raise ValueError("its arrays are no digests of rows")
    except FileNotFoundError:
        raise RunError(
            f"{path}: is missing; without it the rows of this run are not recognised: bring it back"
        ) from None
    except PermissionError as error:
        raise RunError(f"{path}: may not be read: {reason(error)}; make it readable for yourself") from None
    except ValueError as error:
        raise RunError(f"{path}: is damaged: {error}; bring it back, or train anew") from None
    if fingerprint not in (None, metadata["data"]):
        raise RunError(
            f"{path}: is that of another run: its data have the fingerprint {metadata['data'][:12]}…, those of this "
            f"run {str(fingerprint)[:12]}…; bring the right one back"
        )
    return arrays, metadata


_METADATA = fields(
    dict, limits=fields(dict, **dict.fromkeys(NAMES, whole(0, 2**64 - 1)), rows=whole()), ledgers=listed(sha256),
    data=sha256,
)  # fmt: skip
