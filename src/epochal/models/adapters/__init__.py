"""Adapters from what a user calls a model to `Model`: a module of Flax or Equinox, what makes one, or FILE.py:NAME.

The type of the module says which library it is, so that none is imported that the user's code has not imported.
"""

import inspect
from collections.abc import Callable
from dataclasses import replace
from functools import lru_cache, partial
from importlib import import_module
from inspect import isfunction
from pathlib import Path
from typing import Any

import jax
from jax import Array

from epochal.errors import EpochalError, RecipeError
from epochal.models.base import Model, mark_built_in
from epochal.models.built_in import named
from epochal.system import user_file
from epochal.system.user_code import Root

_LIBRARIES = {("flax", "nnx"): "nnx", ("flax", "linen"): "linen", ("equinox",): "equinox"}
"""Where a library defines its class Module, by the beginning of its path; and the adapter's module."""

_SHOWN = 40  # characters of a value in the name of a model
_GIVEN = ("example_shape", "classes", "key", "rngs")


def adapted(
    given: Any, example_shape: tuple[int, ...], classes: int, fetch: user_file.Fetch = user_file.fetch
) -> Model:
    """`given` as a `Model` for examples of `example_shape` and so many classes; the same one for the same arguments.

    `given` is a Model, its two functions `(init, logits)`, or the name of a built-in one; a module of Flax NNX, Flax
    linen or Equinox (an Equinox module may come as (module, state)); a function or class that makes one of these, to
    which are given, by name, those of `example_shape`, `classes`, `key` (a JAX key) and `rngs` (`nnx.Rngs`) that it
    asks for; or FILE.py:NAME, which names one of all these, and which `fetch` turns into what it names.
    Raises RecipeError for anything else, and where the user's code fails.
    """
    given = named(given)
    if isinstance(given, Model):
        return given
    source = fetch(given)
    return _adapt(_Same(source.value), source.reference, source.root, tuple(example_shape), classes)


def name_of(given: Any) -> str:
    """The name of a model that is given by value: in tables, and for a run folder.

    >>> from functools import partial
    >>> name_of(partial(dict, width=2)), name_of(dict)
    ('dict(width=2)', 'dict')
    """
    if isinstance(given, Model):
        return repr(given)
    if isinstance(given, partial):
        values = [_short(value) for value in given.args]
        values += [f"{name}={_short(value)}" for name, value in given.keywords.items()]
        return f"{name_of(given.func)}({', '.join(values)})"
    if isinstance(given, tuple):
        return name_of(given[0])
    name = getattr(given, "__name__", type(given).__name__)
    if name == "<lambda>":
        code = given.__code__
        return f"lambda of line {code.co_firstlineno:,} of {Path(code.co_filename).name}"
    return name


def _short(value: Any) -> str:
    """A value in a name: numbers, texts and functions as they are, anything large by its type."""
    text = name_of(value) if callable(value) else repr(value)
    return text if len(text) <= _SHOWN and " at 0x" not in text and text.isprintable() else type(value).__name__


class _Same:
    """An object as a key of a cache, by identity: modules define equality as they like, or not at all.

    A module of Flax NNX can be changed by its user, so its present content belongs to the key.
    """

    def __init__(self, value: Any):
        self.value = value
        self.parts = value if _is_pair(value) else (value,)
        self.version = import_module("epochal.models.adapters.nnx").version(value) if _library(value) == "nnx" else None

    def __eq__(self, other: object) -> bool:
        return (
            isinstance(other, _Same)
            and len(self.parts) == len(other.parts)
            and all(mine is its for mine, its in zip(self.parts, other.parts, strict=True))
            and self.version == other.version
        )

    def __hash__(self) -> int:
        return hash(tuple(map(id, self.parts)))


