"""The built-in models by name. Each takes the options that its function takes; others, given beside it, are refused."""

import inspect
from collections.abc import Mapping
from typing import Any

from epochal.errors import RecipeError, speaks_of_options
from epochal.models.lenet import lenet
from epochal.models.logistic import logistic
from epochal.models.mlp import mlp
from epochal.system import user_file
from epochal.system.options import Unread

BUILT_IN = {"logistic": logistic, "mlp": mlp, "lenet": lenet}

OPTIONS = {name: tuple(inspect.signature(make).parameters) for name, make in BUILT_IN.items()}
"""The options of each, which its function declares."""


def unread(model: Any, name: str) -> Unread | None:
    """What keeps the option `name` of a built-in model from being read by `model`; None where it is read."""
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
