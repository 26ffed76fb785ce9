"""Where exports go, and what goes in: files of others are kept and not run, rows of another kind are refused."""

import importlib.util
import json
import marshal
import os
import re
import shutil
import struct
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

import epochal
from commands import epochal as command
from commands import result
from epochal.export import export
from needs import extra

FILES = {
    "numpy": ("parameters.npz", "model.json", "predict.py", "SHA256SUMS"),
    "stablehlo": ("model.jax_export", "model.mlirbc", "about.json", "SHA256SUMS"),
    "safetensors": ("model.safetensors", "model.safetensors.sha256"),
}


@pytest.fixture(scope="module")
def trained(tmp_path_factory) -> Path:
    place = tmp_path_factory.mktemp("trained")
    result("train", "digits", "--model", "logistic", "--epochs", 1, "--out", "run", cwd=place)
    return place / "run"


@pytest.fixture
def run(trained, tmp_path) -> Path:
    return Path(shutil.copytree(trained, tmp_path / "run"))


def refused(run: Path, format: str, *words: object, told: str) -> None:
    """The export leaves with one or two lines and exit code 2."""
    done = command("export", run, "--format", format, *words, cwd=run.parent)
    assert done.returncode == 2, done.stderr
    assert told in done.stderr
    assert "Traceback" not in done.stderr
    assert len(done.stderr.strip().splitlines()) <= 2


