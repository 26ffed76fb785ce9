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
from epochal.export.numpy import standalone
from epochal.export.numpy.operations import line, spelled
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


def files(fit: Fit, dtype: np.dtype, about: Mapping[str, str]) -> tuple[dict[str, bytes], tuple[str, ...]]:
    """The content of predict.py, model.json, parameters.npz, and no notes."""
    traced = trace(fit, dtype)
    lines = "\n".join(f"    {line(operation)}" for operation in traced.operations)
    source = Path(standalone.__file__).read_text(encoding="utf-8")
    text = source + _END.format(lines=lines, result=spelled(traced.logits))
    values = {
        "about": dict(about),
        "classes": list(fit.classes),
        "rows": json.loads(about["rows"]),
        "label": json.loads(about["label"]),
        "columns": fit.preprocessing.to_json() if fit.preprocessing else None,
    }
    buffer = io.BytesIO()
    np.savez(buffer, allow_pickle=False, **{each.name: each.array for each in traced.constants()})
    content = {
        "parameters.npz": buffer.getvalue(),
        "model.json": (json.dumps(values, indent=2) + "\n").encode(),
        "predict.py": text.encode(),
    }
    return content, ()


def run(path: Path, script: bytes, rows: Any) -> np.ndarray:
    """Probabilities of all rows, by the text of predict.py, in a process that imports nothing from the folder `path`.

    An import could load byte code or modules that lay in the folder before. Raises RunError where the script fails.
    """
    header: dict[str, Any] = {"script": script.decode(), "path": str(path.absolute() / "predict.py"), "columns": None}
    if isinstance(rows, Mapping):
        texts = {name: cells.tolist() for name, cells in rows.items() if cells.dtype == object}
        arrays = [cells for cells in rows.values() if cells.dtype != object]
        header |= {"columns": [name for name in rows if name not in texts], "texts": texts}
    else:
        arrays = [rows]
    stdin = io.BytesIO()
    np.savez(stdin, np.frombuffer(json.dumps(header).encode(), np.uint8), *arrays, allow_pickle=False)
    libraries = str(Path(np.__file__).parents[1])
    words = [sys.executable, "-I", "-B", "-c", _CHILD, libraries]
    done = subprocess.run(words, input=stdin.getbuffer(), capture_output=True, check=False)
    if done.returncode:
        last = (done.stderr.decode(errors="replace").strip().splitlines() or [f"exit code {done.returncode}"])[-1]
        raise RunError(f"{path}: predict.py fails on the rows of the check: {last}; do not use it, and report it")
    return np.load(io.BytesIO(done.stdout), allow_pickle=False)


_CHILD = """
import io, json, sys
sys.path.append(sys.argv[1])
import numpy as np
with np.load(io.BytesIO(sys.stdin.buffer.read()), allow_pickle=False) as given:
    header, *arrays = (given[f"arr_{i}"] for i in range(len(given.files)))
header = json.loads(header.tobytes())
rows = arrays[0] if header["columns"] is None else dict(zip(header["columns"], arrays)) | header["texts"]
module = {"__name__": "predict", "__file__": header["path"]}
exec(compile(header["script"], header["path"], "exec"), module)
out = io.BytesIO()
np.save(out, module["predict_proba"](rows), allow_pickle=False)
sys.stdout.buffer.write(out.getbuffer())
"""
