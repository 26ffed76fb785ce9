"""Stop anywhere, go on, and get the bits of the run that was never stopped."""

import hashlib
import json
import logging
import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import jax
import numpy as np
import pytest

import epochal
from commands import epochal as command
from commands import result
from epochal import atomic, checkpoint, training
from epochal.checkpoint import Snapshot
from epochal.folder import Keeping, RunFolder
from epochal.lock import Lock
from epochal.run import resume
from epochal.training import Training

KILLS = int(os.environ.get("EPOCHAL_KILLS", "20"))
KILLS_EACH = int(os.environ.get("EPOCHAL_KILLS_EACH", "2"))
SIGNALS = int(os.environ.get("EPOCHAL_SIGNALS", "4"))
DAMAGES = int(os.environ.get("EPOCHAL_DAMAGES", "2000"))
RECIPE = epochal.Recipe(optimizer="momentum", batch_size=20, epochs=3, patience_steps=60)


def outcome(run: Training) -> tuple:
    state = hashlib.sha256(b"".join(np.asarray(leaf).tobytes() for leaf in jax.tree.leaves(run.state))).hexdigest()
    history = [(e.epoch, e.step, e.loss, e.valid, e.best, e.validations) for e in run.epochs]
    return state, run.fit().parameters_sha256, run.best, history, run.stopped


@pytest.fixture
def single_steps(monkeypatch):
    monkeypatch.setattr(training, "STRETCH_SECONDS", 0)


@pytest.mark.parametrize("memory_bytes", [None, 5000], ids=["resident", "chunked"])
def test_a_run_resumed_at_every_step_and_twice_ends_with_the_same_bits(small, single_steps, memory_bytes):
    model = epochal.logistic()
    whole = epochal.train(model, small, RECIPE, memory_bytes=memory_bytes)
    snapshots = [(whole.snapshot(), ())]
    for _ in whole.moments():
        snapshots.append((whole.snapshot(), tuple(whole.epochs)))
    assert whole.residency.kind == ("chunked" if memory_bytes else "resident")
    assert len(snapshots) == 1 + whole.step == 19
    for step, (snapshot, epochs) in enumerate(snapshots):
        text = json.loads(json.dumps(snapshot.told))  # as a file would give it back
        again = epochal.train(model, small, RECIPE, memory_bytes=memory_bytes)
        again.restore(Snapshot(snapshot.arrays, text), epochs)
        assert again.step == step
        moments = again.moments()
        if not again.stopped and step % 6 < 4:  # stopped once more, in the same epoch
            next(moments, None)
            second = epochal.train(model, small, RECIPE, memory_bytes=memory_bytes)
            second.restore(again.snapshot(), again.epochs)
            again.placed.close()
            again, moments = second, second.moments()
        for _ in moments:
            pass
        assert outcome(again) == outcome(whole), f"resumed at step {step}"


def test_a_folder_goes_on_where_it_was_left_and_says_when_it_is_done(small, tmp_path):
    whole = epochal.fit(epochal.mlp(8), small, RECIPE, out=tmp_path / "whole")
    run = epochal.train(epochal.mlp(8), small, RECIPE)
    moments = RunFolder.create(tmp_path / "run", run).moments()
    while run.step < 8:
        next(moments)
    moments.close()
    resumed = resume(tmp_path / "run", small)
    assert resumed.folder.training.step == run.step
    fit = resumed.fit()
    assert (fit.parameters_sha256, fit.best, fit.steps) == (whole.parameters_sha256, whole.best, whole.steps)
    lines = [json.loads(line) for line in (tmp_path / "run" / "history.jsonl").read_text().splitlines()]
    assert [line["epoch"] for line in lines] == list(range(1, len(fit.epochs) + 1))
    again = resume(tmp_path / "run", small)
    assert again.folder.training.stopped == fit.stopped
    assert again.fit().parameters_sha256 == fit.parameters_sha256
    assert epochal.load_run(tmp_path / "run", small).test() == whole.test()


def test_what_differs_is_named(small, tmp_path):
    run = epochal.train(epochal.logistic(), small, RECIPE)
    RunFolder.create(tmp_path / "run", run).close()
    with pytest.raises(epochal.RunError, match=r"its recipe has batch_size = 20, got 7"):
        resume(tmp_path / "run", small, recipe=epochal.Recipe.from_dict(RECIPE.to_dict() | {"batch_size": 7}))
    other = epochal.Dataset(small.train[:100], small.valid, small.test, small.classes)
    with pytest.raises(epochal.DataError, match="these are not the data of"):
        resume(tmp_path / "run", other)
    told = json.loads((tmp_path / "run" / "run.json").read_text())
    told["versions"]["cores"] = "64"
    (tmp_path / "run" / "run.json").write_text(json.dumps(told))
    with pytest.raises(
        epochal.RunError, match=rf"begun elsewhere: cores was 64, is {os.cpu_count()}; .* without --strict"
    ):
        resume(tmp_path / "run", small, strict=True)
    resumed = resume(tmp_path / "run", small)
    resumed.folder.close()
    assert resumed.notes == (f"bits may differ from an uninterrupted run: cores was 64, is {os.cpu_count()}",)


