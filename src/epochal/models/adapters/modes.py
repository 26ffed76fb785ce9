"""Which parts of a module its user has put into evaluation mode for good, such as frozen batch normalisation.

The libraries have one switch a layer, and one call that sets them all. A layer that is in evaluation mode when its
module comes stays there in training. Where all layers of a module object are, it has been put into evaluation as a
whole, to be looked at; it is then trained like any other.
"""

import weakref
from collections.abc import Sequence
from typing import Any

_given: dict[int, tuple[weakref.ref, tuple[bool, ...]]] = {}


def frozen(module: Any, switches: Sequence[bool], *, made: bool) -> tuple[bool, ...]:
    """Which of a module's `switches`, True in evaluation, stay there in training.

    A module that was `made` from a class or a function is new: all its switches are the user's word. One that this
    process was given by `remember` has those that it had there.
    """
    known = _given.get(id(module))
    if known is not None and known[0]() is module and len(known[1]) == len(switches):
        return known[1]
    if not made and all(switches):
        return (False,) * len(switches)
    return tuple(bool(switch) for switch in switches)


def remember(module: Any, switches: tuple[bool, ...]) -> None:
    """Note what stays frozen in a module that is handed out in evaluation mode."""
    key = id(module)
    _given[key] = weakref.ref(module, lambda _: _given.pop(key, None)), switches
