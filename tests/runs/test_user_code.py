"""A user's own files: all of them count, are kept with a run, see each other alone, need trust if others wrote them."""

import json
import os
import pickle
import py_compile
import shutil
import subprocess
import sys
from importlib.util import cache_from_source
from pathlib import Path

import numpy as np
import pytest

import epochal
from campaigns import cases
from commands import epochal as command
from commands import result
from epochal.runs.options import CheckpointOptions
from epochal.runs.run import resume
from epochal.runs.writer import RunWriter
from epochal.system import trust, user_file, user_package
from needs import extra
from sealing import rechain, reseal, sealed_text

NET = """
import layers
from lib.blocks import scale
import epochal

BASE = epochal.logistic()

def logits(params, x):
    return layers.act(BASE.logits(params, x)) * scale()

net = epochal.Model(BASE.init, logits)
"""
LAYERS = "import jax.numpy as jnp\n\ndef act(x):\n    return jnp.{}(x)\n"
BLOCKS = "from .sizes import SIZE\n\ndef scale():\n    return SIZE\n"
LOSS = """
import optax

def nll(logits, y):
    return optax.softmax_cross_entropy_with_integer_labels(logits, y)
"""
TRAIN = ("--epochs", 1, "--no-open-test", "--quiet")


def write(folder: Path, files: dict[str, str]) -> Path:
    for name, text in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(text)
    return folder


@pytest.fixture
def place(tmp_path):
    files = {"net.py": NET, "layers.py": LAYERS.format("tanh"), "lib/blocks.py": BLOCKS, "lib/sizes.py": "SIZE = 2\n"}
    return write(tmp_path / "exp", files)


def value(reference):
    return user_file.fetch(str(reference)).value


# Isolation


def test_two_folders_with_neighbours_of_one_name_do_not_see_each_other(tmp_path):
    for name, width in (("A", 4), ("B", 16)):
        later = "def later():\n    import layers\n    return layers.WIDTH\n"
        write(
            tmp_path / name, {"net.py": f"import layers\nwidth = layers.WIDTH\n{later}", "layers.py": f"WIDTH={width}"}
        )
    assert [value(tmp_path / f"{name}/net.py:width") for name in "AB"] == [4, 16]
    assert [value(tmp_path / f"{name}/net.py:later")() for name in "AB"] == [4, 16], "also inside functions"
    assert "layers" not in sys.modules
    assert str(tmp_path / "A") not in sys.path


def test_imports_mean_what_they_mean_in_a_script(tmp_path):
    folder = write(
        tmp_path,
        {
            "main.py": (
                "module = __name__\nimport lib.inner.deep, lib.inner.deep as d, json, os\n"
                "from lib import inner, other as o\nfrom lib.star import *\nfrom statistics import mine\n"
                "import wandb_like, space.part\nimport cycle\nfrom dataclasses import dataclass\n"
                "@dataclass\nclass Held:\n    x: 'int' = 3\n"
                "found = (lib.inner.deep.X, d.X, inner.Y, o.Z, star, mine, space.part.P, cycle.back())\n"
                "class Kind: pass\nfile = __file__\n"
            ),
            "lib/__init__.py": "",
            "lib/inner/__init__.py": "from .. import other\nY = other.Z + 1\n",
            "lib/inner/deep.py": "X = 1\n",
            "lib/other.py": "Z = 5\n",
            "lib/star.py": "__all__ = ['star']\nstar = 'star'\nhidden = 1\n",
            "statistics.py": "mine = 'local'\n",
            "os.py": "raise SystemExit('a script cannot replace it either')\n",
            "space/part.py": "P = 'namespace'\n",
            "json/readme.txt": "a folder without __init__.py does not hide a module that there is\n",
            "wandb_like/__init__.py": "",
            "cycle.py": "import main\ndef back():\n    return main.module\n",
        },
    )
    main = user_file.fetch(f"{folder}/main.py:found")
    module = main.root.module
    assert main.value == (1, 1, 6, 5, "star", "local", "namespace", module.module)
    assert module.json is json
    assert module.os is os
    assert module.file == str(folder / "main.py")
    assert pickle.loads(pickle.dumps(module.Kind())).__class__ is module.Kind
    assert sorted(main.files) == [
        "cycle.py", "lib/__init__.py", "lib/inner/__init__.py", "lib/inner/deep.py", "lib/other.py", "lib/star.py",
        "main.py", "space/part.py", "statistics.py", "wandb_like/__init__.py",
    ]  # fmt: skip


