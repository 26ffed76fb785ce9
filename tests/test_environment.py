"""What epochal says of the machine, and how it behaves in a shell, on a terminal, and on other systems."""

import os
import re
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path

import numpy as np
import pytest

from commands import epochal as command
from commands import result
from epochal.cli.doctor import diagnose, graphics_cards
from epochal.data import rows
from epochal.data.rows import FileRows
from epochal.data.sources.arrays.npy import read_npy
from epochal.data.sources.files import read_bytes
from epochal.runs.versions import versions
from epochal.system.extras import EXTRAS

COLOUR = re.compile(r"\x1b\[[0-9;]*3[0-8]")
CPU = [{"platform": "cpu", "kind": "cpu", "free_bytes": None}]


def test_the_doctor_tells_what_is_there(tmp_path):
    told = result("doctor", cwd=tmp_path, XDG_CACHE_HOME=str(tmp_path))
    assert {name: told["versions"][name] for name in ("jax", "numpy", "epochal")} == {
        name: versions()[name] for name in ("jax", "numpy", "epochal")
    }
    assert told["memory_bytes"] > 1e6
    assert list(told["extras"]) == list(EXTRAS)
    assert told["devices"], "JAX has at least the CPU"
    assert told["caches"]["data sets"]["bytes"] is None
    (tmp_path / "epochal").mkdir()
    (tmp_path / "epochal" / "data").write_bytes(b"x" * 1234)
    done = command("doctor", cwd=tmp_path, XDG_CACHE_HOME=str(tmp_path))
    assert done.returncode == 0, done.stderr
    if sys.platform == "linux":
        assert f"data sets: {tmp_path / 'epochal'} (1.2 kB)" in done.stdout


def test_a_platform_of_jax_that_is_not_there_is_told(tmp_path):
    told = result("doctor", cwd=tmp_path, JAX_PLATFORMS="tpu")
    assert told["devices"] == []
    assert any("JAX does not start" in line for line in told["advice"])


@pytest.mark.parametrize(
    ("devices", "lacking", "platforms", "told"),
    [
        (CPU, ["jax_cuda13_plugin"], "", "pip install 'jax[cuda13]'"),
        (CPU, ["jax_cuda13_plugin"], "cpu", "JAX_PLATFORMS=cpu hides it"),
        (CPU, [], "", "is the driver new enough"),
        ([{"platform": "gpu", "kind": "H200", "free_bytes": 1}], [], "", None),
    ],
)
def test_a_gpu_that_jax_does_not_see_is_told_with_the_remedy(devices, lacking, platforms, told, monkeypatch):
    monkeypatch.setenv("JAX_PLATFORMS", platforms)
    advice = diagnose(["NVIDIA H200"], devices, lacking)
    assert diagnose([], devices, lacking) == []
    if told is None:
        assert advice == []
    else:
        assert told in advice[0]
        assert advice[0].startswith("this machine has NVIDIA H200, but JAX runs on the CPU")


@pytest.mark.skipif(os.name != "posix", reason="a script stands for the driver's program")
def test_the_cards_are_those_that_the_driver_tells(tmp_path, monkeypatch):
    monkeypatch.setenv("PATH", str(tmp_path))
    assert graphics_cards() == []
    program = tmp_path / "nvidia-smi"
    program.write_text("#!/bin/sh\necho NVIDIA A\necho NVIDIA B\n")
    program.chmod(0o755)
    assert graphics_cards() == ["NVIDIA A", "NVIDIA B"]
    program.write_text("#!/bin/sh\nexit 9\n")
    assert graphics_cards() == []


def test_the_extras_are_those_of_the_package():
    with (Path(__file__).parents[1] / "pyproject.toml").open("rb") as file:
        assert list(tomllib.load(file)["project"]["optional-dependencies"]) == list(EXTRAS)
    listed = (Path(__file__).parents[1] / "docs" / "dependencies.md").read_text(encoding="utf-8")
    assert [name for name in EXTRAS if f"| {name} |" not in listed] == []


@pytest.mark.skipif(shutil.which("bash") is None, reason="needs bash")
def test_bash_completes_commands_options_and_values(tmp_path):
    done = command("--install-completion", "--shell", "bash", cwd=tmp_path, HOME=str(tmp_path))
    assert done.returncode == 0, done.stderr
    script = tmp_path / ".local/share/bash-completion/completions/epochal"

    def completed(*words: str) -> set[str]:
        line = f"COMP_WORDS=({' '.join(words)}); COMP_CWORD={len(words) - 1}; _epochal; echo ${{COMPREPLY[@]}}"
        told = subprocess.run(
            ["bash", "--norc", "-c", f"source {script}; {line}"], capture_output=True, text=True, check=True
        )
        return set(told.stdout.split())

    assert completed("epochal", "re") == {"resume", "reproduce"}
    assert completed("epochal", "train", "--learning") == {"--learning-rate"}
    assert completed("epochal", "train", "--log", "t") == {"tensorboard", "trackio"}
    assert "onnx" in completed("epochal", "export", "RUN", "--format", "o")