def snapshot_of(step: int, size: int = 50) -> Snapshot:
    arrays = {"state.a": np.full(size, step, np.float32), "state.step": np.array(step, np.int32)}
    return Snapshot(arrays, {"step": step, "best": None})


EPOCHAL = [sys.executable, "-m", "epochal"]

SAVE = """
import os, sys, tempfile
from pathlib import Path
import numpy as np
from epochal import checkpoint
from collections import namedtuple
folder, step, left = Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3])
def counted(call):
    def wrapped(*args, **kwargs):
        global left
        if left == 0:
            os._exit(9)
        left -= 1
        return call(*args, **kwargs)
    return wrapped
os.fsync, os.fdopen, tempfile.mkstemp = counted(os.fsync), counted(os.fdopen), counted(tempfile.mkstemp)
Path.replace, Path.unlink = counted(Path.replace), counted(Path.unlink)
os.open, checkpoint.sealed.read = counted(os.open), counted(checkpoint.sealed.read)
arrays = {"state.a": np.full(50, step, np.float32), "state.step": np.array(step, np.int32)}
checkpoint.save(folder, namedtuple("Snapshot", "arrays told")(arrays, {"step": step, "best": None}))
"""


def test_killed_before_every_operation_of_a_save_the_newest_whole_checkpoint_loads(tmp_path):
    """A process that ends itself before its n-th operation of a save, for every n until the save gets through."""
    checkpoint.save(tmp_path, snapshot_of(1))
    checkpoint.save(tmp_path, snapshot_of(2))
    for n in range(100):
        done = subprocess.run([sys.executable, "-c", SAVE, str(tmp_path), str(3 + n), str(n)], check=False)
        found, complaints = checkpoint.newest(tmp_path)
        assert found is not None
        assert not complaints
        assert found.told["step"] >= 2
        np.testing.assert_array_equal(found.arrays["state.a"], np.full(50, found.told["step"], np.float32))
        if done.returncode == 0:
            break
        assert done.returncode == 9
    assert n > 5, "a save has more operations than that"
    assert found.told["step"] == 3 + n
    checkpoint.sweep(tmp_path)
    assert not list(tmp_path.glob("*.tmp")) + list(tmp_path.glob(".*.tmp"))
    assert len(checkpoint.found(tmp_path)) == 2


@pytest.mark.parametrize("call", ["mkstemp", "fdopen", "fsync", "replace"])
def test_a_save_that_fails_leaves_the_old_checkpoints_and_no_rubbish(tmp_path, monkeypatch, call):
    checkpoint.save(tmp_path, snapshot_of(1))

    def full(*args, **kwargs):
        raise OSError(28, "No space left on device")

    home = {"mkstemp": atomic.tempfile, "fdopen": os, "fsync": os, "replace": Path}[call]
    with monkeypatch.context() as patch:
        patch.setattr(home, call, full)
        with pytest.raises(epochal.RunError, match="No space left on device; it needs 204 bytes"):
            checkpoint.save(tmp_path, snapshot_of(2))
    assert [path.name for path in tmp_path.iterdir()] == ["checkpoint-000000000001.safetensors"]
    assert checkpoint.newest(tmp_path)[0].told["step"] == 1


def _drain(folder: RunFolder) -> None:
    for _ in folder.moments():
        time.sleep(0.02)  # so that the saver's thread has its turn


def test_a_full_disk_is_waited_out_or_stops_the_run_as_asked(small, tmp_path, monkeypatch, caplog):
    real, left = checkpoint.save, [3]

    def full(folder, snapshot):
        if left[0]:
            left[0] -= 1
            raise epochal.errors.StorageError("disk full")
        real(folder, snapshot)

    monkeypatch.setattr(checkpoint, "save", full)
    run = epochal.train(epochal.logistic(), small, RECIPE)
    with caplog.at_level(logging.WARNING, "epochal"):
        _drain(RunFolder.create(tmp_path / "retry", run, Keeping(checkpoint_seconds=0)))
    assert "disk full; the run goes on and tries again" in caplog.text
    assert resume(tmp_path / "retry", small).fit().steps == run.step
    left[0] = 10**9
    run = epochal.train(epochal.logistic(), small, epochal.Recipe(epochs=1000, batch_size=20))
    keeping = Keeping(checkpoint_seconds=0, on_storage_error="stop")
    with pytest.raises(epochal.RunError, match="disk full") as caught:
        _drain(RunFolder.create(tmp_path / "stop", run, keeping))
    assert caught.value.exit_code == 1
    assert run.step < 1000