def test_a_module_that_is_missing_is_named_as_the_user_wrote_it(tmp_path):
    write(tmp_path, {"net.py": "from lib import nothing.at_all\n".replace("nothing.at_all", "nothing"), "lib/a.py": ""})
    with pytest.raises(epochal.RecipeError, match=r"cannot import name 'nothing' from"):
        value(tmp_path / "net.py:x")
    write(tmp_path, {"net.py": "import lib.nothing\n"})
    with pytest.raises(
        epochal.RecipeError, match=r"No module named 'lib\.nothing' \(.*net\.py, line 1\); install lib\.n"
    ):
        value(tmp_path / "net.py:x")


def test_planted_byte_code_is_neither_executed_nor_written(tmp_path):
    write(tmp_path, {"net.py": "import layers\nx = layers.x\n", "layers.py": "x = 'text'\n"})
    cached = Path(cache_from_source(str(tmp_path / "layers.py")))
    cached.parent.mkdir()
    write(tmp_path / "other", {"layers.py": "x = 'planted'\n"})
    unchecked = py_compile.PycInvalidationMode.UNCHECKED_HASH
    py_compile.compile(str(tmp_path / "other/layers.py"), str(cached), invalidation_mode=unchecked)
    assert value(tmp_path / "net.py:x") == "text"
    assert [path.name for path in cached.parent.iterdir()] == [cached.name]


def test_only_what_belongs_to_a_file_counts_and_an_edited_neighbour_begins_anew(tmp_path):
    write(tmp_path, {"a.py": "import one\nx = one.x\n", "b.py": "y = object()\n", "one.py": "x = object()\n"})
    a, b = (user_file.fetch(f"{tmp_path}/{name}") for name in ("a.py:x", "b.py:y"))
    assert (sorted(a.files), sorted(b.files)) == (["a.py", "one.py"], ["b.py"])
    assert value(tmp_path / "a.py:x") is a.value
    write(tmp_path, {"one.py": "x = 'edited'\n"})
    assert value(tmp_path / "a.py:x") == "edited"
    assert a.files["one.py"] == b"x = object()\n", "what was executed, not what is there now"


def test_a_file_that_is_too_large_to_be_kept_is_refused(tmp_path):
    (tmp_path / "net.py").write_bytes(b"x = 1\n" + b"#" * user_package.MOST_BYTES)
    with pytest.raises(epochal.RecipeError, match=r"net\.py: cannot be read: net\.py has more than 4 MB; bring data"):
        value(tmp_path / "net.py:x")


# What a run keeps


def test_a_changed_neighbour_is_told_and_the_kept_text_is_scored(place, tmp_path):
    told = result("train", "digits", "--model", "exp/net.py:net", *TRAIN, "--out", "run", cwd=tmp_path)
    code = json.loads((tmp_path / "run/run.json").read_text())["code"]
    assert sorted(code["folders"]["exp"]["files"]) == ["layers.py", "lib/blocks.py", "lib/sizes.py", "net.py"]
    for name in code["folders"]["exp"]["files"]:
        assert (tmp_path / "run/code/exp" / name).read_bytes() == (place / name).read_bytes()
    same = command("evaluate", "run", "--split", "valid", cwd=tmp_path)
    assert same.stderr == ""
    write(place, {"layers.py": LAYERS.format("cos")})
    kept = command("evaluate", "run", "--split", "valid", cwd=tmp_path)
    assert kept.stdout == same.stdout
    assert f"{told['best_validation']['wrong']} / " in kept.stdout
    assert f"{place}/layers.py has changed since: its SHA-256 was" in kept.stderr
    assert "--model FILE.py:NAME takes the model of a file as it is now" in kept.stderr
    now = command("evaluate", "run", "--split", "valid", "--model", "exp/net.py:net", cwd=tmp_path)
    assert now.stdout != same.stdout
    assert f"note: in training {told['best_validation']['wrong']} / " in now.stderr


