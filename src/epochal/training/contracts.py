"""What a model and a user's functions must return, checked by shapes alone before anything is computed."""

from collections.abc import Callable
from functools import lru_cache
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from epochal.errors import EpochalError, RecipeError
from epochal.models.base import Model, Variables, compute_dtype, merge_variables, split_variables
from epochal.models.parameters import path_name
from epochal.system import user_file
from epochal.training import losses
from epochal.training.step import Step


@lru_cache(maxsize=256)
def check(step: Step, example_shape: tuple[int, ...], classes: int, dtype: str, batch_size: int) -> None:
    """Trace the user's functions with the shapes of a minibatch; the compute dtype must be enabled.

    Raises RecipeError that names the function, what it gave, what is wanted, and what to do.
    """
    x = jax.ShapeDtypeStruct((batch_size, *example_shape), np.dtype(dtype))
    y = jax.ShapeDtypeStruct((batch_size,), np.dtype(np.int32))
    logits = jax.ShapeDtypeStruct((batch_size, classes), x.dtype)
    variables = _variables(step.model, example_shape, classes, x.dtype)
    _check_model(step.model, variables, x, logits)
    if step.objective.loss is not losses.nll_of_logits:
        loss = _traced("loss", step.objective.loss, logits, y)
        what = "one loss a row, of which epochal takes the mean: return it before any mean or sum"
        _check_array("loss", "it returns", loss, logits.shape[:1], x.dtype, what)
    if step.augment is not None:
        one = jax.ShapeDtypeStruct(example_shape, x.dtype)
        augmented = _traced("augment", step.augment, _key(), one)
        _check_array("augment", "it returns", augmented, one.shape, x.dtype, "one example of the same shape as it got")
    if not isinstance(step.optimizer, str):
        _check_optimizer(step.optimizer, split_variables(variables).params)


def _key() -> Any:
    return jax.eval_shape(lambda: jax.random.key(0))


def _variables(model: Model, example_shape: tuple[int, ...], classes: int, dtype: np.dtype) -> Any:
    """What `init` returns, by shape, in the compute dtype."""
    place = f"model {model.name}: init"
    result = _traced(place, lambda key: model.init(key, example_shape, classes), _key())
    params, model_state = split_variables(result)
    leaves = jax.tree_util.tree_leaves_with_path(params)
    if not leaves:
        raise RecipeError(f"{place}: returns no parameters; return a pytree of floating-point arrays")
    for path, leaf in leaves:
        if not jnp.issubdtype(leaf.dtype, jnp.floating):
            raise RecipeError(
                f"{place}: {path_name(path) or 'the parameter'} is {leaf.dtype}, expected floating-point numbers; keep "
                f"what is not trained out of the parameters, or cast it"
            )
    shapes = jax.tree.map(
        lambda leaf: jax.ShapeDtypeStruct(leaf.shape, compute_dtype(leaf, dtype)), Variables(params, model_state)
    )
    return merge_variables(*shapes)


def _check_model(model: Model, variables: Any, x: Any, logits: Any) -> None:
    place, wanted = f"model {model.name}", "rows × classes, in the compute dtype"
    result = _traced(f"{place}: logits", model.logits, variables, x)
    says = f"for x of shape {list(x.shape)} it returns"
    _check_array(f"{place}: logits", says, result, logits.shape, x.dtype, wanted)
    model_state = split_variables(variables).model_state
    if model.forward is None:
        if jax.tree.leaves(model_state):
            raise RecipeError(f"{place}: init returns a model state, but there is no forward that changes it; give one")
        return
    place += ": forward"
    result = _traced(place, model.forward, variables, x, _key())
    if not isinstance(result, tuple) or len(result) != 2:
        raise RecipeError(f"{place}: must return (logits, model_state), got {type(result).__name__}; () for none")
    _check_array(place, "its logits are", result[0], logits.shape, x.dtype, wanted)
    same = jax.tree.structure(result[1]) == jax.tree.structure(model_state)
    if not same or [a.shape for a in jax.tree.leaves(result[1])] != [a.shape for a in jax.tree.leaves(model_state)]:
        raise RecipeError(
            f"{place}: returns the model state {_form(result[1])}, but init returned {_form(model_state)}; return it "
            f"in the form of init's, () for none"
        )


def _check_optimizer(optimizer: Any, params: Any) -> None:
    opt_state = _traced("optimizer: init", optimizer.init, params)
    result = _traced("optimizer: update", optimizer.update, params, opt_state, params)
    if not isinstance(result, tuple) or len(result) != 2:
        raise RecipeError(f"optimizer: update must return (updates, state), got {type(result).__name__}; see optax")
    for name, given, wanted in (("updates", result[0], params), ("state", result[1], opt_state)):
        if _form(given) != _form(wanted):
            raise RecipeError(
                f"optimizer: update returns {name} {_form(given)}, expected {_form(wanted)}; it must keep the form "
                f"that it was given"
            )


def _form(tree: Any) -> str:
    leaves = jax.tree_util.tree_leaves_with_path(tree)
    shown = [f"{path_name(path)} {leaf.dtype}{list(leaf.shape)}".strip() for path, leaf in leaves[:4]]
    return f"({', '.join(shown)}{', …' if len(leaves) > 4 else ''})"


def _check_array(place: str, says: str, result: Any, shape: tuple[int, ...], dtype: np.dtype, wanted: str) -> None:
    if not hasattr(result, "shape") or not hasattr(result, "dtype"):
        raise RecipeError(f"{place}: {says} {type(result).__name__}, expected an array {dtype}{list(shape)}: {wanted}")
    if tuple(result.shape) != tuple(shape) or result.dtype != dtype:
        raise RecipeError(
            f"{place}: {says} {result.dtype}{list(result.shape)}, expected {dtype}{list(shape)}; it wants {wanted}"
        )


def _traced(place: str, function: Callable[..., Any], *arguments: Any) -> Any:
    """The shapes that `function` returns; the error for what it raises names the line of the user's file."""
    try:
        return jax.eval_shape(function, *arguments)
    except EpochalError:
        raise
    except Exception as error:
        arrays = [of for of in arguments if isinstance(of, jax.ShapeDtypeStruct) and of.ndim]
        given = " for " + " and ".join(f"{of.dtype}{list(of.shape)}" for of in arrays) if arrays else ""
        raise RecipeError(f"{place}: fails{given}: {user_file.told(error)}; mend it") from error
