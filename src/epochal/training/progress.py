"""Progress of a training, as plain values on the host: epochs, and the best validation score. Imports no JAX."""

from dataclasses import asdict, dataclass
from enum import StrEnum
from typing import Any, NamedTuple, Self

from epochal.system.schema import fields, flag, listed, number, one_of, optional, together, whole
from epochal.training.score import SCORE, Score


class Stopped(StrEnum):
    """Why a training ended, each with a sentence for people. A value is its text in JSON, and prints as such."""

    sentence: str

    def __new__(cls, value: str, sentence: str) -> Self:
        reason = str.__new__(cls, value)
        reason._value_, reason.sentence = value, sentence
        return reason

    PATIENCE = "patience", "The validation error had not improved for as long as the patience lasts."
    EPOCHS = "epochs", "All epochs of the recipe were done."
    REFIT = "refit", "The number of updates that was set for training on train and validation rows was done."
    HALVING = "halving", "Successive halving kept better candidates of the selection."
    DIVERGED = "diverged", "The loss or a parameter became NaN or infinite."
    INTERRUPTED = "interrupted", "A signal or the user asked it to stop; it can be resumed."
    STORAGE = "storage", "A checkpoint could not be saved, and the run was to stop there."
    CALLER = "caller", "The program that iterated over it stopped iterating."

    def __repr__(self) -> str:
        return repr(self.value)


class Progress(NamedTuple):
    """A training between two compiled stretches: updates done, and the record of an epoch that has just ended."""

    step: int
    epoch: "Epoch | None"


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
    of them as (step, wrong). `best` says whether one of them was the best so far. `seconds` include the
    `validation_seconds`.

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
    validation_seconds: float = 0.0

    def to_json(self) -> dict[str, Any]:
        """Plain values, a line of the history."""
        return asdict(self) | {"valid": self.valid.to_json() if self.valid else None}

    def __str__(self) -> str:
        parts = [f"epoch {self.epoch}", f"loss {self.loss:.4f}"]
        parts += [f"valid {self.valid}"] if self.valid else []
        return " · ".join(parts + (["best"] if self.best else []))


def stopped(value: Any, key: str) -> Stopped:
    """The form of a reason in JSON."""
    return Stopped(one_of(*Stopped)(value, key))


BEST = fields(Best, epoch=whole(1), step=whole(), valid=SCORE)
EPOCH = fields(
    Epoch, epoch=whole(1), step=whole(), loss=number, valid=optional(SCORE), best=flag,
    validations=listed(together(whole(), whole())), seconds=number, validation_seconds=number,
)  # fmt: skip
