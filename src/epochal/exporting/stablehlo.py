"""`--format stablehlo`: a folder with the model as StableHLO, which `jax.export` loads without epochal, and about it.

model.jax_export     for `jax.export.deserialize`, for CPU, CUDA and TPU, and any number of rows
model.mlirbc         the same program as a portable StableHLO artifact, for other compilers
about.json           class names, shape and dtype of rows, a table's preprocessing
"""

import json
from collections.abc import Mapping
from pathlib import Path

import jax
import numpy as np
from jax import export

from epochal import atomic
from epochal.exporting.tracing import logits_of, no_shape, row_shape
from epochal.fitted import Fit
from epochal.placement import precision

_PLATFORMS = ("cpu", "cuda", "tpu")
_BLOCK = 1000


def write(fit: Fit, dtype: np.dtype, path: Path, about: Mapping[str, str]) -> None:
    """Write the folder `path`."""
    logits = logits_of(fit, dtype)

    def probabilities(stored: jax.Array) -> jax.Array:
        return jax.nn.softmax(logits(fit.params, stored), axis=-1)

    with precision(fit.recipe.dtype):
        try:
            exported = export.export(jax.jit(probabilities), platforms=_PLATFORMS)(row_shape(fit, dtype))
        except Exception as error:  # of several kinds, len(x) among their causes
            raise no_shape(fit, error) from None
    path.mkdir(parents=True, exist_ok=True)
    atomic.write(path / "model.jax_export", bytes(exported.serialize()))
    atomic.write(path / "model.mlirbc", exported.mlir_module_serialized)
    told = {name: json.loads(value) for name, value in about.items()}
    atomic.write_json(path / "about.json", told | {"rows": {"shape": [None, *fit.program.example_shape]}})


def run(path: Path, rows: np.ndarray, dtype: str) -> np.ndarray:
    """Probabilities of all rows, by the program as it lies there."""
    with precision(dtype):
        exported = export.deserialize(bytearray((path / "model.jax_export").read_bytes()))
        x = rows.astype(exported.in_avals[0].dtype, copy=False)
        return np.concatenate([np.asarray(exported.call(x[i : i + _BLOCK])) for i in range(0, len(x), _BLOCK)])
