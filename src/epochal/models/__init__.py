"""Models: pairs of pure functions `(init, logits)`."""

from epochal.models.base import Model
from epochal.models.lenet import lenet
from epochal.models.logistic import logistic
from epochal.models.mlp import mlp

BUILT_IN = {"logistic": logistic, "mlp": mlp, "lenet": lenet}

__all__ = ["BUILT_IN", "Model", "lenet", "logistic", "mlp"]
