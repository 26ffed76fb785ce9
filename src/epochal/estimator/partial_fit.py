"""Training by portions of rows: an epoch over each, with the optimiser, patience and best parameters carried on."""

from copy import copy
from typing import Any

import numpy as np

from epochal.data.dataset import Dataset
from epochal.device.placement import fetch
from epochal.models import parameters
from epochal.training.loop import Loop
from epochal.training.program import Program
from epochal.training.progress import Epoch
from epochal.training.recipe import Recipe
from epochal.training.tracker import CurrentEpoch, Tracker


class PartialFit:
    """Its state, on the host between two portions, so that it can be pickled.

    A portion may have any number of rows. Its order is that of the epoch whose number is the count of portions before
    it: the same rows again and again are the epochs of a run. Options that count epochs (schedules) go by the first.
    """

    program: Program
    """The program of the last portion."""

    def __init__(self, model: Any, recipe: Recipe, memory_bytes: int | None, variables: Any = None):
        """`variables` are the parameters to begin with; left out: the model's initial ones."""
        self.model, self.recipe, self.memory_bytes, self.variables = model, recipe, memory_bytes, variables
        self.member = Tracker(recipe, steps_per_epoch=1)
        self._state: dict[str, np.ndarray] | None = None

    @property
    def exhausted(self) -> bool:
        """Whether the patience has run out."""
        return self.member.rule.exhausted(self.member.step)

    def update(self, data: Dataset, validates: bool) -> Epoch:
        """Train an epoch over the train split; where it `validates`, note the error on the valid split behind it.

        `variables` then are the best so far, else the last. Raises what `train` raises; the state is then as before.
        """
        loop = Loop(self.model, data, [self.recipe], self.memory_bytes)
        program, steps = loop.program, loop.plan.steps
        try:
            if self._state is None:
                state = program.start(loop.plan, self.variables)
            else:
                state = program.to_state(self._state, loop.state)
            state, losses = program.run_steps(state, loop.placed, loop.plan, len(self.member.epochs), 0, steps)

            def copies() -> Any:
                return fetch(state.variables)

            member = copy(self.member)  # so that an error leaves everything as it was
            member.current_epoch = CurrentEpoch()
            member.advance(losses[0], loop.plan.counts, copies)
            if validates:
                member.observe(program.count_errors(state.variables, loop.placed_valid)[0], copies)
            self.variables = member.params if validates else copies()
            self._state = parameters.flatten(fetch(state))
            self.member, self.program, self.model = member, program, loop.model
        finally:
            loop.close()
        return member.close(len(data.valid))
