"""What does not keep to its contract is named before the first step: place, both values, remedy, line of the file."""

import hashlib
import json
from dataclasses import replace

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

import epochal
from commands import epochal as command
from epochal.device import compiled
from epochal.runs.run import resume
from epochal.system import user_file
from epochal.training import augmentations

BASE = epochal.logistic()
RECIPE = epochal.Recipe(batch_size=20, epochs=1)


@pytest.fixture
def no_step(monkeypatch):
    """Whatever is compiled comes too late."""

    def too_late(*_):
        raise AssertionError("a stretch was compiled")

    monkeypatch.setattr(compiled.run_steps, "lower", too_late, raising=False)


def model(**functions) -> epochal.Model:
    return replace(BASE, name="mine", **functions)


def summed(logits, y):
    return jnp.sum(logits)


def broken(params, x):
    return x @ jnp.zeros((7, 3))


WRONG_MODELS = {
    "integers": (model(init=lambda key, shape, classes: {"W": jnp.zeros((3, 6)), "n": jnp.arange(3)}),
                 "model mine: init: n is int32, expected floating-point numbers; keep what is not trained out"),
    "nothing": (model(init=lambda key, shape, classes: {}), "model mine: init: returns no parameters; return a pytree"),
    "shape": (model(logits=lambda params, x: BASE.logits(params, x)[:, :1]),
              r"model mine: logits: for x of shape \[20, 6\] it returns float32\[20, 1\], expected float32\[20, 3\]; "
              "it wants rows × classes"),
    "one example": (model(logits=lambda params, x: BASE.logits(params, x)[0]), r"returns float32\[3\], expected"),
    "dtype": (model(logits=lambda params, x: BASE.logits(params, x).astype(jnp.bfloat16)),
              r"returns bfloat16\[20, 3\], expected float32\[20, 3\]"),
    "no array": (model(logits=lambda params, x: None), r"returns NoneType, expected an array float32\[20, 3\]"),
    "fails": (model(logits=broken), r"model mine: logits: fails for float32\[20, 6\]: TypeError: .*"
              r"\(.*test_contracts\.py, line \d+\); mend it"),
    "forward's form": (model(forward=lambda params, x, key: BASE.logits(params, x)),
                       r"model mine: forward: must return \(logits, model_state\), got .*Tracer|ShapeDtypeStruct"),
    "forward's logits": (model(forward=lambda params, x, key: (x, ())), r"forward: its logits are float32\[20, 6\]"),
    "a model state comes": (model(forward=lambda params, x, key: (BASE.logits(params, x), {"mean": x.mean(0)})),
                        r"returns the model state \(mean float32\[6\]\), but init returned \(\); return it in the"),
    "a model state stays": (model(init=lambda *a: epochal.models.Variables(BASE.init(*a), {"mean": jnp.zeros(6)}),
                              logits=lambda variables, x: BASE.logits(variables.params, x)),
                        "init returns a model state, but there is no forward that changes it; give one"),
}  # fmt: skip


@pytest.mark.parametrize("name", WRONG_MODELS)
def test_a_model_that_does_not_fit_is_named(small, no_step, name):
    given, words = WRONG_MODELS[name]
    with pytest.raises(epochal.RecipeError, match=words) as caught:
        epochal.train(given, small, RECIPE)
    assert str(caught.value).count("\n") < 3


def _grown(updates, state, params=None):
    return updates, (state, state)