def test_a_real_limit_on_file_size_ends_with_exit_code_1_and_a_message(tmp_path):
    code = (
        "import resource, sys; resource.setrlimit(resource.RLIMIT_FSIZE, (40_000, 40_000)); import signal;"
        "signal.signal(signal.SIGXFSZ, signal.SIG_IGN); from epochal.cli import main; sys.exit(main())"
    )
    words = ["train", "--epochs", "3", "--out", "run", "--quiet", "--on-storage-error", "stop"]
    done = subprocess.run(
        [sys.executable, "-c", code, *words], cwd=tmp_path, capture_output=True, text=True, check=False
    )
    assert done.returncode == 1, done.stderr
    assert "cannot be saved: File too large; it needs" in done.stderr
    assert "Traceback" not in done.stderr


def test_random_damage_is_never_loaded_and_the_one_before_is_used(tmp_path):
    generator = random.Random(0)
    checkpoint.save(tmp_path, snapshot_of(1))
    checkpoint.save(tmp_path, snapshot_of(2))
    path = checkpoint.path_of(tmp_path, 2)
    sound = path.read_bytes()
    for _ in range(DAMAGES):
        damaged = bytearray(sound)
        match generator.randrange(4):
            case 0:
                damaged[generator.randrange(len(sound))] ^= 1 << generator.randrange(8)
            case 1:
                del damaged[generator.randrange(len(sound)) :]
            case 2:
                begin = generator.randrange(len(sound))
                damaged[begin : begin + 40] = generator.randbytes(40)
            case 3:
                damaged += generator.randbytes(generator.randrange(1, 9))
        if bytes(damaged) == sound:
            continue
        path.write_bytes(damaged)
        found, complaints = checkpoint.newest(tmp_path)
        assert found.told["step"] == 1 or (found.told == {"step": 2, "best": None} and _same(found, snapshot_of(2)))
        assert found.told["step"] == 2 or (len(complaints) == 1 and path.name in complaints[0])
    path.write_bytes(b"foreign")
    checkpoint.path_of(tmp_path, 1).unlink()
    with pytest.raises(epochal.RunError, match=r"none of its 1 checkpoints is whole: .*; train anew"):
        checkpoint.newest(tmp_path)


def _same(a: Snapshot, b: Snapshot) -> bool:
    return all(np.array_equal(a.arrays[name], b.arrays[name]) for name in b.arrays)


def test_a_second_process_is_refused_with_the_owners_name(tmp_path):
    lock = Lock(tmp_path)
    with pytest.raises(epochal.RunError, match=rf"is in use by process {os.getpid()} on .* since 20\d\d"):
        Lock(tmp_path)
    lock.close()
    Lock(tmp_path).close()


def test_a_killed_owners_lock_is_taken_over(tmp_path):
    code = "import sys, time, pathlib; from epochal.lock import Lock; held = Lock(pathlib.Path(sys.argv[1]));"
    code += "print(1, flush=True); time.sleep(99)"
    owner = subprocess.Popen([sys.executable, "-c", code, str(tmp_path)], stdout=subprocess.PIPE)
    with owner:
        owner.stdout.readline()
        with pytest.raises(epochal.RunError, match=f"in use by process {owner.pid} on"):
            Lock(tmp_path)
        owner.kill()
    Lock(tmp_path).close()


def train_words(model: str, chunked: bool) -> list[str]:
    words = ["--epochs", "12", "--model", model, "--optimizer", "momentum", "--checkpoint-seconds", "0", "--quiet"]
    words += ["--kernels", "2x3", "--hidden", "20", "--kernel-size", "2"] if model == "lenet" else []
    return words + (["--memory", "60kB" if model == "logistic" else "400kB"] if chunked else [])


def words_for(folder: Path, words: list[str]) -> list[str]:
    """What a user types after a kill."""
    return ["resume", str(folder)] if (folder / "run.json").exists() else ["train", *words, "--out", str(folder)]


def bits(folder: Path) -> tuple:
    told = json.loads((folder / "run.json").read_text())
    lines = [json.loads(line) for line in (folder / "history.jsonl").read_text().splitlines()]
    for line in lines:
        del line["seconds"]
    return told["parameters_sha256"], told["best"], told["steps"], told["stopped"], lines


