"""Frozen layers: parts of a module that its user has put into evaluation mode, such as batch normalisation.

The libraries have one switch a layer, and one call that sets them all. A layer that is in evaluation mode when its
module comes stays there in training. Where all layers of a module object are, it has been put into evaluation as a
whole, to be looked at; it is then trained like any other.
"""

import weakref
from collections.abc import Sequence
from typing import Any

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
