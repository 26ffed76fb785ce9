"""Options that nothing reads are refused: on the command line, in a recipe, by the estimator."""

import json
import pickle
from dataclasses import fields, replace

import optax
import pytest

import epochal
from commands import epochal as command
from commands import result
from epochal import Classifier, Recipe, RecipeError
from epochal.models.built_in import BUILT_IN, OPTIONS

PLAIN = optax.sgd(0.1)
GIVEN = [
    ({"momentum": 0.9}, "momentum: 0.9 is not read by the optimizer sgd; give optimizer='momentum' or "
     "optimizer='nesterov', or leave momentum=… out"),
    ({"optimizer": "adam", "momentum": 0.9}, "momentum: 0.9 is not read by the optimizer adam"),
    ({"optimizer": "adam", "weight_decay": 0.5}, "weight_decay: 0.5 is not read by the optimizer adam; give "
     "optimizer='adamw', or leave weight_decay=… out"),
    ({"decay": 5}, "decay: 5.0 is not read by the schedule constant; give schedule='inverse_time'"),
    ({"schedule": "cosine", "decay": 5}, "decay: 5.0 is not read by the schedule cosine"),
    ({"schedule": "inverse_time"}, "decay: schedule='inverse_time' needs it; give for instance decay=0.1"),
    ({"block_rows": 9}, "block_rows: 9 is not read by the shuffle full; give shuffle='blocks'"),
    ({"improvement_p": 0.05, "improvement_threshold": 0.9},
     "improvement_threshold: 0.9 is not read beside improvement_p=0.05; leave improvement_threshold=… out"),
    ({"optimizer": PLAIN, "schedule": "cosine"}, "schedule: cosine is not read by an optax transformation"),
    ({"optimizer": PLAIN, "learning_rate": 0.1}, "learning_rate: 0.1 is not read by an optax transformation, which"),
    ({"optimizer": PLAIN, "momentum": 0.1}, "momentum: 0.1 is not read by an optax transformation"),
    ({"optimizer": PLAIN, "weight_decay": 0.1}, "weight_decay: 0.1 is not read by an optax transformation"),
    ({"optimizer": PLAIN, "decay": 0.1}, "decay: 0.1 is not read by an optax transformation"),
    ({"optimizer": "mine.py:lion", "schedule": "inverse_time"}, "mine.py:lion, which brings its own"),
]  # fmt: skip


@pytest.mark.parametrize(("given", "words"), GIVEN)
def test_a_recipe_refuses_what_it_would_not_read(given, words):
    with pytest.raises(RecipeError) as caught:
        Recipe(**given)
    assert words in str(caught.value)


@pytest.mark.parametrize(
    ("given", "read"),
    [
        ({}, {"learning_rate": 0.1, "schedule": "constant", "improvement_threshold": 0.995}),
        (
            {"optimizer": "nesterov", "shuffle": "blocks", "improvement_p": 0.1},
            {"learning_rate": 0.01, "schedule": "constant", "momentum": 0.9, "block_rows": 1024},
        ),
        (
            {"optimizer": "adamw", "schedule": "inverse_time", "decay": 0, "improvement_p": 0.1},
            {"learning_rate": 0.001, "schedule": "inverse_time", "decay": 0.0, "weight_decay": 1e-4},
        ),
        ({"optimizer": PLAIN, "improvement_p": 0.1}, {}),
    ],
)
def test_a_recipe_holds_what_is_read_with_its_default_and_nothing_else(given, read):
    recipe = Recipe(**given)
    dependent = {knob.name for knob in fields(Recipe) if "read_by" in knob.metadata}
    assert {name: value for name, value in recipe.to_dict().items() if name in dependent} == read
    if not recipe.by_value:
        assert Recipe.from_dict(recipe.to_dict()) == recipe


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (("--momentum", 0.9), "momentum: 0.9 is not read by the optimizer sgd; give --optimizer momentum or "
         "--optimizer nesterov, or leave --momentum out"),
        (("--decay", 0.5), "decay: 0.5 is not read by the schedule constant; give --schedule inverse_time"),
        (("--schedule", "inverse_time"), "decay: --schedule inverse_time needs it; give for instance --decay 0.1"),
        (("--optimizer", "own.py:lion", "--momentum", 0.5), "own.py:lion, which brings its own; give --opt"),
        (("--model", "logistic", "--hidden", 7), "hidden: 7 is not read by the model logistic; give --model mlp or "
         "--model lenet, or leave --hidden out"),
        (("--kernels", "3x3"), "kernels: 3x3 is not read by the model mlp; give --model lenet, or leave --kernels out"),
        (("--model", "own.py:net", "--activation", "tanh"), "own.py:net; give --model mlp or --model lenet"),
    ],
)  # fmt: skip
@pytest.mark.parametrize("command_name", ["train", "select"])
def test_the_command_line_refuses_them_too(tmp_path, command_name, words, told):
    done = command(command_name, *words, cwd=tmp_path)
    assert done.returncode == 2, done.stderr
    assert told in done.stderr
    assert not (tmp_path / "runs").exists(), "refused before anything is done"


