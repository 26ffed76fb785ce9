"""From what a user calls a model to `Model`: a module of Flax or Equinox, what makes one, or FILE.py:NAME.

The library is told from the type of the module, so that none is imported that the user's own code has not imported.
"""

import inspect
from collections.abc import Callable
from dataclasses import replace
from functools import lru_cache
from importlib import import_module
from typing import Any

import jax
from jax import Array

from epochal import userfile
from epochal.errors import EpochalError, RecipeError
from epochal.models.base import Model
from epochal.models.built_in import named

_LIBRARIES = {("flax", "nnx"): "nnx", ("flax", "linen"): "linen", ("equinox",): "equinox"}
"""Where a library defines its class Module, by the beginning of its path; and the adapter's module."""

_GIVEN = ("example_shape", "classes", "key", "rngs")


def adapted(given: Any, example_shape: tuple[int, ...], classes: int) -> Model:
    """`given` as a `Model` for examples of `example_shape` and so many classes; the same one for the same arguments.

    `given` is a Model, or the name of a built-in one; a module of Flax NNX, Flax linen or Equinox (an Equinox module
    may come as (module, state)); a function or class that makes one of these, to which are given, by name, those of
    `example_shape`, `classes`, `key` (a JAX key) and `rngs` (`nnx.Rngs`) that it asks for; or FILE.py:NAME, which
    names one of all these.
    Raises RecipeError for anything else, and where the user's code fails.
    """
    given = named(given)
    if isinstance(given, Model):
        return given
    source = userfile.fetch(given)
    return _made(_Same(source.value), source.reference, source.sha256, tuple(example_shape), classes)


class _Same:
    """An object as a key of a cache, by identity: modules have an equality, or a lack of one, of their own."""

    def __init__(self, value: Any):
        self.value = value

    def __eq__(self, other: object) -> bool:
        return isinstance(other, _Same) and self.value is other.value

    def __hash__(self) -> int:
        return id(self.value)


@lru_cache(maxsize=64)  # of modules and functions made anew for each run, not every one is kept for ever
def _made(same: _Same, reference: str, sha256: str, example_shape: tuple[int, ...], classes: int) -> Model:
    given, name = same.value, reference.rpartition(":")[2]
    place = f"model {reference or getattr(given, '__name__', type(given).__name__)}"
    if not isinstance(given, Model):
        make = _constructor(given, place, example_shape, classes)
        made = _call(place, make, jax.random.key(0))
        name = name or getattr(given, "__name__", type(given).__name__)
        given = made if isinstance(made, Model) else _by_adapter(place, make, made)
    known_as = given.name if given.name != "custom" else name
    # Every model that is not built in passes here, whichever library it comes from.
    return replace(given, name=known_as, source=userfile.Fetched(None, reference, sha256))


def _by_adapter(place: str, make: Callable[[Array], Any], made: Any) -> Model:
    library = _library(made)
    if library is None:
        raise RecipeError(
            f"{place}: is or makes {type(made).__name__}, expected an epochal.Model or a module of Flax or Equinox; "
            f"docs/models.md tells how to write one"
        )
    adapter = import_module(f"epochal.models.adapters.{library}")
    try:
        return adapter.model(make, made)
    except EpochalError:
        raise
    except Exception as error:
        raise RecipeError(f"{place}: cannot be taken apart: {userfile.told(error)}; docs/models.md has one") from error


def _library(made: Any) -> str | None:
    """The adapter for a module, None for what is no module of a library we know."""
    module = made[0] if isinstance(made, tuple) and made else made
    for base in type(module).__mro__:
        path = tuple(base.__module__.split("."))
        for begin, adapter in _LIBRARIES.items():
            if base.__name__ == "Module" and path[: len(begin)] == begin:
                return adapter
    return None


def _constructor(given: Any, place: str, example_shape: tuple[int, ...], classes: int) -> Callable[[Array], Any]:
    """`given` as a function of a key alone. A module that is there already starts from its own parameters."""
    if _library(given) is not None:
        return lambda key: given
    if not callable(given):
        raise RecipeError(
            f"{place}: must be an epochal.Model, a module, or a function or class that makes one, got {given!r}"
        )
    asked = _parameters(given)
    names = [name for name in _GIVEN if name in asked]
    if not names and any(of.kind is of.VAR_KEYWORD for of in asked.values()):
        names = ["key"]  # eqx.nn.make_with_state(Module) asks for anything
    starred = (inspect.Parameter.VAR_POSITIONAL, inspect.Parameter.VAR_KEYWORD)
    required = [name for name, of in asked.items() if of.default is of.empty and of.kind not in starred]
    missing = [name for name in required if name not in _GIVEN]
    if missing:
        raise RecipeError(
            f"{place}: wants {', '.join(missing)}, but it is given {', '.join(_GIVEN[:-1])} or {_GIVEN[-1]} by name; "
            f"name a function of these that makes the module"
        )

    def make(key: Array) -> Any:
        values: dict[str, Any] = {"example_shape": example_shape, "classes": classes, "key": key}
        if "rngs" in names:
            values["rngs"] = import_module("flax.nnx").Rngs(key)
        return given(**{name: values[name] for name in names})

    return make


def _parameters(given: Callable[..., Any]) -> dict[str, inspect.Parameter]:
    """What a function or a class asks for; of a class its __init__, which the metaclasses of libraries hide."""
    if not isinstance(given, type):
        return dict(inspect.signature(given).parameters)
    _, *asked = inspect.signature(given.__init__).parameters.items()
    return dict(asked)


def _call(place: str, function: Callable[..., Any], *arguments: Any) -> Any:
    try:
        return function(*arguments)
    except EpochalError:
        raise
    except Exception as error:
        raise RecipeError(f"{place}: fails: {userfile.told(error)}; mend it") from error
