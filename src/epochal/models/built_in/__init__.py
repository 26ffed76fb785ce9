"""The built-in models by name. Each takes the options that its function takes; others, given beside it, are refused."""

import copyreg
import inspect
from collections.abc import Mapping
from typing import Any

from epochal.errors import RecipeError, speaks_of_options
from epochal.models.base import Model
from epochal.models.built_in.lenet import lenet
from epochal.models.built_in.logistic import logistic
from epochal.models.built_in.mlp import mlp
from epochal.system import user_file
from epochal.system.options import Unread

BUILT_IN = {"logistic": logistic, "mlp": mlp, "lenet": lenet}

OPTIONS = {name: tuple(inspect.signature(make).parameters) for name, make in BUILT_IN.items()}
"""The options of each model: the parameters of its function."""


def unread(model: Any, name: str) -> Unread | None:
    """Why `model` does not read the option `name` of a built-in model; None where it does."""
    readers = tuple(of for of, options in OPTIONS.items() if name in options)
    return None if isinstance(model, str) and model in readers else Unread("model", model, readers)


def named(model: Any, options: Mapping[str, Any] | None = None) -> Any:
    """The built-in model of that name with the options that are given, not None; anything but a name as it is.

    Of FILE.py:NAME comes the absolute form. Raises RecipeError for another name, and for an option that the model does
    not read.
    """
    given = {name: value for name, value in (options or {}).items() if value is not None}
    reference = user_file.is_reference(model)
    if isinstance(model, str) and not reference and model not in BUILT_IN:
        also = "" if speaks_of_options() else ", or a model"
        raise RecipeError(f"model: must be one of {', '.join(BUILT_IN)}, FILE.py:NAME{also}, got {model!r}")
    for name, value in given.items():
        if reason := unread(model, name):
            raise reason.refusal(name, value)
    if not isinstance(model, str):
        return model
    return user_file.absolute(model) if reference else BUILT_IN[model](**given)


def _make(name: str, settings: Mapping[str, Any]) -> Model:
    return BUILT_IN[name](**settings)


def _reduce(model: Model) -> Any:
    """How a model is pickled: a built-in one by name, as its functions cannot be and the object is one a process."""
    if model.built_in and _make(model.name, model.settings) is model:
        return _make, (model.name, dict(model.settings))
    return object.__reduce_ex__(model, 2)


copyreg.pickle(Model, _reduce)
