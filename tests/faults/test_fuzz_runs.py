"""Every file of a run and of a selection, changed in every way: an outcome or one documented error, nothing else.

EPOCHAL_FUZZ cases are tried. They are sealed again after most changes, as a stranger would.
"""

import copy
import json
import os
import random
import shutil
import signal
import struct
from collections import Counter
from collections.abc import Callable, Iterator
from functools import partial
from hashlib import sha256
from pathlib import Path
from typing import Any

import pytest

import epochal
from epochal.errors import CapacityError, DataError, RecipeError, RunError
from epochal.runs import row_file
from epochal.runs.loggers import kept
from epochal.runs.run import resume, training_data
from epochal.selection import select, taken_up
from epochal.system import checksummed, json_file, jsonl
from epochal.training import ledger
from epochal.training.progress import EPOCH
from fuzzing import mutants
from kept_runs import long

COUNT = long("FUZZ", 600)
SECONDS = 60  # that a case may take; none comes near
RUN = (
    "run.json", "run.json", "run.json", "history.jsonl", "test-ledger.jsonl", "best.safetensors", "rows.safetensors",
    "checkpoint", "lock", "logs.json", "recipe.toml",
)  # fmt: skip
SELECTION = (
    "selection.json", "journal.jsonl", "trials/0-0-0.safetensors", "trials/1-0-0.safetensors", "lock", "run/run.json",
    "run/best.safetensors", "results.csv", "progress", "trials", "run",
)  # fmt: skip
ODD: list[Any] = [
    None, True, False, 0, -1, 1, 2**31, 2**53, 2**63 - 1, 2**64, 10**400, -(10**30), 0.5, -0.0, 1e308, 1e-320,
    float("nan"), float("inf"),
    "", "x", "\0", "\ud800", "\x1b[2J", "../../outside/mine", "/etc/passwd", "1" * 5000, [], {},
    [[]], [[[[]]]], {"": {}}, [None], ["x"] * 3, [0] * 1000, {"a": 1}, "FILE.py:NAME", "F8_E4M3",
]  # fmt: skip


@pytest.fixture(scope="module")
def base(tmp_path_factory):
    """A run on a table, a selection, and something outside of both."""
    place = tmp_path_factory.mktemp("base")
    lines = ["a,b,c,y", *(f"{i % 7},{'xyz'[i % 3]},{i / 9:.3f},{('cat', 'dog')[i % 2]}" for i in range(90))]
    (place / "t.csv").write_text("\n".join(lines) + "\n")
    data = epochal.load(place / "t.csv", epochal.Reading(label="y"))
    recipe = epochal.Recipe(epochs=3, batch_size=20)
    epochal.fit(epochal.mlp(3), data, recipe, out=place / "run").test()
    (place / "run" / "logs.json").write_text(json.dumps({"id": "x", "tools": ["tensorboard"], "last": {}}))
    recipes = [epochal.Recipe(epochs=2, batch_size=20, learning_rate=rate) for rate in (0.1, 0.2)]
    select(epochal.logistic(), data, recipes, out=place / "selection")
    (place / "outside").mkdir()
    (place / "outside" / "mine").write_text("mine, without a line end")
    (place / "outside" / "0-0-0.safetensors").write_bytes(b"mine")
    return place


def listing(folder: Path) -> dict[str, str]:
    return {str(p.relative_to(folder)): sha256(p.read_bytes()).hexdigest() for p in folder.rglob("*") if p.is_file()}


def open_run(place: Path, whole: bool) -> None:
    fit = epochal.load_run(place)
    for look in (ledger.entries, kept, training_data):
        documented(lambda look=look: look(place))
    documented(lambda: row_file.read(place, fit.fingerprint))
    documented(lambda: row_file.ledger_keys(place, fit.fingerprint))
    repr(fit)
    if whole:
        resume(place).folder.close()


def open_selection(place: Path, whole: bool) -> None:
    session = taken_up(place)
    try:
        if whole:
            for _ in session.moments():
                pass
            session.finish()
    finally:
        session.close()


def documented(act: Callable[[], object]) -> str:
    """What came of it, which is one of these errors or none."""
    try:
        act()
    except (RunError, DataError, RecipeError, CapacityError) as error:
        text = str(error)
        assert text
        assert "\x1b" not in text
        return type(error).__name__
    return "opened"