def test_a_run_whose_files_are_gone_is_opened_by_every_command(place, tmp_path):
    write(tmp_path / "more", {"loss.py": LOSS})
    words = ("--model", "exp/net.py:net", "--loss", "more/loss.py:nll", *TRAIN)
    first = result("train", "digits", *words, "--out", "run", cwd=tmp_path)
    assert sorted(path.name for path in (tmp_path / "run/code").iterdir()) == ["exp", "more"]
    shutil.rmtree(place)
    shutil.rmtree(tmp_path / "more")
    assert (
        result("evaluate", "run", "--split", "valid", cwd=tmp_path)["valid"]["wrong"]
        == first["best_validation"]["wrong"]
    )
    assert result("export", "run", "--format", "safetensors", cwd=tmp_path)["out"]
    assert result("predict", "run", "digits", "--out", "p.csv", cwd=tmp_path)["rows"] == 1797
    assert result("compare", "run", "run", cwd=tmp_path)["p"] == 1
    assert result("resume", "run", "--strict", cwd=tmp_path)["parameters_sha256"] == first["parameters_sha256"]


def test_a_run_of_a_built_in_model_keeps_no_code_and_makes_no_key(tmp_path):
    result(
        "train",
        "digits",
        "--model",
        "logistic",
        *TRAIN,
        "--out",
        "run",
        cwd=tmp_path,
        XDG_DATA_HOME=str(tmp_path / "home"),
    )
    assert json.loads((tmp_path / "run/run.json").read_text())["code"] is None
    assert not (tmp_path / "run/code").exists()
    assert not list((tmp_path / "home").rglob("*.key"))


def stopped(model, data, recipe, path: Path, step: int) -> None:
    run = epochal.train(model, data, recipe)
    with RunWriter.create(path, run, CheckpointOptions(checkpoint_seconds=0)) as folder:
        progress = folder.progress()
        while run.step < step:
            next(progress)
        progress.close()


def test_a_run_resumed_from_kept_text_has_the_bits_of_one_that_was_not(small, place, tmp_path, monkeypatch):
    monkeypatch.setattr("epochal.training.loop.STRETCH_SECONDS", 0)
    write(tmp_path / "more", {"loss.py": LOSS})
    recipe = epochal.Recipe(epochs=3, batch_size=20, loss=f"{tmp_path}/more/loss.py:nll")
    whole = epochal.fit(f"{place}/net.py:net", small, recipe, out=tmp_path / "whole")
    stopped(f"{place}/net.py:net", small, recipe, tmp_path / "run", 7)
    write(place, {"layers.py": LAYERS.format("cos"), "net.py": "def f(:\n"})
    (tmp_path / "more/loss.py").unlink()
    resumed = resume(tmp_path / "run", small)
    assert [note.split(": ")[0] for note in resumed.notes] == [f"{place}/layers.py has changed since"]
    assert "(and so have 1 other files)" in resumed.notes[0]
    assert resumed.folder.training.step == 7
    assert resumed.fit().parameters_sha256 == whole.parameters_sha256
    told = [json.loads((tmp_path / name / "run.json").read_text()) for name in ("whole", "run")]
    assert told[0]["code"] == told[1]["code"]
    with pytest.raises(
        epochal.RunError, match=r"layers\.py has changed since: .*; bring it back as it was, or resume wi"
    ):
        resume(tmp_path / "run", small, strict=True)


