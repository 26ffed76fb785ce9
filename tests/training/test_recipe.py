import ast
import inspect
from dataclasses import fields
from itertools import pairwise
from pathlib import Path
from typing import get_args

import numpy as np
import optax
import pytest

import epochal
from epochal import Recipe, RecipeError
from epochal.selection.packing import NUMBERS
from epochal.training.optimizers import SCHEDULES as MADE
from epochal.training.optimizers import Hyperparameters
from epochal.training.recipe import OPTIMIZERS, Dtype, OptimizerName, Schedule, Shuffle

_CHOICES = {
    "optimizer": get_args(OptimizerName),
    "schedule": get_args(Schedule),
    "shuffle": get_args(Shuffle),
    "dtype": get_args(Dtype),
}

BY_VALUE = {
    "loss": [(3, "FILE.py:NAME"), ("smooth", "FILE.py:NAME"), ("loss.py:", "FILE.py:NAME"), ("a.txt:f", "a function")],
    "augment": [(3, "FILE.py:NAME"), ("spin", "shift, flip"), ("shift+", "joined by +")],
    "class_weight": [("even", "balanced"), ({"a": -1}, "at least 0"), (2, "balanced")],
}


def _invalid_values() -> list[tuple[str, object, str]]:
    """Every field with values just outside its constraint, generated from the constraint."""
    cases: list[tuple[str, object, str]] = []
    for knob in fields(Recipe):
        limits = knob.metadata
        if knob.name in _CHOICES:
            cases.append((knob.name, "none such", "must be one of"))
            continue
        if knob.name in BY_VALUE:
            cases += [(knob.name, *case) for case in BY_VALUE[knob.name]]
            continue
        if isinstance(knob.default, bool):
            cases += [(knob.name, 1, "true or false"), (knob.name, "yes", "true or false")]
            continue
        cases += [(knob.name, "3", "number"), (knob.name, float("nan"), "number"), (knob.name, float("inf"), "number")]
        cases += [(knob.name, True, "number")]
        if isinstance(knob.default, int):
            cases.append((knob.name, 2.5, "whole number"))
        if "least" in limits:
            cases.append((knob.name, limits["least"] - 1, f"at least {limits['least']:,}"))
        if "above" in limits:
            cases.append((knob.name, limits["above"], f"above {limits['above']:,}"))
        if "most" in limits:
            cases.append((knob.name, limits["most"] + 1, f"at most {limits['most']:,}"))
        if "below" in limits:
            cases.append((knob.name, limits["below"], f"below {limits['below']:,}"))
    return cases


@pytest.mark.parametrize(("name", "value", "words"), _invalid_values())
def test_a_bad_value_is_refused_with_field_range_and_value(name, value, words):
    with pytest.raises(RecipeError, match=rf"^{name}: ") as caught:
        Recipe(**{name: value})
    assert words in str(caught.value)
    shown = next(iter(value.values())) if isinstance(value, dict) else value
    assert repr(shown) in str(caught.value) or repr(float(shown)) in str(caught.value)


def test_the_effective_recipe_makes_itself_again():
    recipe = Recipe(optimizer="adam", batch_size=7, l2=1e-3, drop_last=True)
    assert Recipe.from_dict(recipe.to_dict()) == recipe
    assert recipe.to_dict()["learning_rate"] == 0.001


def test_every_named_optimizer_has_a_rate_and_a_direction():
    for name in _CHOICES["optimizer"]:
        assert Recipe(optimizer=name).learning_rate == OPTIMIZERS[name].rate > 0
    assert set(MADE) == set(_CHOICES["schedule"])


def test_numbers_of_numpy_become_plain_ones():
    recipe = Recipe(batch_size=np.int64(7), learning_rate=np.float32(0.5), epochs=3.0)
    assert (type(recipe.batch_size), type(recipe.learning_rate), type(recipe.epochs)) == (int, float, int)


def test_an_unknown_name_is_refused():
    with pytest.raises(RecipeError, match="no hyper-parameter is called 'learning_rat'; there are learning_rate"):
        Recipe.from_dict({"learning_rat": 1})


def test_an_optax_transformation_brings_its_own_rate():
    assert Recipe(optimizer=optax.adam(1e-3)).learning_rate is None
    for given in (optax.adam(1e-3), "mine.py:adam"):
        with pytest.raises(RecipeError, match="brings its own"):
            Recipe(optimizer=given, learning_rate=0.1)


def test_references_become_absolute_so_that_a_run_is_found_from_anywhere(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    recipe = Recipe(optimizer="mine.py:adam", loss="~/losses.py:hinge", augment="shift+flip")
    assert recipe.optimizer == f"{tmp_path}/mine.py:adam"
    assert recipe.loss == f"{Path.home()}/losses.py:hinge"
    assert recipe.augment == "shift+flip"
    assert recipe.learning_rate is None
    assert recipe.by_value == ()
    assert Recipe.from_dict(recipe.to_dict()) == recipe


def test_every_field_is_documented_for_the_command_line():
    from epochal.training import recipe

    body = next(n for n in ast.parse(inspect.getsource(recipe)).body if getattr(n, "name", "") == "Recipe").body
    documented = {
        a.target.id
        for a, b in pairwise(body)
        if isinstance(a, ast.AnnAssign) and isinstance(b, ast.Expr) and isinstance(b.value, ast.Constant)
    }
    assert documented == {knob.name for knob in fields(Recipe)}


def test_an_optimizer_and_a_number_of_its_own_are_declared_in_one_file():
    source = Path(epochal.__file__).parent
    for word in ("adamw", "momentum", "weight_decay"):
        using = set()
        for path in source.rglob("*.py"):
            for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
                if word in (getattr(node, name, None) for name in ("id", "attr", "arg", "name", "value")):
                    using.add(path.relative_to(source).as_posix())
        assert using == {"training/recipe.py"}, word
    assert {"momentum", "weight_decay"} < set(Hyperparameters._fields) & set(NUMBERS)
    assert {"momentum", "weight_decay"} < set(inspect.signature(epochal.Classifier).parameters)


def test_a_number_that_the_compute_dtype_cannot_hold_is_refused():
    with pytest.raises(
        RecipeError, match=r"learning_rate: 1e\+300 is more than float32 holds, 3.4e\+38; take a smaller"
    ):
        Recipe(learning_rate=1e300)
    assert Recipe(learning_rate=1e300, dtype="float64").learning_rate == 1e300
    assert Recipe(patience_increase=1e300).patience_increase == 1e300  # the host's, in double precision
