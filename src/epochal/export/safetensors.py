"""`--format safetensors`: the parameters by name; what else describes the model is metadata, in JSON."""

from collections.abc import Mapping
from pathlib import Path

import numpy as np
import safetensors.numpy

from epochal.models import parameters
from epochal.training.fitted import Fit


def files(fit: Fit, dtype: np.dtype, about: Mapping[str, str]) -> tuple[dict[str, bytes], tuple[str, ...]]:
    """The content of one file, and no notes."""
    named = {name: np.ascontiguousarray(array) for name, array in parameters.flatten(fit.params).items()}
    return {"model.safetensors": safetensors.numpy.save(named, dict(about))}, ()


def same(fit: Fit, path: Path) -> bool:
    """Whether the file has the parameters of the fit, bit for bit."""
    named, written = parameters.flatten(fit.params), safetensors.numpy.load_file(path)
    return named.keys() == written.keys() and all(named[name].tobytes() == written[name].tobytes() for name in named)
