"""`--format numpy`: a folder with `predict.py`, which needs NumPy alone, and the arrays of the model.

The script is `standalone`, followed by the model's own operations, a line of NumPy each.
"""

import importlib.util
import io
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from epochal import atomic
from epochal.exporting import standalone
from epochal.exporting.numpy_operations import line, spelled
from epochal.exporting.tracing import trace
from epochal.fitted import Fit

_END = '''

def logits(x, p):
    """The model's logits [rows, classes] of stored rows x; p are its parameters by name."""
{lines}
    return {result}


def predict_proba(rows):
    """The probabilities of the classes: [rows, classes]."""
    about, p = load()
    x = features(about, rows)
    blocks = [softmax(logits(x[i : i + _BLOCK], p)) for i in range(0, len(x), _BLOCK)]
    return np.concatenate(blocks) if blocks else np.zeros((0, len(about["classes"])))


if __name__ == "__main__":
    main(predict_proba)
'''


def write(fit: Fit, dtype: np.dtype, path: Path, about: Mapping[str, str]) -> None:
    """Write the folder `path`: predict.py, model.json, parameters.npz."""
    traced = trace(fit, dtype)
    lines = "\n".join(f"    {line(operation)}" for operation in traced.operations)
    source = Path(standalone.__file__).read_text(encoding="utf-8")
    text = source + _END.format(lines=lines, result=spelled(traced.logits))
    told = {
        "about": dict(about),
        "classes": list(fit.classes),
        "example_shape": list(fit.program.example_shape),
        "dtype": str(dtype),
        "columns": fit.preprocessing.to_json() if fit.preprocessing else None,
    }
    buffer = io.BytesIO()
    np.savez(buffer, allow_pickle=False, **{each.name: each.array for each in traced.constants()})
    path.mkdir(parents=True, exist_ok=True)
    atomic.write(path / "parameters.npz", buffer.getvalue())
    atomic.write_json(path / "model.json", told)
    atomic.write(path / "predict.py", text.encode())


def run(path: Path, rows: Any) -> np.ndarray:
    """Probabilities of all rows, by the script."""
    spec = importlib.util.spec_from_file_location("epochal_exported_predict", path / "predict.py")
    assert spec
    assert spec.loader
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module.predict_proba(rows)