@pytest.mark.skipif(os.name != "posix", reason="needs a pseudo-terminal")
@pytest.mark.parametrize("words", [("--help",), ("train", "--help"), ("train", "--epochs", "3")])
def test_no_colour_where_none_is_wanted(words, tmp_path):
    assert COLOUR.search(on_a_terminal(words, tmp_path / "a")), "colours where nobody objects"
    assert not COLOUR.search(on_a_terminal(words, tmp_path / "b", NO_COLOR="1"))


def on_a_terminal(words, folder: Path, **environment: str) -> str:
    import pty

    folder.mkdir()
    theirs, ours = pty.openpty()
    keep = {name: value for name, value in os.environ.items() if name not in ("NO_COLOR", "FORCE_COLOR")}
    told = keep | {"TERM": "xterm-256color", "COLUMNS": "100"} | environment
    child = subprocess.Popen(
        [sys.executable, "-m", "epochal", *words], stdin=ours, stdout=ours, stderr=ours, cwd=folder, env=told
    )
    os.close(ours)
    output = b""
    try:
        while chunk := os.read(theirs, 4096):
            output += chunk
    except OSError:  # how Linux says that the other end is closed
        pass
    os.close(theirs)
    assert child.wait(120) == 0, output.decode()
    return output.decode()


def test_rows_of_a_file_are_read_where_there_is_no_preadv(tmp_path, monkeypatch):
    x = np.random.default_rng(0).integers(0, 256, (300, 7), dtype=np.uint8)
    np.save(tmp_path / "x.npy", x)
    monkeypatch.delattr(os, "preadv")
    data = read_npy(read_bytes(tmp_path / "x.npy", 100, mappable=True), str(tmp_path / "x.npy"))
    found = rows.as_rows(data)
    assert isinstance(found, FileRows)
    chosen = np.array([5, 4, 299, 0, 0, 17])
    np.testing.assert_array_equal(found.gather(chosen), x[chosen])


@pytest.mark.skipif(sys.platform == "win32", reason="stands for Windows, where the module is missing")
def test_nothing_needs_modules_that_only_posix_has(tmp_path):
    code = (
        "import sys; sys.modules |= {name: None for name in ('fcntl', 'resource', 'pwd', 'grp', 'termios')}\n"
        "import epochal.cli.doctor, epochal.system.lock, epochal.system.isolated\n"
        "import epochal.runs.run, epochal.runs.loggers\n"
        "epochal.system.isolated._limit(1 << 30, 1)\n"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


ALONE = """
import importlib.metadata as metadata
import sys
import tomllib

from packaging.requirements import Requirement

import epochal.cli

with open(PYPROJECT, "rb") as file:
    declared = tomllib.load(file)["project"]["dependencies"]
needed, todo = set(), ["epochal"]
while todo:
    name = todo.pop().lower().replace("_", "-")
    if name not in needed:
        needed.add(name)
        asked = map(Requirement, (declared if name == "epochal" else metadata.requires(name)) or ())
        todo += [of.name for of in asked if of.marker is None or of.marker.evaluate({"extra": ""})]
of = {module: {name.lower().replace("_", "-") for name in names}
      for module, names in metadata.packages_distributions().items()}


class Hidden:
    def find_spec(self, name, path=None, target=None):
        if of.get(name.split(".")[0], needed) & needed or name.startswith("epochal"):
            return None
        raise ModuleNotFoundError(f"No module named {name!r}", name=name)


sys.meta_path.insert(0, Hidden())
assert "filelock" not in sys.modules, "what is hidden must not be there yet"
sys.exit(epochal.cli.main(sys.argv[1:]))
""".replace("PYPROJECT", repr(str(Path(__file__).parents[1] / "pyproject.toml")))


def alone(place: Path, *words: str) -> None:
    """A command where nothing can be imported but what is declared; it must have nothing to complain of."""
    done = subprocess.run(
        [sys.executable, "-c", ALONE, *(words or ("train", "--epochs", "2", "--model", "logistic"))],
        cwd=place,
        env=os.environ | {"JAX_COMPILATION_CACHE_DIR": str(place / "programs")},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert "Warning" not in done.stderr


def test_what_is_installed_without_an_extra_is_enough_and_half_a_program_is_swept(tmp_path):
    alone(tmp_path)
    programs = sorted((tmp_path / "programs").glob("*-cache"))
    assert programs
    torn = programs[0]  # as a kill leaves it
    torn.write_bytes(torn.read_bytes()[:100])
    torn.with_name(torn.name.removesuffix("-cache") + "-atime").unlink()
    alone(tmp_path)
    assert torn.stat().st_size > 100, "it is compiled, and kept, again"


def test_exports_need_nothing_but_what_is_declared(tmp_path):
    alone(tmp_path, "train", "--epochs", "1", "--out", "run")
    for format in ("numpy", "stablehlo", "safetensors"):
        alone(tmp_path, "export", "run", "--format", format)
    assert (tmp_path / "run/export/numpy/predict.py").is_file()
    assert (tmp_path / "run/export/stablehlo/model.jax_export").is_file()
