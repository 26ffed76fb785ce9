"""The documents: every code block runs, every link leads somewhere, the site builds without a warning."""

import gzip
import json
import os
import pickle
import pkgutil
import re
import shutil
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from sklearn.datasets import load_iris

import epochal
from campaigns import cases
from commands import process
from documented import blocks
from needs import extra

ROOT = Path(__file__).parents[1]
ROOMS = ("system", "data", "models", "device", "training", "runs", "selection", "reports", "export", "estimator", "cli")
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]
WITH_CODE = [page for page in PAGES if blocks(page.read_text(encoding="utf-8"))]
SHORT = [ROOT / "docs" / name for name in ("estimator.md", "predicting.md", "from-scikit-learn.md")]
NEEDED = {"logging.md": ("tensorboard", "mlflow", "sqlalchemy", "alembic"), "export.md": ("onnx", "onnxruntime")}
NEEDED["selection.md"] = ("optuna",)
NEEDED["models.md"] = ("flax", "equinox")
NEEDED["quickstart.md"] = NEEDED["README.md"] = NEEDED["export.md"]


@pytest.fixture(scope="module")
def place(tmp_path_factory) -> Path:
    """The files that the pages speak of, small."""
    folder = tmp_path_factory.mktemp("docs")
    iris = load_iris(as_frame=True)
    frame = iris.frame.assign(species=iris.target_names[iris.target]).drop(columns="target")
    frame.to_csv(folder / "flowers.csv", index=False)
    frame.rename(columns={"species": "y"}).to_csv(folder / "data.csv", index=False)
    (frame[:3].drop(columns="species") + 0.05).to_csv(folder / "new-flowers.csv", index=False)
    generator = np.random.default_rng(0)
    for name in ("cat", "dog"):
        (folder / "pictures" / name).mkdir(parents=True)
        for number in range(24):
            pixels = generator.integers(0, 256, (18, 20), dtype=np.uint8)
            Image.fromarray(pixels).save(folder / "pictures" / name / f"{number}.png")
    x, y = generator.random((180, 64), dtype=np.float32), np.arange(180) % 10
    splits = ((x[:100], y[:100]), (x[100:140], y[100:140]), (x[140:], y[140:]))
    (folder / "mnist.pkl.gz").write_bytes(gzip.compress(pickle.dumps(splits, protocol=2)))
    np.save(folder / "new.npy", x[:7])
    epochal.fit(epochal.logistic(), epochal.load("digits"), epochal.Recipe(epochs=1), out=folder / "RUN")
    return folder


@pytest.mark.parametrize("page", cases(WITH_CODE, *SHORT), ids=lambda page: page.name)
def test_every_code_block_runs(page, place, tmp_path):
    extra(*NEEDED.get(page.name, ()))
    folder = tmp_path / "here"
    shutil.copytree(place, folder)
    if "--out RUN" in page.read_text(encoding="utf-8"):
        shutil.rmtree(folder / "RUN")
    done = process(str(ROOT / "tests" / "oracles" / "documented.py"), page, cwd=folder)
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]


@pytest.mark.parametrize("page", [*PAGES, ROOT / "CONTRIBUTING.md"], ids=lambda page: page.name)
def test_local_links_lead_somewhere(page):
    text = re.sub(r"```.*?```", "", page.read_text(encoding="utf-8"), flags=re.DOTALL)
    for target in re.findall(r"\]\(([^)\s]+)\)", text):
        if "://" in target:
            continue
        path, _, anchor = target.partition("#")
        there = page.parent / path if path else page
        assert there.exists(), f"{page.name}: {target}"
        if anchor:
            titles = re.findall(r"^#+ (.+)$", there.read_text(encoding="utf-8"), re.MULTILINE)
            anchors = {re.sub(r"[^\w\- ]", "", title).strip().lower().replace(" ", "-") for title in titles}
            assert anchor in anchors, f"{page.name}: {target}"
    for name in re.findall(r"`((?:tests|docs|benchmarks|examples)/[\w./-]+)`", text):
        assert (ROOT / name).exists(), f"{page.name}: {name}"


@pytest.mark.thorough
def test_the_site_builds_without_a_warning_and_tells_every_public_name(tmp_path):
    if find_spec("sphinx") is None or find_spec("myst_parser") is None or find_spec("furo") is None:
        extra("sphinx", "myst_parser", "furo")
    words = [sys.executable, "-m", "sphinx", "-W", "--keep-going", "-q", "-b", "html", ROOT / "docs", tmp_path / "site"]
    told = os.environ | {"PYTHONPATH": str(Path(epochal.__file__).parents[1])}
    done = subprocess.run(list(map(str, words)), capture_output=True, text=True, check=False, env=told)
    assert done.returncode == 0, done.stderr
    page = (tmp_path / "site" / "api.html").read_text(encoding="utf-8")
    assert [name for name in epochal.__all__ if f'id="epochal.{name}"' not in page] == []
    less = tmp_path / "less"
    shutil.copytree(ROOT / "docs", less, ignore=shutil.ignore_patterns("_build"))
    reference = (less / "api.md").read_text(encoding="utf-8")
    (less / "api.md").write_text(reference.replace(".. autofunction:: epochal.load_run\n", ""), encoding="utf-8")
    words[-2] = less
    done = subprocess.run(list(map(str, words)), capture_output=True, text=True, check=False, env=told)
    assert done.returncode != 0
    assert "api.md leaves out ['load_run']" in done.stderr


@pytest.mark.parametrize("script", sorted((ROOT / "examples").glob("*.py")), ids=lambda path: path.name)
def test_every_example_runs(script, tmp_path):
    assert len(script.read_text(encoding="utf-8").splitlines()) <= 60
    done = process(str(script), cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert done.stdout


@pytest.mark.parametrize("notebook", sorted((ROOT / "examples").glob("*.ipynb")), ids=lambda path: path.name)
def test_every_notebook_runs(notebook):
    told = json.loads(notebook.read_text(encoding="utf-8"))
    names: dict = {}
    for cell in told["cells"]:
        if cell["cell_type"] == "code":
            assert not cell["outputs"], "notebooks are kept without outputs"
            exec(compile("".join(cell["source"]), notebook.name, "exec"), names)
    assert names["fit"].best.valid.of == 249


def test_what_the_architecture_and_the_design_name_is_there():
    page = (ROOT / "docs" / "architecture.md").read_text(encoding="utf-8")
    names = re.findall(r"`(epochal\.[\w.]+)`", page)
    assert len(names) > 15
    design = (ROOT / "docs" / "design.md").read_text(encoding="utf-8")
    names += [f"epochal.{name}" for name in re.findall(rf"`((?:{'|'.join(ROOMS)})\.[A-Za-z_][\w.]*)`", design)]
    for name in names:
        assert pkgutil.resolve_name(name) is not None, name