WRONG_FUNCTIONS = {
    "scalar loss": ({"loss": summed}, r"loss: it returns float32\[\], expected float32\[20\]; it wants one loss a row"),
    "integer loss": ({"loss": lambda logits, y: y}, r"loss: it returns int32\[20\], expected float32\[20\]"),
    "failing loss": ({"loss": lambda logits, y: logits[:, 99 // 0]},
                     r"loss: fails for float32\[20, 3\] and int32\[20\]: ZeroDivisionError: .* line \d+\); mend it"),
    "cropping": ({"augment": lambda key, x: x[1:]}, r"augment: it returns float32\[5\], expected float32\[6\]"),
    "rounding": ({"augment": lambda key, x: x.astype(jnp.int32)}, r"augment: it returns int32\[6\], expected float32"),
    "no image": ({"augment": "shift"}, r"shift moves the pixels of images .*, got examples of shape \[6\]; leave"),
    "optimizer": ({"optimizer": optax.GradientTransformation(lambda params: jnp.zeros(3), _grown)},
                  r"optimizer: update returns state \(0 float32\[3\], 1 float32\[3\]\), expected \(float32\[3\]\)"),
    "mask": ({"optimizer": optax.masked(optax.sgd(0.1), {"W": True})}, r"optimizer: init: fails"),
}  # fmt: skip


@pytest.mark.parametrize("name", WRONG_FUNCTIONS)
def test_a_function_that_does_not_fit_is_named(small, no_step, name):
    options, words = WRONG_FUNCTIONS[name]
    with pytest.raises(epochal.RecipeError, match=words):
        epochal.train(BASE, small, replace(RECIPE, learning_rate=None, **options))


MINE = """
import jax.numpy as jnp
import optax
import epochal

half = epochal.Model(epochal.logistic().init, epochal.logistic().logits)

def made(classes):
    return epochal.Model(half.init, half.logits, f"of{classes}")

def adam():
    return optax.adam(0.01)

sgd = optax.sgd(0.1)

def loss(logits, y):
    return optax.softmax_cross_entropy_with_integer_labels(logits, y)

def no_optimizer():
    return 3

def fails():
    raise OSError("no such disk")

def bad(logits, y):
    return logits @ jnp.zeros(7)

number = 3
"""


@pytest.fixture
def mine(tmp_path):
    (tmp_path / "mine.py").write_text(MINE)
    return tmp_path / "mine.py"


def test_an_optimizer_by_reference_is_the_one_by_value(small, mine, optax_promotes):
    for name, value in (("adam", optax.adam(0.01)), ("sgd", optax.sgd(0.1))):
        given = epochal.fit(BASE, small, epochal.Recipe(optimizer=f"{mine}:{name}", epochs=2))
        assert (
            given.parameters_sha256
            == epochal.fit(BASE, small, epochal.Recipe(optimizer=value, epochs=2)).parameters_sha256
        )
    first, again = (epochal.train(BASE, small, epochal.Recipe(optimizer=f"{mine}:adam")) for _ in range(2))
    assert first.loop.program.step == again.loop.program.step, "another program would be compiled"


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (
            {"optimizer": "no_optimizer"},
            r"mine\.py:no_optimizer must be an optax transformation, .* got int; write for",
        ),
        ({"optimizer": "fails"}, r"optimizer: .*:fails fails: OSError: no such disk \(.*mine\.py, line 23\); mend"),
        ({"loss": "number"}, r"loss: .*:number must be a function, got 3; name another"),
        ({"loss": "lost"}, r"mine\.py: defines no lost; name one that it has: half|made"),
        ({"loss": "bad"}, r"loss: fails for .*TypeError.*\(.*mine\.py, line 26\); mend it"),
    ],
)
def test_a_reference_to_something_else_is_named(small, mine, no_step, options, words):
    with pytest.raises(epochal.RecipeError, match=words):
        epochal.train(BASE, small, epochal.Recipe(**{key: f"{mine}:{name}" for key, name in options.items()}))


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("def f(:\n", r"cannot be executed: SyntaxError: .*\(.*own\.py, line 1\); mend the file"),
        ("x = 1\ny = x / 0\n", r"cannot be executed: ZeroDivisionError: division by zero \(.*own\.py, line 2\)"),
        ("import nowhere_to_be_found\n", r"ModuleNotFoundError: .* line 1\); install nowhere_to_be_found, or bring it"),
        ("import sys\nsys.exit(3)\n", r"cannot be executed: SystemExit: 3 \(.*own\.py, line 2\)"),
        ("import json\njson.loads('{')\n", r"JSONDecodeError: .* \(.*own\.py, line 2\)"),
        (None, r"own\.py: there is no such file; bring it back, or name another FILE\.py:NAME"),
    ],
)
def test_a_file_that_cannot_be_executed_is_named_with_its_line(tmp_path, text, words):
    if text is not None:
        (tmp_path / "own.py").write_text(text)
    with pytest.raises(epochal.RecipeError, match=words):
        user_file.fetch(f"{tmp_path}/own.py:f")


