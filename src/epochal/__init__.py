"""epochal trains classifiers with the data set resident on the device.

The names below are in the order of the flow: read data, place them, score, choose a model and a recipe, train, keep.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from epochal.dataset import Dataset, Split
    from epochal.errors import CapacityError, DataError, DataWarning, DivergedError, EpochalError, RecipeError, RunError
    from epochal.estimator import Classifier
    from epochal.fitted import Epoch, Fit
    from epochal.loading import load
    from epochal.losses import negative_log_likelihood, zero_one_loss
    from epochal.models import Model, lenet, logistic, mlp
    from epochal.reading import Reading
    from epochal.recipe import Recipe
    from epochal.run import fit, load_run
    from epochal.selection import select
    from epochal.shared import shared_dataset
    from epochal.training import train

_HOME = {
    "load": "loading",
    "Reading": "reading",
    "Dataset": "dataset",
    "Split": "dataset",
    "shared_dataset": "shared",
    "zero_one_loss": "losses",
    "negative_log_likelihood": "losses",
    "Model": "models",
    "logistic": "models",
    "mlp": "models",
    "lenet": "models",
    "Recipe": "recipe",
    "train": "training",
    "Epoch": "fitted",
    "fit": "run",
    "Fit": "fitted",
    "select": "selection",
    "load_run": "run",
    "Classifier": "estimator",
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
