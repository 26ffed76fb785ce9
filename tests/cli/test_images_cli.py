"""Folders of images on the command line: from PNG files to a trained, scored, predicting run."""

import csv
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from sklearn.datasets import load_digits

from commands import epochal, result
from epochal.data.sources.arrays.idx import read_idx
from needs import require


def export(folder: Path, x: np.ndarray, y: np.ndarray, names: list[str], upscale: int = 1) -> None:
    for name in set(names):
        (folder / name).mkdir(parents=True, exist_ok=True)
    for row, (image, code) in enumerate(zip(x, y, strict=True)):
        picture = Image.fromarray(image)
        picture.resize((picture.width * upscale, picture.height * upscale), Image.Resampling.BICUBIC).save(
            folder / names[code] / f"{row:05}.png"
        )


@pytest.fixture(scope="module")
def place(tmp_path_factory) -> Path:
    """`pictures`: scikit-learn's digits as PNG, twice as large; `new`: 20 more of the digit 7, without labels."""
    place = tmp_path_factory.mktemp("images")
    bunch = load_digits()
    x, y = (bunch.images * 15.9375).astype(np.uint8), bunch.target
    new = np.flatnonzero(y == 7)[:20]
    kept = np.setdiff1d(np.arange(len(y)), new)
    export(place / "pictures", x[kept], y[kept], [str(i) for i in range(10)], upscale=2)
    export(place / "new", x[new], np.zeros(20, int), ["."], upscale=2)
    return place


@pytest.fixture(scope="module")
def trained(place) -> dict:
    return result("train", "pictures", "--epochs", 8, "--out", "run", cwd=place)


def test_pictures_are_learned(place, trained):
    assert trained["test"]["of"] == 296
    assert trained["test"]["percent"] < 10


def test_pictures_are_scored(place, trained):
    again = result("evaluate", "run", cwd=place)
    assert again["test"]["wrong"] == trained["test"]["wrong"]


def test_pictures_without_labels_are_predicted(place, trained):
    done = epochal("predict", "run", "new", cwd=place)
    assert done.returncode == 0, done.stderr
    rows = list(csv.DictReader(done.stdout.splitlines()))
    assert len(rows) == 20
    assert sum(row["class"] == "7" for row in rows) >= 18


def test_a_class_folder_alone_is_scored_by_its_name(place, trained):
    for name in ("7", "8"):
        (place / "some" / name).mkdir(parents=True, exist_ok=True)
        for path in sorted((place / "pictures" / name).iterdir())[:30]:
            (place / "some" / name / path.name).write_bytes(path.read_bytes())
    told = result("evaluate", "run", "some", cwd=place)
    score = told["all"]
    assert score["of"] == 60
    assert score["wrong"] <= 6


def test_pictures_are_inspected_and_drawn(place):
    told = result("inspect", "pictures", cwd=place)
    assert told["example_shape"] == [16, 16]
    assert told["dtype"] == "uint8"
    assert told["divisor"] == 255
    done = epochal("inspect", "pictures", "--image-size", "8x8", "--color", "rgb", "--examples", 1, cwd=place)
    assert done.returncode == 0, done.stderr
    assert "8×8×3" in done.stdout
    assert "@@" in done.stdout
    assert "were resized" in done.stdout


def test_pictures_that_cannot_be_read_are_named(place):
    (place / "bad" / "a").mkdir(parents=True)
    (place / "bad" / "a" / "1.png").write_bytes(b"\x89PNG")
    done = epochal("train", "bad", cwd=place)
    assert done.returncode == 2
    assert "1.png: cannot be decoded" in done.stderr
    assert "Traceback" not in done.stderr


def test_fashion_mnist_as_pictures(tmp_path):
    folder = require("fashion-mnist")
    source = next(path for path in sorted(folder.glob("train-images-idx3-ubyte*")))
    x = read_idx(source, 1 << 30)[:2000]
    y = read_idx(source.with_name(source.name.replace("images-idx3", "labels-idx1")), 1 << 20)[:2000]
    export(tmp_path / "clothes", x, y, [f"class {i}" for i in range(10)])
    told = result("train", "clothes", "--epochs", 10, "--out", "run", cwd=tmp_path)
    assert told["test"]["of"] == 333
    assert told["test"]["percent"] < 30