def test_what_is_imported_in_the_middle_of_a_run_is_kept_when_it_appears(small, tmp_path):
    text = "import epochal\nBASE = epochal.logistic()\nnet = epochal.Model(BASE.init, BASE.logits)\n"
    text += "def late():\n    import lazy\n"
    folder = write(tmp_path / "exp", {"net.py": text, "lazy.py": "x = 1\n"})
    run = epochal.train(f"{folder}/net.py:net", small, epochal.Recipe(epochs=3))
    with RunWriter.create(tmp_path / "run", run) as kept:
        progress = kept.progress()
        next(progress)
        assert not (tmp_path / "run/code/exp/lazy.py").exists()
        run.model.source.root.module.late()
        write(folder, {"lazy.py": "x = 'edited after it was executed'\n"})
        next(progress)
        assert (tmp_path / "run/code/exp/lazy.py").read_text() == "x = 1\n"
        assert "lazy.py" in json.loads((tmp_path / "run/run.json").read_text())["code"]["folders"]["exp"]["files"]
        progress.close()


def test_a_run_that_was_killed_before_it_was_one_begins_again_and_a_folder_called_code_is_left_alone(
    small, place, tmp_path
):
    first = epochal.fit(f"{place}/net.py:net", small, epochal.Recipe(epochs=1), out=tmp_path / "run")
    for path in (tmp_path / "run").iterdir():
        if path.name not in ("code", "lock"):
            path.unlink()
    (tmp_path / "run/code/exp/.net.py.1234.tmp").write_text("half")
    again = epochal.fit(f"{place}/net.py:net", small, epochal.Recipe(epochs=1), out=tmp_path / "run")
    assert again.parameters_sha256 == first.parameters_sha256
    assert not list((tmp_path / "run/code").rglob("*.tmp"))
    write(tmp_path / "project/code", {"thesis.py": "mine"})
    with pytest.raises(epochal.RunError, match=r"project: is not empty \(it holds code\)"):
        epochal.fit(f"{place}/net.py:net", small, epochal.Recipe(epochs=1), out=tmp_path / "project")


# Who may execute it

SIGN = "\nopen('executed.txt', 'a').write('executed')\n"
OPENING = {
    "predict": ("predict", "sent", "digits", "--out", "p.csv"),
    "evaluate": ("evaluate", "sent", "--split", "valid"),
    "compare": ("compare", "sent", "mine"),
    "export": ("export", "sent", "--format", "safetensors"),
    "resume": ("resume", "sent", "--quiet"),
}


def refused(place: Path, words, *parts: str) -> str:
    done = command(*words, cwd=place)
    assert done.returncode == 2, done.stderr
    assert "Traceback" not in done.stderr
    assert len(done.stderr.splitlines()) <= 3, done.stderr
    assert not (place / "executed.txt").exists(), "it was executed"
    for part in parts:
        assert part in done.stderr
    return done.stderr


@pytest.fixture(scope="module")
def sent(tmp_path_factory):
    """Runs that somebody with another key has written, with a loss and a model of their own."""
    folder = tmp_path_factory.mktemp("sent")
    write(folder / "exp", {"net.py": NET + SIGN, "layers.py": LAYERS.format("tanh"), "lib/blocks.py": BLOCKS})
    write(folder / "exp", {"lib/sizes.py": "SIZE = 2\n", "loss.py": LOSS + SIGN})
    theirs = str(folder / "theirs")
    both = ("--model", "exp/net.py:net", "--loss", "exp/loss.py:nll")
    for name, words in (("sent", both), ("mine", ("--model", "logistic"))):
        result("train", "digits", *words, *TRAIN, "--out", name, cwd=folder, XDG_DATA_HOME=theirs)
    several = ("--learning-rate", "0.1,0.01", "--epochs", 1, "--out", "selection")
    result("select", "digits", *both, *several, cwd=folder, XDG_DATA_HOME=theirs)
    (folder / "executed.txt").unlink()
    return folder


@pytest.fixture
def received(sent, tmp_path):
    shutil.copytree(sent, tmp_path / "place")
    return tmp_path / "place"


@pytest.mark.parametrize("name", OPENING)
def test_code_of_another_user_is_not_executed_unless_it_is_trusted(received, name):
    listed = "code/exp/net.py:net" if name != "resume" else "code/exp/loss.py:nll"
    refused(received, OPENING[name], "was written by another user, or on another machine", listed, "--trust executes")
    done = command(*OPENING[name], "--trust", cwd=received)
    assert done.returncode == 0, done.stderr
    assert (received / "executed.txt").exists()
    own = command(*OPENING[name], cwd=received)
    assert own.returncode == (0 if name == "resume" else 2), "a run that goes on here is written here"


