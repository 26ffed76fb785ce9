"""`epochal export`."""

from pathlib import Path
from typing import Annotated, Literal

from epochal.cli.options import Code, Flat, Json, RunPath


def export(
    run: RunPath,
    *,
    format: Literal["onnx", "stablehlo", "safetensors", "numpy"],
    out: Path | None = None,
    code: Annotated[Code, Flat] = Code(),
    json: Json = False,
) -> int:
    """Write a run's best model for other programs, and check it on the data: class names and preprocessing go along.

    Parameters
    ----------
    format
        onnx: a file for onnxruntime and others. stablehlo: a folder for jax.export. safetensors: a file of the
        parameters. numpy: a folder with predict.py, which needs NumPy alone.
    out
        Where to write; left out: RUN/export.

    """
    from dataclasses import asdict

    from epochal.cli import output
    from epochal.export import exporting

    exported = exporting.export(run, format, out, model=code.reference, trust=code.trust)
    check = exported.check
    if json:
        output.print_json(
            {
                "run": str(run),
                "format": format,
                "out": str(exported.path),
                "check": asdict(check) if check else None,
                "notes": list(exported.notes),
            }
        )
        return 0
    print(f"{format:<10} {exported.path}")
    for note in exported.notes:
        print(f"note: {note}")
    if check:
        print(f"check      {check}")
    elif format != "safetensors":
        print("check      none: the run was trained on arrays of a program; from Python: export(run, format, data=…)")
    return 0
