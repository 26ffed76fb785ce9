import json
import multiprocessing
import os
import signal
import time
from pathlib import Path

import jax
import numpy as np
import optax
import pytest

import epochal
from epochal.runs.writer import new_folder
from epochal.system import atomic, json_file
from epochal.training import ledger

RECIPE = epochal.Recipe(epochs=4, batch_size=20)


def test_a_run_is_opened_again_as_it_was(small, tmp_path):
    fit = epochal.fit(epochal.mlp((8, 4), "tanh"), small, RECIPE, out=tmp_path / "run")
    again = epochal.load_run(tmp_path / "run", small)
    jax.tree.map(np.testing.assert_array_equal, again.params, fit.params)
    assert (again.best, again.epochs, again.steps, again.stopped) == (fit.best, fit.epochs, fit.steps, fit.stopped)
    assert (again.recipe, again.model, again.classes) == (fit.recipe, fit.model, fit.classes)
    np.testing.assert_array_equal(again.predict_proba(small.test.x), fit.predict_proba(small.test.x))
    assert again.test() == fit.test()
    assert len(ledger.entries(tmp_path / "run")) == 2


def test_other_data_are_not_taken_for_the_runs_own(small, tmp_path):
    epochal.fit(epochal.logistic(), small, RECIPE, out=tmp_path / "run")
    other = epochal.Dataset(small.train, small.valid[:39], small.test, small.classes)
    with pytest.raises(epochal.DataError, match=r"not the data of .*: their fingerprint is .{12}…, the run's"):
        epochal.load_run(tmp_path / "run", other)
    with pytest.raises(epochal.RunError, match="the data of this run are not loaded"):
        epochal.load_run(tmp_path / "run").test()


def test_a_model_or_an_optimizer_of_ones_own_must_be_given_again(small, tmp_path):
    own = epochal.Model(epochal.mlp(4).init, epochal.mlp(4).logits, "mine")
    recipe = epochal.Recipe(epochs=1, optimizer=optax.sgd(0.1))
    fit = epochal.fit(own, small, recipe, out=tmp_path / "run")
    with pytest.raises(epochal.RunError, match=r"model 'mine' of your own; give it: load_run\(RUN, model=…\)"):
        epochal.load_run(tmp_path / "run")
    with pytest.raises(epochal.RunError, match=r"optimizer given by value; give it: load_run\(RUN, recipe=…\)"):
        epochal.load_run(tmp_path / "run", model=own)
    again = epochal.load_run(tmp_path / "run", model=own, recipe=recipe)
    assert again.parameters_sha256 == fit.parameters_sha256


def test_every_flipped_byte_of_the_parameters_is_noticed(small, tmp_path):
    epochal.fit(epochal.logistic(), small, RECIPE, out=tmp_path / "run")
    file = tmp_path / "run" / "best.safetensors"
    sound = file.read_bytes()
    for place in range(len(sound)):
        file.write_bytes(sound[:place] + bytes([sound[place] ^ 0x01]) + sound[place + 1 :])
        with pytest.raises(epochal.RunError, match=r"best\.safetensors: "):
            epochal.load_run(tmp_path / "run")
    for end in range(0, len(sound), 7):
        file.write_bytes(sound[:end])
        with pytest.raises(epochal.RunError):
            epochal.load_run(tmp_path / "run")


@pytest.mark.parametrize(
    ("name", "content", "words"),
    [("run.json", "{", "cannot be read"), ("run.json", "{}", "no run of format 2"),
     ("run.json", '{"format": 2}', "it has no sha256"), ("best.safetensors", None, "ended before its first validation"),
     ("run.json", json.dumps(json_file.sealed({"format": 2})), "run_sha256 must be a SHA-256"),
     ("run.json", json.dumps(json_file.sealed({"format": 1})), "is no run of format 2; open it with the epochal that"),
     ("run.json", None, "is no run folder")],
)  # fmt: skip
def test_a_damaged_folder_is_named(small, tmp_path, name, content, words):
    epochal.fit(epochal.logistic(), small, RECIPE, out=tmp_path / "run")
    (tmp_path / "run" / name).unlink() if content is None else (tmp_path / "run" / name).write_text(content)
    with pytest.raises(epochal.RunError, match=words):
        epochal.load_run(tmp_path / "run")


def test_a_folder_in_use_is_not_written_to(small, tmp_path):
    (tmp_path / "notes.txt").write_text("mine")
    with pytest.raises(epochal.RunError, match=r"is not empty \(it holds notes.txt\); name another"):
        epochal.fit(epochal.logistic(), small, RECIPE, out=tmp_path)
    (tmp_path / "file").write_text("")
    with pytest.raises(epochal.RunError, match="cannot be made"):
        epochal.fit(epochal.logistic(), small, RECIPE, out=tmp_path / "file" / "run")


def test_new_folders_get_numbers_of_their_own(tmp_path):
    assert [new_folder(tmp_path, "a").name for _ in range(3)] == ["a-1", "a-2", "a-3"]


def _rewrite(path: Path) -> None:
    for n in range(10_000_000):
        atomic.write(path, json.dumps({"n": n, "filling": "x" * 5000}).encode())


def test_a_file_is_whole_however_its_writer_is_killed(tmp_path):
    path = tmp_path / "state.json"
    for _ in range(10):
        process = multiprocessing.get_context("spawn").Process(target=_rewrite, args=(path,))
        process.start()
        while not path.exists():
            time.sleep(0.01)
        time.sleep(0.05)
        os.kill(process.pid, signal.SIGKILL)
        process.join()
        assert len(json.loads(path.read_bytes())["filling"]) == 5000
