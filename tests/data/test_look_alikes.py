"""What looks like something else: classes with one name to the eye, and columns that are the label once more."""

import random

import numpy as np
import pytest
from PIL import Image

import epochal

UNLIKE = {"café": "cafe\u0301", "cat": "cat "}


@pytest.mark.parametrize("one", UNLIKE)
def test_folders_that_look_alike_are_two_classes_and_said_to_be(tmp_path, one):
    generator = np.random.default_rng(0)
    for name in (one, UNLIKE[one]):
        (tmp_path / "set" / name).mkdir(parents=True)
        for i in range(8):
            pixels = generator.integers(0, 255, (5, 5), np.uint8)
            Image.fromarray(pixels).save(tmp_path / "set" / name / f"{i}.png")
    data = epochal.load(tmp_path / "set")
    assert len(data.classes) == 2
    [note] = [note for note in data.notes if "look alike" in note]
    assert f"{one!a} and {UNLIKE[one]!a}" in note or f"{UNLIKE[one]!a} and {one!a}" in note


@pytest.mark.parametrize("kind", ["text", "number", "code"])
def test_a_column_that_is_the_label_once_more_is_said(tmp_path, kind):
    generator = random.Random(0)
    forms = {"text": {"p": "p", "q": "q"}, "number": {"p": "0", "q": "1"}, "code": {"p": "red", "q": "blue"}}[kind]
    rows = [(generator.choice("pq"), generator.random(), generator.choice("uv")) for _ in range(300)]
    path = tmp_path / "t.csv"
    path.write_text("a,copy,c,y\n" + "".join(f"{a},{forms[y]},{c},{y}\n" for y, a, c in rows))
    [note] = [note for note in epochal.load(path, label="y").notes if "tells the label" in note]
    assert "'copy'" in note
    assert "'c'" not in note
    assert not [n for n in epochal.load(path, label="y", drop="copy").notes if "tells the label" in n]
