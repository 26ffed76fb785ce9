"""`--format safetensors`: the parameters by name; all else that is known of the model as metadata, in JSON."""

from collections.abc import Mapping
from pathlib import Path

import numpy as np
import safetensors.numpy

from epochal.models import parameters
from epochal.training.fitted import Fit


def files(fit: Fit, about: Mapping[str, str]) -> dict[str, bytes]:
    """What is to be written: one file."""
    named = {name: np.ascontiguousarray(array) for name, array in parameters.flatten(fit.params).items()}
    return {"model.safetensors": safetensors.numpy.save(named, dict(about))}


def same(fit: Fit, path: Path) -> bool:
    """Whether the file has the parameters of the fit, bit for bit."""
    named, found = parameters.flatten(fit.params), safetensors.numpy.load_file(path)
    return named.keys() == found.keys() and all(named[name].tobytes() == found[name].tobytes() for name in named)
