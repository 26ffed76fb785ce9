"""Many processes at once on one folder: exactly one trains. EPOCHAL_RACERS processes are started."""

import json
import os
import subprocess
import sys
import time

import pytest

import epochal
from campaigns import share
from commands import result
from epochal.system.lock import Lock
from kept_runs import bits, start, words_of

RACERS = share("RACERS", 4)


def race(words: list[str], place) -> list[tuple[str, int]]:
    """What each of the racers says on standard error, and its exit code."""
    racers = [start(words, cwd=place, stderr=subprocess.PIPE) for _ in range(RACERS)]
    return [(racer.communicate()[1], racer.returncode) for racer in racers]


@pytest.mark.thorough
def test_of_several_processes_on_one_folder_exactly_one_trains(tmp_path):
    told = race(["train", "--epochs", "20", "--out", "run", "--quiet"], tmp_path)
    assert sorted(code for _, code in told) == [0] + [2] * (RACERS - 1), told
    assert all("is in use by process" in err or "holds a run; go on with" in err for err, code in told if code)
    assert len((tmp_path / "run" / "test-ledger.jsonl").read_text().splitlines()) == 1
    print(f"\n{RACERS} processes, one trained")


@pytest.mark.thorough
def test_of_several_that_resume_one_run_exactly_one_goes_on_and_the_test_split_is_opened_once(tmp_path):
    words = words_of("mlp", "resident")
    result("train", *words, "--out", "whole", cwd=tmp_path)
    process = start(["train", *words, "--out", "run"], cwd=tmp_path)
    while not list(tmp_path.glob("run/checkpoint-*")):
        time.sleep(0.01)
    process.kill()
    process.wait()
    told = race(["resume", "run"], tmp_path)
    assert sum("goes on after step" in err for err, _ in told) == 1
    for err, code in told:
        assert (code, "is in use by process" in err) in ((0, False), (2, True)), err
        assert code or "goes on after step" in err or "has ended by epochs" in err
    assert bits(tmp_path / "run") == bits(tmp_path / "whole")


def test_a_second_process_is_refused_with_the_owners_name(tmp_path):
    lock = Lock(tmp_path)
    with pytest.raises(epochal.RunError, match=rf"is in use by process {os.getpid()} on .* since 20\d\d"):
        Lock(tmp_path)
    lock.close()
    Lock(tmp_path).close()


HOLD = "import sys, time, pathlib; from epochal.system.lock import Lock; held = Lock(pathlib.Path(sys.argv[1])); "
HOLD += "print(1, flush=True); time.sleep(99)"


def test_a_killed_owners_lock_is_taken_over(tmp_path):
    owner = subprocess.Popen([sys.executable, "-c", HOLD, str(tmp_path)], stdout=subprocess.PIPE)
    with owner:
        owner.stdout.readline()
        with pytest.raises(epochal.RunError, match=f"in use by process {owner.pid} on"):
            Lock(tmp_path)
        owner.kill()
    assert json.loads((tmp_path / "lock").read_text())["process"] == owner.pid  # stale, and no hindrance
    Lock(tmp_path).close()