def test_byte_code_and_modules_that_lay_in_the_folder_are_not_run(run):
    folder, mark = run / "export/numpy", run.parent / "ran"
    (folder / "__pycache__").mkdir(parents=True)
    text = f"open({str(mark)!r}, 'w').close()\n"
    planted = text + "import numpy as np\ndef predict_proba(rows): return np.zeros((len(rows), 10))\n"
    cached = Path(importlib.util.cache_from_source(str(folder / "predict.py")))
    unchecked = importlib.util.MAGIC_NUMBER + struct.pack("<I", 1) + bytes(8)  # by hash, and the hash is not looked at
    cached.write_bytes(unchecked + marshal.dumps(compile(planted, "predict.py", "exec")))
    for name in ("numpy", "json", "math", "csv", "argparse", "sitecustomize"):
        (folder / f"{name}.py").write_text(text)
    done = result("export", "run", "--format", "numpy", cwd=run.parent)
    assert done["check"]["differing"] == 0
    assert done["check"]["largest"] < 1e-6
    words = [sys.executable, "-P", "-m", "epochal", "export", run, "--format", "numpy"]  # from the folder itself
    assert subprocess.run(words, cwd=folder, capture_output=True, check=False).returncode == 0
    assert not mark.exists()
    spec = importlib.util.spec_from_file_location("predict", folder / "predict.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    assert mark.exists(), "the planted byte code must be what import takes, or this test tests nothing"


@pytest.mark.parametrize("format", FILES)
def test_an_export_is_repeated_and_replaces_its_own_files_alone(run, format):
    out = run.parent / ("out" if format != "safetensors" else "out.safetensors")
    place = out if format != "safetensors" else out.parent
    names = [name.replace("model.safe", "out.safe") for name in FILES[format]]
    for _ in range(2):
        result("export", run, "--format", format, "--out", out, cwd=run.parent)
        assert not list(place.glob(".*")), "nothing temporary is left"
        assert set(names) <= {each.name for each in place.iterdir()}
    for name in names[:-1]:
        kept = (place / name).read_bytes()
        (place / name).write_bytes(kept + b"\n# mine\n")
        refused(run, format, "--out", out, told=f"{name}: was changed after it was exported")
        assert (place / name).read_bytes() == kept + b"\n# mine\n"
        (place / name).unlink()
        (place / name).symlink_to(run.parent / "elsewhere")
        refused(run, format, "--out", out, told=f"is a symbolic link to {run.parent / 'elsewhere'}")
        assert not (run.parent / "elsewhere").exists()
        (place / name).unlink()
        result("export", run, "--format", format, "--out", out, cwd=run.parent)


@pytest.mark.parametrize("name", FILES["numpy"])
def test_a_file_that_no_export_wrote_is_kept(run, name):
    project = run.parent / "project"
    project.mkdir()
    (project / name).write_text("mine")
    refused(run, "numpy", "--out", "project", told="no export wrote it")
    assert [(each.name, each.read_text()) for each in project.iterdir()] == [(name, "mine")]


def test_an_export_that_was_killed_between_two_files_is_repeated(run, monkeypatch):
    from epochal.system import atomic

    fit = epochal.load_run(run)
    export(fit, "numpy", run / "out")
    fit.params["W"][:] += 1
    write, left = atomic.write, [2]

    def killed(path, content):
        if not left[0]:
            raise KeyboardInterrupt
        left[0] -= 1
        write(path, content)

    monkeypatch.setattr(atomic, "write", killed)
    with pytest.raises(KeyboardInterrupt):
        export(fit, "numpy", run / "out")
    monkeypatch.undo()
    export(fit, "numpy", run / "out")
    with np.load(run / "out/parameters.npz") as file:
        np.testing.assert_array_equal(file["W.transpose"], fit.params["W"].T)


def test_links_are_not_followed(run):
    outside = run.parent / "outside"
    outside.mkdir()
    (run / "export").symlink_to(outside)
    refused(run, "safetensors", told="is a symbolic link to")
    refused(run, "numpy", told="is a symbolic link to")
    refused(run, "numpy", "--out", run / "export", told="is a symbolic link to")
    assert list(outside.iterdir()) == []


@pytest.mark.skipif(os.name != "posix", reason="needs a pipe")
def test_what_is_no_file_is_no_place(run):
    os.mkfifo(run.parent / "pipe")
    refused(run, "safetensors", "--out", "pipe", told="is a device or a pipe")
    refused(run, "safetensors", "--out", "/dev/null", told="is a device or a pipe")
    refused(run, "safetensors", "--out", run, told="is a folder, this format writes a file")
    refused(run, "numpy", "--out", run / "run.json", told="is a file, this format writes a folder")


@pytest.mark.skipif(sys.platform != "linux", reason="needs /dev/full's kin")
def test_a_failure_to_write_is_one_line(run):
    refused(run, "numpy", "--out", run / "run.json/numpy", told="cannot be written")
    refused(run, "safetensors", "--out", "n" * 300, told="cannot be written: File name too long")
    refused(run, "numpy", "--out", "/proc/here", told="cannot be written")


@pytest.mark.parametrize("rows", ["0 to 1", "0 to 255 as floats", "beyond", "floats"])
def test_rows_of_another_kind_than_trained_on_are_refused(rows, tmp_path):
    """A model of bytes takes bytes, and divides them itself; one of floats takes floats."""
    x = np.random.default_rng(0).integers(0, 256, (90, 5), dtype=np.uint8)
    given = {
        "0 to 1": (x / 255).astype(np.float32),
        "0 to 255 as floats": x.astype(np.float32),
        "beyond": x.astype(np.int64) + 200,
        "floats": x,
    }[rows]
    told = {"beyond": "rows go from 20. to 45., the model takes uint8 from 0 to 255", "floats": "rows are uint8"}
    trained = x if rows != "floats" else (x / 255).astype(np.float32)
    data = epochal.load((trained, np.arange(90) % 3), epochal.Reading(divisor=255 if rows != "floats" else None))
    fit = epochal.fit(epochal.logistic(), data, epochal.Recipe(epochs=1))
    export(fit, "numpy", tmp_path / "numpy")
    np.save(tmp_path / "new.npy", given)
    done = script(tmp_path / "numpy", tmp_path / "new.npy")
    assert done.returncode == 1, done.stdout
    expected = told.get(
        rows, r"rows are float32, the model takes uint8 from 0 to 255, as it was trained on \(and divides"
    )
    assert re.search(expected, done.stderr), done.stderr
    np.save(tmp_path / "new.npy", trained if rows == "floats" else trained.astype(np.int64))
    assert script(tmp_path / "numpy", tmp_path / "new.npy").returncode == 0


def script(folder: Path, *words: object):
    return subprocess.run(
        [sys.executable, folder / "predict.py", *map(str, words)], capture_output=True, text=True, check=False
    )


def test_each_form_says_and_keeps_to_the_rows_it_takes(run):
    extra("onnx", "onnxruntime")
    import jax
    import onnxruntime
    import safetensors

    rows = {"shape": [None, 8, 8], "dtype": "uint8", "range": [0, 255], "divided_inside_by": 16.0}
    for format in ("onnx", "numpy", "stablehlo", "safetensors"):
        result("export", run, "--format", format, cwd=run.parent)
    out, floats = run / "export", np.zeros((3, 8, 8), np.float32)
    session = onnxruntime.InferenceSession(out / "model.onnx")
    assert json.loads(session.get_modelmeta().custom_metadata_map["rows"]) == rows
    with pytest.raises(Exception, match=r"expected: \(tensor\(uint8\)\)"):
        session.run(None, {"x": floats})
    assert json.loads((out / "numpy/model.json").read_text())["rows"] == rows
    assert json.loads((out / "stablehlo/about.json").read_text())["rows"] == rows | {"block": None}
    exported = jax.export.deserialize(bytearray((out / "stablehlo/model.jax_export").read_bytes()))
    with pytest.raises(Exception, match="uint8"):
        exported.call(floats)
    with safetensors.safe_open(out / "model.safetensors", "numpy") as file:
        assert json.loads(file.metadata()["rows"]) == rows


def test_data_of_another_kind_are_not_taken_for_the_check(run):
    x = np.random.default_rng(0).random((90, 8, 8), np.float32)
    with pytest.raises(epochal.RecipeError, match="the rows of data are float32, the run was trained on uint8"):
        export(run, "numpy", data=epochal.load((x, np.arange(90) % 10)))


def test_the_script_says_which_columns_it_ignores(tmp_path):
    lines = [f"{i % 7},{i % 5},{'abc'[i % 3]}" for i in range(90)]
    (tmp_path / "t.csv").write_text("\n".join(["width,height,kind", *lines]))
    result("train", "t.csv", "--label", "kind", "--epochs", 1, "--out", "run", cwd=tmp_path)
    result("export", "run", "--format", "numpy", cwd=tmp_path)
    (tmp_path / "new.csv").write_text(
        "\n".join(["note,width,height,kind,id", *(f"x,{line},{line[0]}" for line in lines)])
    )
    done = script(tmp_path / "run/export/numpy", tmp_path / "new.csv")
    assert done.returncode == 0, done.stderr
    assert done.stderr == "note: ignored columns: note, id\n"
    assert script(tmp_path / "run/export/numpy", tmp_path / "t.csv").stderr == ""
    code = "import numpy as np, predict; t = {n: np.ones(3) for n in ('width', 'height', 'more')}\n"
    done = _python(tmp_path / "run/export/numpy", code + "for _ in range(2): predict.predict_proba(t)")
    assert done.stderr == "note: ignored columns: more\n"


def _python(folder: Path, code: str):
    return subprocess.run([sys.executable, "-c", code], cwd=folder, capture_output=True, text=True, check=False)
