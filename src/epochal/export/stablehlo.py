"""`--format stablehlo`: a folder with the model as StableHLO, which `jax.export` loads without epochal, and about it.

model.jax_export     for `jax.export.deserialize`, for CPU, CUDA and TPU
model.mlirbc         the same program as a portable StableHLO artifact, for other compilers
about.json           class names, shape and dtype of rows, a table's preprocessing

The program takes any number of rows where JAX can trace the model so. A model that asks for the number itself, as
`len(x)` does, is traced for blocks of `BLOCK` rows; about.json says so, and whoever runs it fills the last one up.
"""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import jax
import numpy as np
from jax import export

from epochal.device.placement import precision
from epochal.errors import EpochalError, RunError
from epochal.export.tracing import logits_of, row_shape
from epochal.training.fitted import Fit

_PLATFORMS = ("cpu", "cuda", "tpu")
_BLOCK = 1000
BLOCK = 256
"""Rows of a program for a fixed number of them."""


def files(fit: Fit, dtype: np.dtype, about: Mapping[str, str]) -> tuple[dict[str, bytes], tuple[str, ...]]:
    """The content of the files, and a note where the program takes a fixed number of rows."""
    logits = logits_of(fit, dtype)

    def probabilities(stored: jax.Array) -> jax.Array:
        return jax.nn.softmax(logits(fit.params, stored), axis=-1)

    trace = export.export(jax.jit(probabilities), platforms=_PLATFORMS)
    with precision(fit.recipe.dtype):
        block, notes = None, ()
        try:
            exported = trace(row_shape(fit, dtype))
        except EpochalError:
            raise
        except Exception as error:  # JAX raises several kinds for a shape that it cannot follow; len(x) is one
            block, why = BLOCK, str(error).splitlines()[0] if str(error) else type(error).__name__
            notes = (
                f"the program takes blocks of {block} rows, fill the last one up; the model cannot be traced for any "
                f"number of rows ({why[:120]}): x.shape[0] instead of len(x) may do",
            )
            exported = _of_blocks(fit, trace, jax.ShapeDtypeStruct((block, *fit.program.example_shape), dtype))
    values = {name: json.loads(value) for name, value in about.items()}
    values["rows"] |= {"block": block}
    content = {
        "model.jax_export": bytes(exported.serialize()),
        "model.mlirbc": exported.mlir_module_serialized,
        "about.json": (json.dumps(values, indent=2) + "\n").encode(),
    }
    return content, notes


def _of_blocks(fit: Fit, trace: Any, shape: jax.ShapeDtypeStruct) -> export.Exported:
    """The program for a fixed number of rows; RunError where what fills a block up would change the other rows."""
    try:
        exported = trace(shape)
    except EpochalError:
        raise
    except Exception as error:
        why = f"{type(error).__name__}: {str(error).splitlines()[0] if str(error) else ''}"
        raise RunError(f"export: the model {fit.model.name!r} cannot be made a StableHLO program: {why}") from None
    generator = np.random.default_rng(0)
    x = generator.integers(0, 100, shape.shape).astype(shape.dtype)
    other = np.concatenate([x[: BLOCK // 2], x[: BLOCK // 2]])
    p, q = (np.asarray(exported.call(rows))[: BLOCK // 2] for rows in (x, other))
    if not np.allclose(p, q, rtol=0, atol=1e-4, equal_nan=True):
        raise RunError(
            f"export: what the model {fit.model.name!r} says of a row depends on the other rows, so it has no answer "
            f"for a row alone; take means over rows in training only (forward=), and keep them as statistics"
        )
    return exported


def run(path: Path, rows: np.ndarray, dtype: str) -> np.ndarray:
    """Probabilities of all rows, by the program in the folder `path`."""
    with precision(dtype):
        exported = export.deserialize(bytearray((path / "model.jax_export").read_bytes()))
        block = json.loads((path / "about.json").read_bytes())["rows"]["block"]
        x = rows.astype(exported.in_avals[0].dtype, copy=False)
        p = []
        for begin in range(0, len(x), block or _BLOCK):
            part = x[begin : begin + (block or _BLOCK)]
            full = np.concatenate([part, np.zeros((block - len(part), *part.shape[1:]), x.dtype)]) if block else part
            p.append(np.asarray(exported.call(full))[: len(part)])
        return np.concatenate(p)