def test_a_runs_file_is_taken_back_and_an_option_that_contradicts_it_is_refused(tmp_path):
    words = ("--optimizer", "momentum", "--hidden", "8x4", "--epochs", 1, "--class-weight", "3=2,4=0.5")
    words = (*words, "--no-open-test")
    first = result("train", *words, "--out", "a", cwd=tmp_path)
    text = (tmp_path / "a" / "recipe.toml").read_text()
    assert "momentum = 0.9" in text
    assert "weight_decay" not in text
    assert "block_rows" not in text
    again = result("train", "--config", "a/recipe.toml", "--no-open-test", "--out", "b", cwd=tmp_path)
    assert again["parameters_sha256"] == first["parameters_sha256"]
    done = command("train", "--config", "a/recipe.toml", "--optimizer", "adam", cwd=tmp_path)
    assert done.returncode == 2
    assert "momentum: 0.9 is not read by the optimizer adam" in done.stderr
    assert "a/recipe.toml" in done.stderr, "it says where the momentum comes from"


def test_the_estimator_refuses_them_and_its_defaults_go_with_every_optimizer_and_model():
    for given, words in (
        ({"momentum": 0.9}, "momentum: 0.9 is not read by the optimizer sgd"),
        ({"model": "logistic", "hidden": 500}, "hidden: 500 is not read by the model logistic; give model='mlp'"),
        ({"model": epochal.mlp(3), "hidden": 3}, "hidden: 3 is not read by a model that is given as an object"),
    ):
        with pytest.raises(RecipeError) as caught:
            Classifier(**given).fit([[0.0], [1.0]], [0, 1])
        assert words in str(caught.value)
    for optimizer in ("sgd", "momentum", "nesterov", "adam", "adamw", PLAIN):
        Classifier("logistic", optimizer=optimizer)._settings()
    assert Classifier()._settings().model is epochal.mlp(500, "relu")


def test_every_option_of_a_built_in_model_is_one_of_the_command_line():
    from epochal.cli.options import Architecture

    known = {knob.name for knob in fields(Architecture)} - {"model"}
    assert {name for of in BUILT_IN for name in OPTIONS[of]} == known


def test_a_recipe_that_is_replaced_hands_no_default_on():
    base = Recipe()
    assert replace(base, optimizer="adam").learning_rate == 0.001
    assert replace(base, optimizer=optax.adam(1e-3)).learning_rate is None
    assert replace(base, improvement_p=0.05).improvement_threshold is None
    assert Recipe.from_dict(base.to_dict() | {"optimizer": "adam"}) == Recipe(optimizer="adam")
    with pytest.raises(RecipeError, match="learning_rate"):
        replace(Recipe(learning_rate=0.1), optimizer=optax.adam(1e-3))
    assert (base.learning_rate, repr(base.learning_rate), json.dumps(base.learning_rate)) == (0.1, "0.1", "0.1")
    assert pickle.loads(pickle.dumps(base)) == base
