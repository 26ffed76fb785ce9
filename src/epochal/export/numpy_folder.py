"""`--format numpy`: a folder with `predict.py`, which needs NumPy alone, and the arrays of the model.

The script is `standalone`, followed by the model's own operations, a line of NumPy each.
"""

import io
import json
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from epochal.errors import RunError
from epochal.export import standalone
from epochal.export.numpy_operations import line, spelled
from epochal.export.tracing import trace
from epochal.training.fitted import Fit

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


def files(fit: Fit, dtype: np.dtype, about: Mapping[str, str]) -> dict[str, bytes]:
    """What is to be written: predict.py, model.json, parameters.npz."""
    traced = trace(fit, dtype)
    lines = "\n".join(f"    {line(operation)}" for operation in traced.operations)
    source = Path(standalone.__file__).read_text(encoding="utf-8")
    text = source + _END.format(lines=lines, result=spelled(traced.logits))
    told = {
        "about": dict(about),
        "classes": list(fit.classes),
        "rows": json.loads(about["rows"]),
        "label": json.loads(about["label"]),
        "columns": fit.preprocessing.to_json() if fit.preprocessing else None,
    }
    buffer = io.BytesIO()
    np.savez(buffer, allow_pickle=False, **{each.name: each.array for each in traced.constants()})
    return {
        "parameters.npz": buffer.getvalue(),
        "model.json": (json.dumps(told, indent=2) + "\n").encode(),
        "predict.py": text.encode(),
    }


def run(path: Path, script: bytes, rows: Any) -> np.ndarray:
    """Probabilities of all rows, by the text of predict.py, in a process that imports nothing from the folder `path`.

    Import would take byte code, and modules, that lay in the folder before. Raises RunError where the script fails.
    """
    told: dict[str, Any] = {"script": script.decode(), "path": str(path.absolute() / "predict.py"), "columns": None}
    if isinstance(rows, Mapping):
        texts = {name: cells.tolist() for name, cells in rows.items() if cells.dtype == object}
        arrays = [cells for cells in rows.values() if cells.dtype != object]
        told |= {"columns": [name for name in rows if name not in texts], "texts": texts}
    else:
        arrays = [rows]
    given = io.BytesIO()
    np.savez(given, np.frombuffer(json.dumps(told).encode(), np.uint8), *arrays, allow_pickle=False)
    libraries = str(Path(np.__file__).parents[1])
    words = [sys.executable, "-I", "-B", "-c", _CHILD, libraries]
    done = subprocess.run(words, input=given.getbuffer(), capture_output=True, check=False)
    if done.returncode:
        last = (done.stderr.decode(errors="replace").strip().splitlines() or [f"exit code {done.returncode}"])[-1]
        raise RunError(f"{path}: predict.py fails on the rows of the check: {last}; do not use it, and report it")
    return np.load(io.BytesIO(done.stdout), allow_pickle=False)


_CHILD = """
import io, json, sys
sys.path.append(sys.argv[1])
import numpy as np
with np.load(io.BytesIO(sys.stdin.buffer.read()), allow_pickle=False) as given:
    told, *arrays = (given[f"arr_{i}"] for i in range(len(given.files)))
told = json.loads(told.tobytes())
rows = arrays[0] if told["columns"] is None else dict(zip(told["columns"], arrays)) | told["texts"]
module = {"__name__": "predict", "__file__": told["path"]}
exec(compile(told["script"], told["path"], "exec"), module)
found = io.BytesIO()
np.save(found, module["predict_proba"](rows), allow_pickle=False)
sys.stdout.buffer.write(found.getbuffer())
"""
