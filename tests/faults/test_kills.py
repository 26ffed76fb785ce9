"""SIGKILL at random instants, again and again; at the end, the bits of the run that was left in peace.

EPOCHAL_KILLS runs are killed up to EPOCHAL_KILLS_EACH times each.
"""

import json
import os
import random
import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from campaigns import share
from commands import epochal as command
from commands import result
from epochal.runs import checkpoint
from kept_runs import MEMORY, MODELS, bits, next_words, start, words_of

CASES = [(model, kind) for model in MODELS for kind in MEMORY]
RUNS, EACH = share("KILLS", 20), share("KILLS_EACH", 1)


def where(folder: Path, before: list[str], code: int) -> str:
    """What a process was at when it was killed, as far as its folder tells."""
    if code == 0:
        return "over before the kill"
    if not (folder / "run.json").exists():
        return "reading or compiling"
    if list(folder.glob(".*.tmp")):
        return "saving"
    return "training" if names(folder) != before else "reading or compiling, resumed"


def names(folder: Path) -> list[str]:
    return [path.name for _, path in checkpoint.paths(folder)] if folder.exists() else []


def changed(folder: Path) -> int:
    """When the history was last begun anew or added to, which is where training begins."""
    path = folder / "history.jsonl"
    return path.stat().st_mtime_ns if path.exists() else 0


def killed_and_resumed(folder: Path, words: list[str], seconds: float, train_seconds: float, seed: str) -> Counter:
    """A run that is killed and resumed until it has had its share, and then left to end."""
    generator, places = random.Random(seed), Counter()
    for _ in range(generator.randint(1, EACH)):
        before, begun = names(folder), changed(folder)
        process = start([*next_words(folder, words), "--quiet"])
        if generator.random() < 0.5:  # reading and compiling take longer than training: half of the kills are for that
            while process.poll() is None and changed(folder) == begun:
                time.sleep(0.002)
            time.sleep(generator.uniform(0, 1.5) * train_seconds)
        else:
            time.sleep(generator.uniform(0.1, 1.2) * seconds)
        process.kill()
        places[where(folder, before, process.wait())] += 1
    done = command(*next_words(folder, words), cwd=folder.parent)
    assert done.returncode == 0, done.stderr
    return places


@pytest.mark.thorough
@pytest.mark.parametrize(("model", "kind"), CASES)
def test_runs_killed_at_random_instants_end_with_the_bits_of_the_uninterrupted_one(tmp_path, model, kind):
    words, number = words_of(model, kind), CASES.index((model, kind))
    begun = time.monotonic()
    whole = result("train", *words, "--out", "whole", cwd=tmp_path)
    took = time.monotonic() - begun, whole["seconds"]["train"]
    assert whole["residency"]["kind"] == kind
    assert whole["epochs"] == int(words[words.index("--epochs") + 1])
    runs = [tmp_path / f"run{n}" for n in range(RUNS) if n % len(CASES) == number]
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        told = pool.map(lambda run: killed_and_resumed(run, words, *took, f"{model}{kind}{run.name}"), runs)
        places = sum(told, Counter())
    expected = bits(tmp_path / "whole")
    equal = sum(bits(run) == expected for run in runs)
    kills = places.total() - places["over before the kill"]
    print(f"\n{model}, {kind}: {len(runs)} runs, {kills} kills ({json.dumps(places)}), {equal} equal")
    assert equal == len(runs)
    assert kills > len(runs) // 4, "too few of the kills came in time to say anything"
    assert not [path for run in runs for path in run.glob(".*.tmp")], "a resumed run sweeps what kills have left"