@lru_cache(maxsize=64)  # modules and functions that are new in each run must not all stay
def _adapt(same: _Same, reference: str, root: Root | None, example_shape: tuple[int, ...], classes: int) -> Model:
    given, name = same.value, reference.rpartition(":")[2] or name_of(same.value)
    place = f"model {reference or name}"
    if _is_pair(given):
        given = Model(*given)
    if not isinstance(given, Model):
        make = _constructor(given, place, example_shape, classes)
        sample = _call(place, make, jax.random.key(0))
        given = sample if isinstance(sample, Model) else _by_adapter(place, make, sample, _library(given) is not None)
    known_as = given.name if given.name != "custom" else name
    # Every model that is not built in passes here, whichever library it comes from.
    model = replace(given, name=known_as, source=user_file.Fetched(None, reference, root))
    return mark_built_in(model) if given.built_in else model


def _is_pair(given: Any) -> bool:
    return isinstance(given, tuple) and len(given) == 2 and all(map(isfunction, given))


def _by_adapter(place: str, make: Callable[[Array], Any], sample: Any, is_given: bool) -> Model:
    library = _library(sample)
    if library is None:
        raise RecipeError(
            f"{place}: is or makes {type(sample).__name__}, expected an epochal.Model or a module of Flax or Equinox; "
            f"docs/models.md tells how to write one"
        )
    adapter = import_module(f"epochal.models.adapters.{library}")
    try:
        return adapter.model(make, sample, given=is_given)
    except EpochalError:
        raise
    except Exception as error:
        raise RecipeError(f"{place}: cannot be taken apart: {user_file.told(error)}; docs/models.md has one") from error


def _library(sample: Any) -> str | None:
    """The adapter for a module; None for anything but a module of these libraries."""
    module = sample[0] if isinstance(sample, tuple) and sample else sample
    for base in type(module).__mro__:
        path = tuple(base.__module__.split("."))
        for begin, adapter in _LIBRARIES.items():
            if base.__name__ == "Module" and path[: len(begin)] == begin:
                return adapter
    return None


def _foreign(given: Any) -> str | None:
    """The name of a module of a library that is not JAX's."""
    kinds = [base for base in type(given).__mro__ if base.__module__.split(".")[0] in ("torch", "keras", "tensorflow")]
    return f"{kinds[0].__module__}.{kinds[0].__qualname__}" if kinds else None


def _constructor(given: Any, place: str, example_shape: tuple[int, ...], classes: int) -> Callable[[Array], Any]:
    """`given` as a function of a key alone. A module object starts from the parameters that it has."""
    if _library(given) is not None:
        return lambda key: given
    foreign = None if isinstance(given, type) else _foreign(given)
    if not callable(given) or foreign:
        raise RecipeError(
            f"{place}: must be an epochal.Model, a module of Flax or Equinox, or a function or class that makes one, "
            f"got {foreign or repr(given)}"
        )
    parameters = _parameters(given)
    names = [name for name in _GIVEN if name in parameters]
    if not names and any(of.kind is of.VAR_KEYWORD for of in parameters.values()):
        names = ["key"]  # eqx.nn.make_with_state(Module) asks for anything
    starred = (inspect.Parameter.VAR_POSITIONAL, inspect.Parameter.VAR_KEYWORD)
    required = [name for name, of in parameters.items() if of.default is of.empty and of.kind not in starred]
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
    """The parameters of a function or a class; of a class its __init__, which the metaclasses of libraries hide.

    Those that a partial has bound are left out.
    """
    if isinstance(given, partial):
        free = list(_parameters(given.func).items())[len(given.args) :]
        return {name: of for name, of in free if name not in given.keywords}
    if not isinstance(given, type):
        return dict(inspect.signature(given).parameters)
    _, *parameters = inspect.signature(given.__init__).parameters.items()
    return dict(parameters)


def _call(place: str, function: Callable[..., Any], *arguments: Any) -> Any:
    try:
        return function(*arguments)
    except EpochalError:
        raise
    except Exception as error:
        raise RecipeError(f"{place}: fails: {user_file.told(error)}; mend it") from error