class Changes:
    """One change of a folder after another, the same ones for the same seed."""

    def __init__(self, seed: int, names: tuple[str, ...]):
        self.chance, self.names = random.Random(seed), names

    def apply(self, place: Path) -> str:
        """Change one file; its name and what was done to it."""
        chance = self.chance
        name = chance.choice(self.names)
        if name == "checkpoint":
            name = max(path.name for path in place.glob("checkpoint-*"))
        path = place / name
        if path.is_dir() or chance.random() < 0.1:
            return f"{name} {self.replaced(path)}"
        if path.suffix == ".json" and chance.random() < 0.85:
            self.json(path)
        elif path.suffix == ".jsonl" and chance.random() < 0.85:
            self.lines(path)
        elif path.suffix == ".safetensors" and chance.random() < 0.85:
            self.safetensors(path)
        else:
            (changed,) = mutants([path.read_bytes() or b"x"], 1, chance.randrange(2**32))
            path.write_bytes(changed)
            return f"{name} bytes"
        return f"{name} structure"

    def replaced(self, path: Path) -> str:
        kind = self.chance.choice(("link", "FIFO", "device", "folder", "sparse", "absent", "broken link"))
        if path.is_dir() and not path.is_symlink():
            shutil.rmtree(path)
        else:
            path.unlink()
        if kind == "link":
            path.symlink_to(path.parent.parent / "outside" if path.suffix == "" else "../../outside/mine")
        elif kind == "FIFO":
            os.mkfifo(path)
        elif kind == "device":
            path.symlink_to("/dev/zero")
        elif kind == "folder":
            path.mkdir()
        elif kind == "sparse":
            with path.open("wb") as file:
                file.truncate(self.chance.choice((20 << 30, 70 << 20)))
        elif kind == "broken link":
            path.symlink_to("nowhere")
        return kind

    def mutated(self, value: Any) -> Any:
        """A copy with some values changed, lacking, added or exchanged."""
        value = copy.deepcopy(value)
        for _ in range(self.chance.choice((1, 1, 1, 2, 4))):
            spots = list(_spots(value))
            if not spots:
                return self.chance.choice(ODD)
            holder, key = self.chance.choice(spots)
            what = self.chance.randrange(8)
            if what == 0:
                del holder[key]
            elif what == 1 and isinstance(holder, dict):
                holder[self.chance.choice(("", "x", "sha256", "format", "\ud800"))] = self.chance.choice(ODD)
            elif what == 2:
                other, at = self.chance.choice(spots)
                holder[key] = copy.deepcopy(other[at])
            elif what == 3 and isinstance(holder[key], (int, float)):
                holder[key] = holder[key] * self.chance.choice((-1, 2, 10**6, 0.5)) + self.chance.choice((0, 1))
            elif what == 4 and isinstance(holder, list):
                holder.append(copy.deepcopy(holder[key]))
            else:
                holder[key] = copy.deepcopy(self.chance.choice(ODD))
        return value

    def json(self, path: Path) -> None:
        told = self.mutated(json.loads(path.read_text()))
        if isinstance(told, dict) and self.chance.random() < 0.9:
            told = json_file.sealed(told)
        path.write_text(json.dumps(told))

    def lines(self, path: Path) -> None:
        values = [json.loads(text) for text in path.read_bytes().splitlines()]
        chained, last, out = jsonl.BEFORE in values[0], b"", []
        if self.chance.random() < 0.2:
            self.chance.shuffle(values)
        at = self.chance.randrange(len(values))
        values[at] = self.mutated(values[at])
        for value in values:
            seal = chained and isinstance(value, dict) and self.chance.random() < 0.95
            last = jsonl.chained(value, last) if seal else jsonl.line(value)
            out.append(last)
        path.write_bytes(b"".join(out))

    def safetensors(self, path: Path) -> None:
        if self.chance.random() < 0.4:  # what its values say, sealed
            arrays, told = checksummed.read(path)
            told = self.mutated(told)
            if self.chance.random() < 0.3 and arrays:
                name = self.chance.choice(sorted(arrays))
                array = arrays.pop(name)
                arrays[self.chance.choice((name, "x"))] = array.reshape(-1)[: self.chance.choice((0, 1, 10**6))]
            checksummed.write(path, arrays, told)
            return
        content = path.read_bytes()
        (length,) = struct.unpack("<Q", content[:8])
        header = json.dumps(self.mutated(json.loads(content[8 : 8 + length]))).encode()
        size = self.chance.choice((len(header), len(header), len(header) + 8, 0, 2**63, 2**64 - 1))
        path.write_bytes(struct.pack("<Q", size) + header + content[8 + length :])


def _spots(value: Any) -> Iterator[tuple[Any, Any]]:
    for key in value if isinstance(value, dict) else range(len(value)) if isinstance(value, list) else ():
        yield value, key
        yield from _spots(value[key])


def _late(*args: object) -> None:
    raise AssertionError(f"a case takes more than {SECONDS} s")


@pytest.mark.parametrize("kind", ["run", "selection"])
def test_whatever_a_folder_holds_it_is_opened_or_refused_and_nothing_around_it_changes(base, tmp_path, kind, caplog):
    names, act = (RUN, open_run) if kind == "run" else (SELECTION, open_selection)
    changes, outcomes = Changes(0, names), Counter[str]()
    around = tmp_path / "around"
    shutil.copytree(base / "outside", around / "outside")
    before = listing(around / "outside")
    share = COUNT if kind == "run" else COUNT // 5
    signal.signal(signal.SIGALRM, _late)
    for number in range(share):
        place = around / kind
        shutil.rmtree(place, ignore_errors=True)
        shutil.copytree(base / kind, place)
        done = changes.apply(place)
        signal.alarm(SECONDS)
        try:
            outcome = documented(partial(act, place, number % 40 == 0))
        except Exception as error:
            raise AssertionError(f"case {number}, {done}: {error!r}") from error
        finally:
            signal.alarm(0)
        outcomes[outcome] += 1
        caplog.clear()
        assert listing(around / "outside") == before, f"case {number}, {done}"
        assert {path.name for path in around.iterdir()} == {"outside", kind}, f"case {number}, {done}"
    print(f"\n{share:,} changes of a {kind}: {dict(outcomes)}")
    assert outcomes["RunError"] > share / 8
    assert outcomes["opened"]


def test_the_records_hold_what_a_run_tells(base):
    """An oracle for the fuzzing: unchanged, everything opens."""
    assert documented(lambda: open_run(base / "run", False)) == "opened"
    assert documented(lambda: open_selection(base / "selection", True)) == "opened"
    epochs = [EPOCH(json.loads(text), "") for text in (base / "run/history.jsonl").read_text().splitlines()]
    assert [epoch.epoch for epoch in epochs] == [1, 2, 3]
