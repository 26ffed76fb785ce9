"""Training and evaluation mode of a module: the switches and keys of its `__call__`, and its frozen layers.

The libraries have one switch a layer, and one call that sets them all. A layer that is in evaluation mode when its
module comes, such as frozen batch normalisation, stays there in training. Where all layers of a module object are, it
was put into evaluation as a whole, for a look at it; it is then trained like any other.
"""

import inspect
import weakref
from collections.abc import Callable, Sequence
from typing import Any

_TRAINING = ("train", "training", "is_training")
_EVALUATING = ("deterministic", "use_running_average")

_given: dict[int, tuple[weakref.ref, tuple[bool, ...]]] = {}


def frozen(module: Any, switches: Sequence[bool], *, is_new: bool) -> tuple[bool, ...]:
    """Which of a module's `switches`, True in evaluation, stay there in training.

    In a module that `is_new`, made from a class or a function, every switch is the user's decision. One that `remember`
    knows has the switches that it had there.
    """
    known = _given.get(id(module))
    if known is not None and known[0]() is module and len(known[1]) == len(switches):
        return known[1]
    if not is_new and all(switches):
        return (False,) * len(switches)
    return tuple(bool(switch) for switch in switches)


def remember(module: Any, switches: tuple[bool, ...]) -> None:
    """Note what stays frozen in a module that is handed out in evaluation mode."""
    key = id(module)
    _given[key] = weakref.ref(module, lambda _: _given.pop(key, None)), switches


def switches(call: Callable[..., Any], *, training: bool) -> dict[str, bool]:
    """The switches between training and evaluation among the parameters of `call`, as they are to be set."""
    names = inspect.signature(call).parameters
    wanted = dict.fromkeys(_TRAINING, training) | dict.fromkeys(_EVALUATING, not training)
    return {name: value for name, value in wanted.items() if name in names}


def wants(call: Callable[..., Any], name: str, *, training: bool) -> bool:
    """Whether to pass `name` to `call`: in training if there is such a parameter, else only if it is required."""
    parameter = inspect.signature(call).parameters.get(name)
    return parameter is not None and (training or parameter.default is parameter.empty)
