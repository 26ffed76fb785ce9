"""How a module wants to be called: which of the usual switches and keys its `__call__` asks for."""

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
    """Whether `call` is to be given `name`: always in training if it takes it, else only if it cannot do without."""
    asked = inspect.signature(call).parameters.get(name)
    return asked is not None and (training or asked.default is asked.empty)
