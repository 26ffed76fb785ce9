"""epochal trains classifiers with the data set resident on the device.

The names below are in the order of the flow: read data, place them, score, choose a model and a recipe, train, keep.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from epochal.data.dataset import Dataset, Split
    from epochal.data.loading import load
    from epochal.data.options import Reading
    from epochal.device.shared import shared_dataset
    from epochal.errors import CapacityError, DataError, DataWarning, DivergedError, EpochalError, RecipeError, RunError
    from epochal.estimator.classifier import Classifier
    from epochal.models.base import Model
    from epochal.models.built_in import lenet, logistic, mlp
    from epochal.runs.run import fit, load_run
    from epochal.selection.selecting import select
    from epochal.training.fitted import Fit
    from epochal.training.losses import negative_log_likelihood, zero_one_loss
    from epochal.training.progress import Epoch
    from epochal.training.recipe import Recipe
    from epochal.training.training import train

_HOME = {
    "load": "data.loading",
    "Reading": "data.options",
    "Dataset": "data.dataset",
    "Split": "data.dataset",
    "shared_dataset": "device.shared",
    "zero_one_loss": "training.losses",
    "negative_log_likelihood": "training.losses",
    "Model": "models.base",
    "logistic": "models.built_in",
    "mlp": "models.built_in",
    "lenet": "models.built_in",
    "Recipe": "training.recipe",
    "train": "training.training",
    "Epoch": "training.progress",
    "fit": "runs.run",
    "Fit": "training.fitted",
    "select": "selection.selecting",
    "load_run": "runs.run",
    "Classifier": "estimator.classifier",
    "EpochalError": "errors",
    "RecipeError": "errors",
    "DataError": "errors",
    "CapacityError": "errors",
    "DivergedError": "errors",
    "RunError": "errors",
    "DataWarning": "errors",
}

__all__ = list(_HOME)  # pyrefly: ignore
__version__ = "0.1.0"


def __getattr__(name: str) -> Any:
    # Names are fetched when asked for: JAX takes a second to import, and `epochal --help` has no use for it.
    if name not in _HOME:
        raise AttributeError(f"module 'epochal' has no attribute {name!r}")
    value = getattr(import_module(f"epochal.{_HOME[name]}"), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return [*__all__, "__version__"]
