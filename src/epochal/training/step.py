"""One step of a recipe: the loss of a minibatch, its gradient, the optimiser's update. A pure function of its state."""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax
from jax import Array

from epochal.device.compiled import Minibatch
from epochal.models.base import Model, compute_dtype, merge_variables, split_variables
from epochal.models.convolution.rewriting import rewritten
from epochal.training import losses
from epochal.training.objective import CLASSIFICATION, Objective
from epochal.training.optimizers import Hyperparameters, transformation

_DROPOUT, _AUGMENT = 0, 1  # the streams of random numbers of a run


class State(NamedTuple):
    """All that a step reads and writes. The whole of it is donated to the next stretch."""

    params: Any
    model_state: Any  # what a model keeps beside its parameters, such as running means; () where it keeps none
    opt_state: Any  # the optimiser's own state
    step: Array  # shape=(), dtype=int32: updates done
    key: Array  # shape=(2,), dtype=uint32: the seed of dropout and augmentation
    hyperparameters: Hyperparameters

    @property
    def variables(self) -> Any:
        """Parameters and model state, as the model's functions take them."""
        return merge_variables(self.params, self.model_state)


class Step(NamedTuple):
    """The step as a function, and what distinguishes its program from another, apart from shapes; hashable."""

    model: Model
    optimizer: str | optax.GradientTransformation = "sgd"
    schedule: str = "constant"
    penalty: bool = False
    smoothed: bool = False
    augment: losses.Augment | None = None
    objective: Objective = CLASSIFICATION

    def __call__(self, state: State, batch: Minibatch) -> tuple[State, Array]:
        """One minibatch step of one recipe, and the mean loss of its rows before it."""
        x, numbers = self._augmented(state, batch), state.hyperparameters

        def objective(params: Any) -> tuple[Array, Any]:
            outputs, model_state = self._forward(state, params, x)
            per_row = self.objective.loss(outputs, batch.y)
            if self.smoothed:
                per_row += numbers.label_smoothing * (losses.nll_of_uniform(outputs) - per_row)
            if batch.weight is not None:
                per_row *= batch.weight
            loss = jnp.sum(jnp.where(batch.counted, per_row, 0)) / batch.count.astype(per_row.dtype)
            if self.penalty:
                loss += numbers.l1 * losses.l1(params) + numbers.l2 * losses.l2(params)
            return loss, model_state

        (loss, model_state), gradient = jax.value_and_grad(objective, has_aux=True)(state.params)
        optimizer = transformation(self.optimizer, self.schedule, numbers, state.step)
        updates, opt_state = optimizer.update(gradient, state.opt_state, state.params)
        params = optax.apply_updates(state.params, updates)
        return State(params, model_state, opt_state, state.step + 1, state.key, numbers), loss

    def _forward(self, state: State, params: Any, x: Array) -> tuple[Array, Any]:
        fast = (lambda function: function) if self.model.built_in else rewritten  # ours have no slow operation
        variables = merge_variables(params, state.model_state)
        if self.model.forward is None:
            return fast(self.model.logits)(variables, x), state.model_state
        key = jax.random.fold_in(_stream(state, _DROPOUT), state.step)
        outputs, model_state = fast(self.model.forward)(variables, x, key)
        return outputs, jax.tree.map(lambda new, old: new.astype(old.dtype), model_state, state.model_state)

    def _augmented(self, state: State, batch: Minibatch) -> Array:
        """The features changed by `augment`, each row by a key of seed, epoch and row: residency changes nothing."""
        if self.augment is None:
            return batch.x
        assert batch.number is not None
        epoch = state.step // state.hyperparameters.steps_per_epoch.astype(jnp.int32)
        key = jax.random.fold_in(_stream(state, _AUGMENT), epoch)
        keys = jax.vmap(lambda number: jax.random.fold_in(key, number))(batch.number)
        return jax.vmap(self.augment)(keys, batch.x).astype(batch.x.dtype)


class Start(NamedTuple):
    """The state before the first step, as a function for `compiled.call`; hashable."""

    step: Step
    example_shape: tuple[int, ...]
    classes: int

    def __call__(self, key: Array, numbers: Hyperparameters, variables: Any = None) -> State:
        """`variables`, where given, take the place of the model's initial ones; the compute dtype is of `numbers`."""
        of, dtype = self.step, numbers.learning_rate.dtype
        if variables is None:
            variables = of.model.init(key, self.example_shape, self.classes)
        params, model_state = jax.tree.map(
            lambda leaf: jnp.asarray(leaf, compute_dtype(leaf, dtype)), split_variables(variables)
        )
        step = jnp.zeros((), jnp.int32)
        opt_state = transformation(of.optimizer, of.schedule, numbers, step).init(params)
        return State(params, model_state, opt_state, step, jax.random.key_data(key), numbers)


class Measure(NamedTuple):
    """What an objective sums over rows, as a function for `compiled.sum_rows`; hashable."""

    model: Model
    objective: Objective

    def __call__(self, variables: Any, batch: Minibatch) -> Any:
        return self.objective.measures(self.model.logits(variables, batch.x), batch.y, batch.counted)


class Probabilities(NamedTuple):
    """p(class | x) of every row, as a function for `compiled.map_rows`; hashable."""

    model: Model

    def __call__(self, variables: Any, batch: Minibatch) -> Array:
        return jax.nn.softmax(self.model.logits(variables, batch.x), axis=-1).astype(batch.x.dtype)


def _stream(state: State, stream: int) -> Array:
    return jax.random.fold_in(jax.random.wrap_key_data(state.key), stream)
