"""Models: pairs of pure functions `(init, logits)`."""

import copyreg
from collections.abc import Mapping
from typing import Any

from epochal.models import parameters
from epochal.models.adapters import adapted, name_of
from epochal.models.base import Model, Variables, computed, joined, parted
from epochal.models.built_in import BUILT_IN
from epochal.models.convolution import conv2d, conv_pool, max_pool
from epochal.models.lenet import lenet
from epochal.models.logistic import logistic
from epochal.models.mlp import mlp

__all__ = [
    "BUILT_IN",
    "Model",
    "Variables",
    "adapted",
    "adapters",
    "built_in",
    "computed",
    "conv2d",
    "conv_pool",
    "convolution",
    "joined",
    "lenet",
    "logistic",
    "max_pool",
    "mlp",
    "name_of",
    "parameters",
    "parted",
]


def _made(name: str, settings: Mapping[str, Any]) -> Model:
    return BUILT_IN[name](**settings)


def _reduced(model: Model) -> Any:
    """How a model is pickled: a built-in one by name, as its functions cannot be and the object is one a process."""
    if model.built_in and _made(model.name, model.settings) is model:
        return _made, (model.name, dict(model.settings))
    return object.__reduce_ex__(model, 2)


copyreg.pickle(Model, _reduced)
