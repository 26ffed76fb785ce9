"""One recipe in a loop: its patience, its best parameters, its record. The loop tells it what came; it asks nothing."""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace
from typing import Any

import numpy as np

from epochal.errors import DivergedError
from epochal.models import parameters
from epochal.training.patience import Patience
from epochal.training.progress import Best, Epoch
from epochal.training.recipe import Recipe
from epochal.training.score import Score

FINAL = ("diverged", "halving", "refit")
"""Ends that nothing overrules."""


class Member:
    """What is known of one recipe while it is trained, alone or beside others."""

    def __init__(self, recipe: Recipe, steps_per_epoch: int):
        self.recipe, self.steps_per_epoch = recipe, steps_per_epoch
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
        self.stopped: str | None = None
        self.running = Running()

    def finished(self) -> bool:
        """Whether it is to go on no more; `stopped` then says why."""
        if self.stopped not in FINAL:
            if self.rule.exhausted(self.step):
                self.stopped = "patience"
            elif self.step >= self.recipe.epochs * self.steps_per_epoch:
                self.stopped = "epochs"
        return self.stopped is not None

    def advance(self, losses: np.ndarray, counts: np.ndarray, variables: Callable[[], Any]) -> None:
        """Note the loss of each minibatch that was done, float64 [steps], and how many rows it had.

        Raises DivergedError where one is not finite; `variables` then tell which of them is not.
        """
        bad = ~np.isfinite(losses)
        if bad.any():
            where = f"step {self.step + int(np.argmax(bad)) + 1:,}: the loss is {losses[np.argmax(bad)]}; "
            check_finite(parameters.flatten(variables()), where)
            raise diverged(where)
        self.step += len(losses)
        # One addition after another, so that the sum does not depend on where stretches are cut.
        self.running.loss = np.add.accumulate([self.running.loss, *(losses * counts)])[-1]
        self.running.rows += int(counts.sum())

    def observe(self, valid: Score, variables: Callable[[], Any]) -> None:
        """Note a validation score; where it is the best so far, keep what `variables` gives, copies on the host.

        Raises DivergedError where these are not finite.
        """
        self.running.validations.append((self.step, valid.wrong))
        self.rule, better = self.rule.observe(self.step, valid.wrong)
        if better:
            params = variables()
            check_finite(parameters.flatten(params), f"step {self.step:,}: ")
            self.best, self.params = Best(self._epoch_number(), self.step, valid), params
            self.running.best = True

    def close(self, valid_rows: int) -> Epoch:
        """The record of the epoch that ends here; `valid_rows` is the size of the validation split."""
        running, self.running = self.running, Running()
        valid = Score(running.validations[-1][1], valid_rows) if running.validations else None
        loss = float(running.loss / running.rows)
        record = Epoch(
            self._epoch_number(), self.step, loss, valid, running.best, tuple(running.validations), running.seconds
        )
        self.epochs.append(record)
        return record

    def ended(self) -> bool:
        """Whether an epoch ends at this step: its last one, or the one at which patience runs out."""
        return self.step % self.steps_per_epoch == 0 or self.rule.exhausted(self.step)

    def state_dict(self) -> dict[str, Any]:
        """The state without its arrays, as plain values."""
        return {
            "step": self.step,
            "patience": [self.rule.steps, self.rule.best, self.rule.best_step, self.rule.bought],
            "best": [self.best.epoch, self.best.step, self.best.valid.wrong, self.best.valid.of] if self.best else None,
            "epochs": len(self.epochs),
            "running": vars(self.running) | {"validations": list(self.running.validations)},
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
        validations = [tuple(pair) for pair in state["running"]["validations"]]
        vars(self.running).update(state["running"] | {"validations": validations})
        self.stopped = state["stopped"] if state["stopped"] in ("patience", "epochs", "diverged") else None

    def _epoch_number(self) -> int:
        return len(self.epochs) + 1


class Running:
    """The sums of the epoch that is going on."""

    def __init__(self) -> None:
        self.loss, self.rows, self.seconds, self.best = 0.0, 0, 0.0, False
        self.validations: list[tuple[int, int]] = []


def check_finite(named: Mapping[str, np.ndarray], where: str) -> None:
    """Raise DivergedError, with the name, for an array that is not finite."""
    for name, array in named.items():
        if array.dtype.kind == "f" and not np.isfinite(array).all():
            raise diverged(f"{where}{name} is not finite; ")


def diverged(where: str) -> DivergedError:
    """The error, with the remedy."""
    return DivergedError(f"{where}take a smaller learning rate, or scale the features")