@pytest.mark.parametrize("name", OPENING)
@pytest.mark.parametrize("reference", cases(["sent/model.py:m", "~/model.py:m", "/absolute"], "~/model.py:m"))
def test_a_planted_reference_is_never_resolved(received, name, reference, monkeypatch):
    monkeypatch.setenv("HOME", str(received))
    text = "import epochal\nm = epochal.logistic()\n" + SIGN
    write(received, {"sent/model.py": text, "model.py": text})
    if reference == "/absolute":
        reference = f"{received}/model.py:m"
    for key in ("model", "loss"):
        told = json.loads((received / "mine/run.json").read_text())
        if key == "model":
            told["model"]["reference"] = reference
        else:
            told["recipe"]["loss"] = reference
        shutil.rmtree(received / "sent", ignore_errors=True)
        shutil.copytree(received / "mine", received / "sent")
        write(received, {"sent/model.py": text, "sent/run.json": sealed_text(told)})
        if key == "model" or name == "resume":
            for also in ((), ("--trust",)):
                refused(received, (*OPENING[name], *also), "which is not among the code that it keeps", "nothing of it")
        else:
            assert command(*OPENING[name], cwd=received).returncode == 0
            assert not (received / "executed.txt").exists(), "a loss is not needed to predict"


def test_what_was_signed_cannot_be_changed_and_names_no_place_outside(received, monkeypatch):
    monkeypatch.setenv("XDG_DATA_HOME", str(received / "theirs"))
    assert command(*OPENING["evaluate"], cwd=received).returncode == 0
    (received / "executed.txt").unlink()
    told = json.loads((received / "sent/run.json").read_text())
    kept = (received / "sent/code/exp/layers.py").read_text()
    (received / "sent/code/exp/layers.py").write_text(kept + SIGN)
    refused(received, OPENING["evaluate"], "has changed: code/exp/layers.py", "--trust")
    done = command(*OPENING["evaluate"], "--trust", cwd=received)
    assert "code/exp/layers.py is not what was executed in training, and is trusted as it is" in done.stderr
    (received / "executed.txt").unlink()
    (received / "sent/code/exp/layers.py").unlink()
    refused(received, OPENING["evaluate"], "has changed: code/exp/layers.py cannot be read")
    write(received, {"layers.py": kept})
    (received / "sent/code/exp/layers.py").symlink_to(received / "layers.py")
    refused(received, OPENING["evaluate"], "has changed: code/exp/layers.py cannot be read")
    (received / "sent/code/exp/layers.py").unlink()
    write(received, {"sent/code/exp/layers.py": kept})
    assert command(*OPENING["evaluate"], cwd=received).returncode == 0
    (received / "executed.txt").unlink()

    def planted(**code) -> None:
        write(received, {"sent/run.json": sealed_text(told | {"code": told["code"] | code})})

    reference = told["model"]["reference"]
    planted(references={reference: ["exp", "loss.py", "nll"], told["recipe"]["loss"]: ["exp", "loss.py", "nll"]})
    refused(received, OPENING["evaluate"], "is not as this user's run has signed it", "code/exp/loss.py:nll")
    planted(signature=None)
    refused(received, OPENING["evaluate"], "is not signed")
    for name in ("../outside.py", "/etc/passwd", "a/../../x.py", "x.txt"):
        planted(folders={"exp": {"path": "/x", "files": {name: "0" * 64}}})
        refused(received, (*OPENING["evaluate"], "--trust"), "is no place of a kept file")
    for folders in ([], {"exp": 3}, {"exp": {"path": 1, "files": {}}}, {"..": {"path": "/x", "files": {}}}):
        planted(folders=folders)
        refused(received, (*OPENING["evaluate"], "--trust"), "is damaged")
    swapped = json.loads(json.dumps(told))
    swapped["model"]["reference"] = told["recipe"]["loss"]
    write(received, {"sent/run.json": sealed_text(swapped)})
    refused(received, OPENING["evaluate"], "is not as this user's run has signed it")


