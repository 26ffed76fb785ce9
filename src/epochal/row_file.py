"""The file of a run folder by which the run's rows are recognised: `rows.safetensors`, digests by split.

With them are the names of the ledgers that count how often the test rows were opened.
"""

from pathlib import Path

from epochal import sealed
from epochal.dataset import Dataset
from epochal.errors import RunError
from epochal.known_rows import KnownRows

NAME = "rows.safetensors"


def write(folder: Path, data: Dataset) -> None:
    """Keep the digests of the rows of a run. Raises OSError."""
    known = data.known_rows
    sealed.write(folder / NAME, known.arrays(), {"limits": known.limits(), "ledgers": list(data.ledger_keys)})


def read(folder: Path) -> KnownRows:
    """The digests that `write` kept. Raises RunError."""
    try:
        arrays, about = sealed.read(folder / NAME)
        return KnownRows.from_arrays(arrays, about["limits"])
    except FileNotFoundError:
        raise RunError(_missing(folder)) from None
    except (KeyError, TypeError, ValueError) as error:
        raise RunError(f"{folder / NAME}: is damaged: {error!r}; bring it back, or train anew") from None


def ledger_keys(folder: Path) -> tuple[str, ...]:
    """The ledgers of the run's test rows. Raises RunError."""
    try:
        _, about = sealed.read(folder / NAME)
        return tuple(map(str, about["ledgers"]))
    except FileNotFoundError:
        raise RunError(_missing(folder)) from None
    except (KeyError, TypeError) as error:
        raise RunError(f"{folder / NAME}: is damaged: {error!r}; bring it back, or train anew") from None


def _missing(folder: Path) -> str:
    return f"{folder / NAME}: is missing; without it the rows of this run are not recognised: bring it back"