def test_a_file_is_executed_anew_when_it_has_changed_and_finds_its_neighbours(tmp_path):
    (tmp_path / "neighbour_of_own.py").write_text("VALUE = 1\n")
    (tmp_path / "own.py").write_text("from neighbour_of_own import VALUE\nfound = [VALUE]\n")
    first = user_file.fetch(f"{tmp_path}/own.py:found")
    assert first.value == [1]
    assert user_file.fetch(f"{tmp_path}/own.py:found").value is first.value
    (tmp_path / "own.py").write_text("found = [22]\n")
    second = user_file.fetch(f"{tmp_path}/own.py:found")
    assert second.value == [22]
    assert first.files == {
        "neighbour_of_own.py": b"VALUE = 1\n",
        "own.py": b"from neighbour_of_own import VALUE\nfound = [VALUE]\n",
    }
    assert second.files == {"own.py": b"found = [22]\n"}


def test_a_file_edited_while_a_run_goes_on_changes_nothing_in_it(small, mine, tmp_path):
    recipe = epochal.Recipe(loss=f"{mine}:loss", epochs=2)
    whole = epochal.fit(f"{mine}:half", small, recipe, out=tmp_path / "whole")
    training = epochal.train(f"{mine}:half", small, recipe)
    next(training)
    mine.write_text("def f(:\n")
    for _ in training:
        pass
    assert training.fit().parameters_sha256 == whole.parameters_sha256
    assert training.loop.functions.sources["loss"].files == {"mine.py": MINE.encode()}


def test_a_run_finds_its_files_again_and_says_where_they_have_changed(small, mine, tmp_path, caplog):
    recipe = epochal.Recipe(loss=f"{mine}:loss", optimizer=f"{mine}:sgd", epochs=2)
    fit = epochal.fit(f"{mine}:made", small, recipe, out=tmp_path / "run")
    assert fit.model.name == "of3"
    told = json.loads((tmp_path / "run" / "run.json").read_text())
    assert told["model"] == {"name": "of3", "settings": {}, "built_in": False, "reference": f"{mine}:made"}
    sha256 = hashlib.sha256(mine.read_bytes()).hexdigest()
    assert told["code"]["folders"] == {tmp_path.name: {"path": str(tmp_path), "files": {"mine.py": sha256}}}
    assert (tmp_path / "run" / "code" / tmp_path.name / "mine.py").read_text() == MINE
    again = epochal.load_run(tmp_path / "run", small)
    np.testing.assert_array_equal(again.predict_proba(small.test.x), fit.predict_proba(small.test.x))
    resumed = resume(tmp_path / "run", small, strict=True)
    assert resumed.fit().parameters_sha256 == fit.parameters_sha256
    assert not caplog.text
    mine.write_text(MINE + "# a word\n")
    epochal.load_run(tmp_path / "run", small)
    assert f"{mine} has changed since: its SHA-256 was " in caplog.text
    with pytest.raises(epochal.RunError, match=r"has changed since: .*; bring it back as it was, or resume without"):
        resume(tmp_path / "run", small, strict=True)
    resumed = resume(tmp_path / "run", small)
    resumed.folder.close()
    assert len(resumed.notes) == 1
    assert "has changed since" in resumed.notes[0]
    mine.unlink()
    assert epochal.load_run(tmp_path / "run").parameters_sha256 == fit.parameters_sha256
    assert epochal.load_run(tmp_path / "run", model=BASE).parameters_sha256 == fit.parameters_sha256