def test_text_of_others_does_not_steer_the_terminal(received):
    told = json.loads((received / "sent/run.json").read_text())
    told["code"]["references"][told["model"]["reference"]][2] = "net\x1b[2J"
    reseal(received / "sent/run.json", told)
    assert "\x1b" not in refused(received, OPENING["evaluate"], r"net\x1b[2J")


def test_a_model_of_ones_own_takes_the_place_of_code_that_is_not_trusted(received):
    text = NET.replace("import layers", "import jax.numpy as layers").replace("act(", "tanh(")
    write(received, {"clean.py": text.replace("from lib.blocks import scale", "def scale(): return 2")})
    done = command("evaluate", "sent", "--split", "valid", "--model", "clean.py:net", cwd=received)
    assert (done.returncode, done.stderr) == (0, "")
    for name in ("predict", "export"):
        assert command(*OPENING[name], "--model", "clean.py:net", cwd=received).returncode == 0
    assert not (received / "executed.txt").exists()
    refused(received, (*OPENING["resume"], "--model", "clean.py:net"), "code/exp/loss.py:nll")
    refused(received, ("evaluate", "sent", "--model", "mlp"), "--model: must be FILE.py:NAME", "got 'mlp'")


def test_a_selection_of_another_user_is_not_executed_unless_it_is_trusted(received):
    words = ("resume", "selection", "--quiet")
    refused(received, words, "was written by another user", "code/exp/net.py:net", "code/exp/loss.py:nll", "--trust")
    refused(received, (*words, "--model", "exp/net.py:net"), "a selection has models of its own")
    done = command(*words, "--trust", cwd=received)
    assert done.returncode == 0, done.stderr
    (received / "executed.txt").unlink()
    assert command(*words, cwd=received).returncode == 0
    rechain(received / "selection/journal.jsonl", lambda text: text.replace("exp/net.py", "planted.py"))
    write(received, {"planted.py": NET + SIGN})
    (received / "executed.txt").unlink()
    refused(received, (*words, "--trust"), "planted.py:net, which is not among the code that it keeps")


def test_a_search_that_goes_on_proposes_models_from_kept_text(place, tmp_path):
    extra("optuna")
    words = ("--model", "exp/net.py:net,exp/net.py:other", "--learning-rate", "0.01..0.1", "--epochs", 1, "--trials", 1)
    write(place, {"net.py": NET + "\nother = epochal.Model(BASE.init, logits)\n"})
    storage = ("--optuna", "sqlite:///s.db", "--study", "one", "--optuna-batch", 1)
    result("select", "digits", *words, *storage, "--out", "s", cwd=tmp_path)
    told = json.loads((tmp_path / "s/selection.json").read_text())
    assert sorted(told["code"]["references"]) == [f"{place}/net.py:net", f"{place}/net.py:other"]
    told["search"]["trials"] = 8  # as if it had been interrupted after the first
    write(tmp_path, {"s/selection.json": sealed_text(told)})
    shutil.rmtree(place)
    selected = result("resume", "s", cwd=tmp_path)
    assert {each["varied"]["model"] for each in selected["candidates"]} == {"exp/net.py:net", "exp/net.py:other"}
    told = json.loads((tmp_path / "s/selection.json").read_text())
    told["search"] |= {"trials": 12, "spare": told["search"]["spare"] | {"loss": "planted.py:nll"}}
    write(tmp_path, {"planted.py": LOSS + SIGN, "s/selection.json": sealed_text(told)})
    refused(
        tmp_path, ("resume", "s", "--trust", "--quiet"), "planted.py:nll, which is not among the code that it keeps"
    )


def test_strict_refuses_before_anything_is_executed(place, tmp_path):
    write(place, {"net.py": NET + "\nimport pathlib; pathlib.Path('executed.txt').touch()\n"})
    result("train", "digits", "--model", "exp/net.py:net", *TRAIN, "--out", "run", cwd=tmp_path)
    (tmp_path / "executed.txt").unlink()
    write(place, {"layers.py": LAYERS.format("cos")})
    refused(tmp_path, ("resume", "run", "--strict"), "layers.py has changed since", "or resume without --strict")
    write(place, {"layers.py": LAYERS.format("tanh")})
    refused(tmp_path, ("resume", "run", "--strict", "--model", "exp/net.py:net"), "takes another file than the text")
    told = json.loads((tmp_path / "run/run.json").read_text())
    told["versions"]["flax"] = "0.0.1"
    write(tmp_path, {"run/run.json": sealed_text(told)})
    refused(tmp_path, ("resume", "run", "--strict"), "flax was 0.0.1, is ")


