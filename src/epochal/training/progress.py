"""Progress of a training, as plain values on the host: epochs, and the best validation score. Imports no JAX."""

from dataclasses import asdict, dataclass
from typing import Any, NamedTuple

from epochal.system.schema import fields, flag, listed, number, optional, together, whole
from epochal.training.score import SCORE, Score


class Best(NamedTuple):
    """The best validation score of a run and where it was reached: epoch and step count from 1."""

    epoch: int
    step: int
    valid: Score

    def to_json(self) -> dict[str, Any]:
        """Plain values."""
        return self._asdict() | {"valid": self.valid.to_json()}


@dataclass(frozen=True)
class Epoch:
    """What is known after an epoch, all on the host.

    `loss` is the mean over the epoch's rows of what is minimised (penalties included), each minibatch taken before its
    update. `valid` is the epoch's last validation score, None where patience ran out before any; `validations` are all
    of them as (step, wrong). `best` tells whether one of them was the best so far. `seconds` include the validations.

    >>> print(Epoch(7, 700, 0.03124, Score(187, 10_000), True, ((700, 187),), 1.5))
    epoch 7 · loss 0.0312 · valid 187 / 10,000 (1.87 %) · best
    """

    epoch: int
    step: int
    loss: float
    valid: Score | None
    best: bool
    validations: tuple[tuple[int, int], ...]
    seconds: float

    def to_json(self) -> dict[str, Any]:
        """Plain values, a line of the history."""
        return asdict(self) | {"valid": self.valid.to_json() if self.valid else None}

    def __str__(self) -> str:
        parts = [f"epoch {self.epoch}", f"loss {self.loss:.4f}"]
        parts += [f"valid {self.valid}"] if self.valid else []
        return " · ".join(parts + (["best"] if self.best else []))


BEST = fields(Best, epoch=whole(1), step=whole(), valid=SCORE)
EPOCH = fields(
    Epoch, epoch=whole(1), step=whole(), loss=number, valid=optional(SCORE), best=flag,
    validations=listed(together(whole(), whole())), seconds=number,
)  # fmt: skip