def test_a_file_whose_model_has_another_form_is_blamed(small, mine, tmp_path):
    epochal.fit(f"{mine}:half", small, RECIPE, out=tmp_path / "run")
    mine.write_text(MINE.replace("epochal.logistic()", "epochal.mlp(4)"))
    resume(tmp_path / "run", small).folder.close()
    with pytest.raises(
        epochal.RunError, match=r"does not fit the model .*mine\.py:half: .*; resume it with the one it"
    ):
        resume(tmp_path / "run", small, model=f"{mine}:half")
    with pytest.raises(epochal.RunError, match="holds another model's parameters"):
        epochal.load_run(tmp_path / "run", model=f"{mine}:half")


COMMANDS = {
    "no file": (["--model", "nowhere.py:CNN"], "nowhere.py: there is no such file; bring it back, or name another"),
    "no name": (["--model", "mine.py:CNN"], "mine.py: defines no CNN; name one that it has:"),
    "no model": (["--model", "cnn"], "model: must be one of logistic, mlp, lenet, FILE.py:NAME, got 'cnn'"),
    "no optimizer": (["--optimizer", "mine.py:number"], "must be an optax transformation, or a function without"),
    "scalar": (["--loss", "mine.py:bad"], "loss: fails for float32[20, 10] and int32[20]: "),
    "augment": (["--augment", "spin"], "augment: must be shift, flip (or both joined by +), FILE.py:NAME, or from"),
    "class weight": (
        ["--class-weight", "even"],
        "class_weight: must be balanced, or weights by class name like ash=2,oak=0.5",
    ),
}


@pytest.mark.parametrize("name", COMMANDS)
def test_the_command_line_says_the_same_without_a_traceback(mine, tmp_path, name):
    words, message = COMMANDS[name]
    done = command("train", *words, "--quiet", cwd=tmp_path)
    assert done.returncode == 2, done.stderr
    assert message in done.stderr
    assert "Traceback" not in done.stderr
    assert len(done.stderr.splitlines()) <= 3


def test_a_shift_moves_by_up_to_two_pixels_and_fills_with_zeros():
    x = np.arange(1, 31, dtype=np.float32).reshape(5, 6)
    padded, seen = np.pad(x, 2), set()
    moves = {(i, j): padded[i : i + 5, j : j + 6] for i in range(5) for j in range(5)}
    for key in jax.random.split(jax.random.key(0), 400):
        moved = np.asarray(augmentations.shift(key, jnp.asarray(x)))
        seen |= {move for move, expected in moves.items() if (moved == expected).all()}
        assert any((moved == expected).all() for expected in moves.values())
    assert len(seen) == 25
    coloured = augmentations.shift(jax.random.key(1), jnp.stack([jnp.asarray(x)] * 3, axis=-1))
    np.testing.assert_array_equal(coloured[..., 0], coloured[..., 2])
    np.testing.assert_array_equal(coloured[..., 0], augmentations.shift(jax.random.key(1), jnp.asarray(x)))


def test_a_flip_exchanges_left_and_right_half_of_the_time():
    x = jnp.arange(24.0).reshape(2, 4, 3)
    keys = jax.random.split(jax.random.key(0), 200)
    flipped = [bool((augmentations.flip(key, x) == x[:, ::-1]).all()) for key in keys]
    assert 70 < sum(flipped) < 130
    assert all((augmentations.flip(key, x) == x).all() for key, f in zip(keys, flipped, strict=True) if not f)


def test_augmentations_are_composed_in_their_order_each_with_its_own_key():
    x, key = jnp.arange(1.0, 26).reshape(5, 5), jax.random.key(3)
    first, second = jax.random.split(key)
    expected = augmentations.flip(second, augmentations.shift(first, x))
    np.testing.assert_array_equal(augmentations.named("shift+flip")(key, x), expected)
    assert augmentations.named("shift+flip") is augmentations.named("shift+flip")
    assert set(augmentations.BUILT_IN) == set(epochal.training.recipe.AUGMENTATIONS)