# The key


def test_the_key_is_made_once_for_this_user_alone(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path))
    signed = trust.signature({"a": 1})
    (path,) = (tmp_path / "epochal").iterdir()
    assert (path.stat().st_mode & 0o777, path.stat().st_size) == (0o600, 32)
    assert trust.signature({"a": 1}) == signed
    assert trust.objection({"a": 1}, signed) is None
    assert trust.objection({"a": 2}, signed) == "is not as this user's run has signed it"
    path.unlink()
    assert trust.objection({"a": 1}, signed) == "was written by another user, or on another machine"
    assert not path.exists(), "to look is not to make one"


def test_processes_that_need_a_key_at_once_agree_on_it(tmp_path):
    code = "from epochal.system import trust; print(trust.signature({})['key'])"
    environment = os.environ | {"XDG_DATA_HOME": str(tmp_path)}
    words = [sys.executable, "-c", code]
    starts = [subprocess.Popen(words, stdout=subprocess.PIPE, text=True, env=environment) for _ in range(8)]
    assert len({process.communicate()[0] for process in starts}) == 1


@pytest.mark.parametrize("fault", ["readable", "short", "folder", "no place"])
def test_without_a_key_a_run_is_written_unsigned_and_asks_when_it_is_opened(
    small, place, tmp_path, monkeypatch, caplog, fault
):
    home = tmp_path / "home"
    monkeypatch.setenv("XDG_DATA_HOME", str(home))
    key = home / "epochal" / "code.key"
    if fault == "no place":
        home.write_text("a file")
    elif fault == "folder":
        key.mkdir(parents=True)
    else:
        key.parent.mkdir(parents=True)
        key.write_bytes(b"x" * (32 if fault == "readable" else 7))
        key.chmod(0o644 if fault == "readable" else 0o600)
    fit = epochal.fit(f"{place}/net.py:net", small, epochal.Recipe(epochs=1), out=tmp_path / "run")
    assert "the code of this run is not signed, opening it will need --trust" in caplog.text
    with pytest.raises(
        epochal.RunError, match=r"is not signed: code/exp/net\.py:net, with .*\n.*; trust=True executes it"
    ):
        epochal.load_run(tmp_path / "run")
    again = epochal.load_run(tmp_path / "run", trust=True)
    np.testing.assert_array_equal(again.predict_proba(small.test.x), fit.predict_proba(small.test.x))


# Identity


def test_a_model_of_ones_own_called_as_a_built_in_one_is_not_taken_for_it(small, tmp_path):
    built_in = epochal.mlp(4)
    mine = epochal.Model(built_in.init, lambda params, x: -built_in.logits(params, x), "mlp", built_in.settings)
    assert built_in.built_in
    assert not mine.built_in
    fit = epochal.fit(mine, small, epochal.Recipe(epochs=1), out=tmp_path / "run")
    with pytest.raises(
        epochal.RunError, match=r"was trained with the model 'mlp' of your own; give it: load_run\(RUN, mo"
    ):
        epochal.load_run(tmp_path / "run")
    assert epochal.load_run(tmp_path / "run", model=mine).parameters_sha256 == fit.parameters_sha256
    epochal.select([mine, built_in], small, epochal.Recipe(epochs=1), out=tmp_path / "selection")
    with pytest.raises(epochal.RunError, match="candidate 0: its model 'mlp' was given by value"):
        epochal.selection.resume(tmp_path / "selection", small)
    done = command("train", "digits", "--config", "run/recipe.toml", "--out", "other", cwd=tmp_path)
    assert done.returncode == 2
    assert "got 'mlp (given by value)'" in done.stderr
