"""Early stopping, best parameters and epoch records of one recipe, alone or beside others in one loop."""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace
from typing import Any, NamedTuple

import numpy as np

from epochal.errors import DivergedError
from epochal.models import parameters
from epochal.training.patience import Patience
from epochal.training.progress import Best, Epoch, Stopped
from epochal.training.recipe import Recipe
from epochal.training.score import Score

FINAL = (Stopped.DIVERGED, Stopped.HALVING, Stopped.REFIT)
"""Ends that nothing overrules."""


class FixedLength(NamedTuple):
    """So many updates in place of early stopping; the last parameters are the best, with a score from elsewhere."""

    steps: int
    score: Score


class CurrentEpoch:
    """The sums of an epoch in progress."""

    def __init__(self) -> None:
        self.loss, self.rows, self.seconds, self.validation_seconds, self.best = 0.0, 0, 0.0, 0.0, False
        self.validations: list[tuple[int, int]] = []


class Tracker:
    """Follows one recipe: the loop reports losses and scores, the tracker says what is best and when to stop."""

    def __init__(self, recipe: Recipe, steps_per_epoch: int, fixed_length: FixedLength | None = None):
        self.recipe, self.steps_per_epoch, self.fixed_length = recipe, steps_per_epoch, fixed_length
        self.rule = Patience(
            recipe.patience_steps,
            recipe.patience_increase,
            recipe.improvement_threshold or 1.0,  # None beside a test, in whose place it would be
            level=recipe.improvement_p,
        )
        self.step = 0
        self.epochs: list[Epoch] = []
        self.best: Best | None = None
        self.params: Any = None
        self.stopped: Stopped | None = None
        self.current_epoch = CurrentEpoch()

    def finished(self) -> bool:
        """Whether the training ends here; `stopped` then says why."""
        if self.stopped not in FINAL:
            if self.fixed_length is not None:
                if self.step >= self.fixed_length.steps:
                    self.stopped = Stopped.REFIT
            elif self.rule.exhausted(self.step):
                self.stopped = Stopped.PATIENCE
            elif self.step >= self.recipe.epochs * self.steps_per_epoch:
                self.stopped = Stopped.EPOCHS
        return self.stopped is not None

    def next_look(self, frequency: int) -> int:
        """The update up to which training runs on before the next validation, or the end; called while not finished."""
        if self.fixed_length is not None:
            return min((self.step // frequency + 1) * frequency, self.fixed_length.steps)
        return self.rule.next_look(self.step, frequency)

    def advance(self, losses: np.ndarray, counts: np.ndarray, variables: Callable[[], Any]) -> None:
        """Add the loss of each minibatch that was done, float64 [steps], and how many rows it had.

        `variables` returns copies on the host. Raises DivergedError where a loss is not finite, and names the variable
        that is not.
        """
        bad = ~np.isfinite(losses)
        if bad.any():
            where = f"step {self.step + int(np.argmax(bad)) + 1:,}: the loss is {losses[np.argmax(bad)]}; "
            check_finite(parameters.flatten(variables()), where)
            raise diverged(where)
        self.step += len(losses)
        epoch = self.current_epoch
        # One addition after another, so that the sum does not depend on where stretches are cut.
        epoch.loss = np.add.accumulate([epoch.loss, *(losses * counts)])[-1]
        epoch.rows += int(counts.sum())
        if self.fixed_length is not None and self.step >= self.fixed_length.steps:
            self._keep(self.fixed_length.score, variables)

    def observe(self, valid: Score, variables: Callable[[], Any]) -> None:
        """Add a validation score; where it is the best so far, keep what `variables` returns, copies on the host.

        Raises DivergedError where these are not finite.
        """
        self.current_epoch.validations.append((self.step, valid.wrong))
        if self.fixed_length is None:
            self.rule, better = self.rule.observe(self.step, valid.wrong)
            if better:
                self._keep(valid, variables)

    def _keep(self, valid: Score, variables: Callable[[], Any]) -> None:
        params = variables()
        check_finite(parameters.flatten(params), f"step {self.step:,}: ")
        self.best, self.params = Best(self._epoch_number(), self.step, valid), params
        self.current_epoch.best = True

    def ended(self) -> bool:
        """Whether an epoch ends at this step: after its last minibatch, or where the training ends."""
        last = self.rule.exhausted(self.step) if self.fixed_length is None else self.step >= self.fixed_length.steps
        return last or self.step % self.steps_per_epoch == 0

    def close(self, valid_rows: int) -> Epoch:
        """The record of the epoch that ends here; `valid_rows` is the size of the validation split."""
        of, self.current_epoch = self.current_epoch, CurrentEpoch()
        record = Epoch(
            epoch=self._epoch_number(),
            step=self.step,
            loss=float(of.loss / of.rows),
            valid=Score(of.validations[-1][1], valid_rows) if of.validations else None,
            best=of.best,
            validations=tuple(of.validations),
            seconds=of.seconds,
            validation_seconds=of.validation_seconds,
        )
        self.epochs.append(record)
        return record

    def state_dict(self) -> dict[str, Any]:
        """The state without its arrays, as plain values."""
        return {
            "step": self.step,
            "patience": [self.rule.steps, self.rule.best, self.rule.best_step, self.rule.bought],
            "best": [self.best.epoch, self.best.step, self.best.valid.wrong, self.best.valid.of] if self.best else None,
            "epochs": len(self.epochs),
            "current_epoch": vars(self.current_epoch) | {"validations": list(self.current_epoch.validations)},
            "stopped": self.stopped,
        }

    def load_state_dict(self, state: Mapping[str, Any], epochs: Iterable[Epoch], params: Any) -> None:
        """Go on from what `state_dict` returned; `epochs` are the records so far, `params` those of the best."""
        self.step, self.epochs = state["step"], list(epochs)[: state["epochs"]]
        steps, best, best_step, bought = state["patience"]
        self.rule = replace(self.rule, steps=steps, best=best, best_step=best_step, bought=bought)
        if state["best"]:
            epoch, step, wrong, of = state["best"]
            self.params, self.best = params, Best(epoch, step, Score(wrong, of))
        validations = [tuple(pair) for pair in state["current_epoch"]["validations"]]
        vars(self.current_epoch).update(state["current_epoch"] | {"validations": validations})
        stopped = state["stopped"] and Stopped(state["stopped"])
        self.stopped = stopped if stopped in (*FINAL, Stopped.PATIENCE, Stopped.EPOCHS) else None

    def _epoch_number(self) -> int:
        return len(self.epochs) + 1


def check_finite(named: Mapping[str, np.ndarray], where: str) -> None:
    """Raise DivergedError, with the name, for an array that is not finite."""
    for name, array in named.items():
        if array.dtype.kind == "f" and not np.isfinite(array).all():
            raise diverged(f"{where}{name} is not finite; ")


def diverged(where: str) -> DivergedError:
    """The error, with the remedy."""
    return DivergedError(f"{where}take a smaller learning rate, or scale the features")