@pytest.mark.parametrize(("model", "chunked"), [("mlp", False), ("logistic", True), ("lenet", False)])
def test_runs_killed_at_random_instants_end_with_the_bits_of_the_uninterrupted_one(tmp_path, model, chunked):
    generator = random.Random(f"{model}{chunked}")
    words = train_words(model, chunked)
    begun = time.monotonic()
    whole = result("train", *words, "--out", "whole", cwd=tmp_path)
    seconds = time.monotonic() - begun
    assert whole["residency"]["kind"] == ("chunked" if chunked else "resident")
    expected, killed = bits(tmp_path / "whole"), 0
    for number in range(-(-KILLS // 3)):
        folder = tmp_path / f"run{number}"
        for _ in range(generator.randint(1, KILLS_EACH)):
            process = subprocess.Popen(
                [*EPOCHAL, *words_for(folder, words), "--quiet"], cwd=tmp_path, stdout=-3, stderr=-3
            )
            time.sleep(generator.uniform(0.5, 1.0) * seconds)
            process.kill()
            killed += process.wait() != 0
        done = command(*words_for(folder, words), cwd=tmp_path)
        assert done.returncode == 0, done.stderr
        assert bits(folder) == expected
        assert json.loads((folder / "test-ledger.jsonl").read_text().splitlines()[0])["test"] == whole["test"]
    assert killed >= KILLS // 6, "too few of the kills came in time to say anything"


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_signals_at_random_instants_leave_a_run_that_goes_on(tmp_path, number, code):
    generator = random.Random(code)
    words = ["train", "--epochs", "1000000", "--patience-steps", "1000000000", "--quiet"]
    seconds = []
    for n in range(SIGNALS):
        command_line = [*EPOCHAL, *words, "--out", f"run{n}"]
        process = subprocess.Popen(command_line, cwd=tmp_path, stdout=-3, stderr=-1, text=True)
        time.sleep(1.2 + generator.uniform(0, 2.5))
        begun = time.monotonic()
        process.send_signal(number)
        _, err = process.communicate(timeout=30)
        seconds.append(time.monotonic() - begun)
        assert process.returncode == code, err
        assert "Traceback" not in err
        if "all is saved" in err:
            assert f"epochal resume run{n}" in err
            resumed = resume(tmp_path / f"run{n}")
            resumed.folder.close()
            assert f"step {resumed.folder.training.step:,}" in err
        else:
            assert "before the first step" in err
    assert max(seconds) < 10


def test_of_several_processes_on_one_folder_exactly_one_trains(tmp_path):
    words = [*EPOCHAL, "train", "--epochs", "20", "--out", "run", "--quiet"]
    count = int(os.environ.get("EPOCHAL_RACERS", "6"))
    processes = [
        subprocess.Popen(words, cwd=tmp_path, stdout=-3, stderr=subprocess.PIPE, text=True) for _ in range(count)
    ]
    told = [(process.communicate()[1], process.returncode) for process in processes]
    assert sorted(code for _, code in told) == [0] + [2] * (count - 1), told
    assert all("is in use by process" in err or "holds a run; go on with" in err for err, code in told if code)


def test_a_run_that_diverged_keeps_no_checkpoint_with_nan(small, tmp_path):
    run = epochal.train(epochal.mlp(8), small, epochal.Recipe(learning_rate=1e30, batch_size=20))
    with pytest.raises(epochal.DivergedError, match=r"step \d+: the loss is (nan|inf); \S+ is not finite; take"):
        for _ in RunFolder.create(tmp_path / "run", run, Keeping(checkpoint_seconds=0)).moments():
            pass
    found, _ = checkpoint.newest(tmp_path / "run")
    assert found is None or all(np.isfinite(a).all() for a in found.arrays.values())
    assert json.loads((tmp_path / "run" / "run.json").read_text())["stopped"] == "diverged"


def test_a_run_that_diverges_after_a_best_keeps_that_best(small, tmp_path, monkeypatch):
    run = epochal.train(epochal.logistic(), small, RECIPE)
    real = run.program.stretch

    def failing(state, pieces, first, last):
        state, losses = real(state, pieces, first, last)
        return state, losses * (np.nan if run.step >= 6 else 1)

    monkeypatch.setattr(run.program, "stretch", failing)
    monkeypatch.setattr(RunFolder, "_due", lambda self: False)  # no save before the end
    with pytest.raises(epochal.DivergedError, match="step 7: the loss is nan"):
        _drain(RunFolder.create(tmp_path / "run", run))
    assert run.best is not None
    kept = epochal.load_run(tmp_path / "run")
    assert (kept.best, kept.parameters_sha256) == (run.best, run.fit().parameters_sha256)


def test_a_resumed_run_keeps_its_memory_and_its_test_split_closed(tmp_path):
    words = ["--epochs", "3", "--memory", "400kB", "--no-test", "--out", "run"]
    told = result("train", *words, cwd=tmp_path)
    assert told["residency"]["kind"] == "chunked"
    again = result("resume", "run", cwd=tmp_path)
    assert (again["residency"]["kind"], again["test"]) == ("chunked", None)
    assert not (tmp_path / "run" / "test-ledger.jsonl").exists()
