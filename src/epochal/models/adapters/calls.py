"""The signature of a module's `__call__`: which of the usual switches and keys it takes."""

import inspect
from collections.abc import Callable
from typing import Any

_TRAINING = ("train", "training", "is_training")
_EVALUATING = ("deterministic", "use_running_average")


def switches(call: Callable[..., Any], *, training: bool) -> dict[str, bool]:
    """The switches between training and evaluation among the parameters of `call`, as they are to be set."""
    names = inspect.signature(call).parameters
    wanted = dict.fromkeys(_TRAINING, training) | dict.fromkeys(_EVALUATING, not training)
    return {name: value for name, value in wanted.items() if name in names}


def wants(call: Callable[..., Any], name: str, *, training: bool) -> bool:
    """Whether to pass `name` to `call`: in training if there is such a parameter, else only if it is required."""
    parameter = inspect.signature(call).parameters.get(name)
    return parameter is not None and (training or parameter.default is parameter.empty)
