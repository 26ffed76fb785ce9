"""A cache under attack: planted links, folders of others, damaged and forged entries: the rows stay the file's."""

import gzip
import json
import os
import random
import shutil
import stat
from contextlib import suppress
from pathlib import Path

import numpy as np
import pytest

import epochal
from campaigns import share
from epochal.data.sources.tables import text_tables
from epochal.errors import DataError, RecipeError
from epochal.system import cache_folder, disk_cache
from epochal.system.disk import Output
from fuzzing import EDGES
from needs import require
from refusals import refusal

KEY = disk_cache.key(["test"])
FILES = ("config", "notes", "rows", "entry.json", "lock")
FUZZ = share("FUZZ", 100, short=20)


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch):
    monkeypatch.setenv("EPOCHAL_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(text_tables, "_BLOCK_CELLS", 300)
    return tmp_path / "cache" / "rows"


def make(content: bytes = b"12345678") -> disk_cache.Entry:
    with disk_cache.EntryWriter(KEY) as writer, Output(writer.folder / "rows", len(content)) as file:
        file.write(np.frombuffer(content, np.uint8))
        return writer.commit({"a": 1}, {"rows": file.digest})


def table(path: Path, rows: int = 300, seed: int = 0) -> Path:
    generator = random.Random(seed)
    lines = [f"{generator.random():.9f},{generator.choice('uvw')},{'pq'[i % 2]}" for i in range(rows)]
    path.write_text("\n".join(["a,b,y", *lines]))
    return path


def load(path: Path) -> epochal.Dataset:
    return epochal.load(path, label="y", host_memory=3000)


def test_a_planted_link_is_not_followed_and_loses_nobody_a_file(tmp_path, cache):
    home = tmp_path / "home"
    home.mkdir()
    for name in FILES:
        (home / name).write_text(name)
    cache.mkdir(parents=True)
    (cache / KEY).symlink_to(home)
    (cache / f".{KEY}.abc.part").symlink_to(home)
    assert disk_cache.find(KEY) is None
    assert make().folder == cache / KEY
    assert disk_cache.find(KEY)
    assert not (cache / KEY).is_symlink()
    assert {path.name: path.read_text() for path in home.iterdir()} == {name: name for name in FILES}


@pytest.mark.parametrize("name", ["entry.json", "rows"])
def test_files_of_an_entry_are_files_and_no_links(tmp_path, cache, name):
    make()
    (cache / KEY / name).rename(tmp_path / name)
    (cache / KEY / name).symlink_to(tmp_path / name)
    assert disk_cache.find(KEY) is None
    assert make().folder == cache / KEY
    assert (tmp_path / name).is_file()


def test_folders_and_files_of_the_cache_are_this_users_alone(cache):
    before = os.umask(0)
    try:
        make()
    finally:
        os.umask(before)
    assert all(stat.S_IMODE(path.stat().st_mode) == (0o700 if path.is_dir() else 0o600) for path in cache.rglob("*"))


@pytest.mark.skipif(os.name != "posix", reason="needs modes of folders")
def test_a_folder_that_others_may_write_to_holds_one_for_each_user(tmp_path, cache):
    for mode in (0o1777, 0o777, 0o775):
        cache.parent.mkdir(exist_ok=True)
        cache.parent.chmod(mode)
        own = cache.parent / f"user-{os.geteuid()}"
        assert cache_folder.cache_folder() == own
        assert make().folder == own / "rows" / KEY
    assert stat.S_IMODE(own.stat().st_mode) == 0o700


@pytest.mark.skipif(os.name != "posix", reason="needs modes of folders")
def test_rows_that_others_may_write_to_are_refused_by_name(cache):
    make()
    cache.chmod(0o777)
    assert disk_cache.find(KEY) is None, "nothing is read from there"
    assert f"{cache}: can be written by others (mode 0777)" in refusal(make)
    cache.chmod(0o700)
    assert disk_cache.find(KEY)


def test_rows_that_are_a_link_are_refused(tmp_path, cache):
    (tmp_path / "elsewhere").mkdir()
    cache.parent.mkdir()
    cache.symlink_to(tmp_path / "elsewhere")
    assert "is a link; name the folder that it leads to with EPOCHAL_CACHE" in refusal(make)


@pytest.mark.skipif(os.name != "posix" or os.geteuid() != 0, reason="only root can give a folder to another")
def test_a_folder_of_another_user_is_never_used(cache):
    make()
    os.chown(cache, 12345, 12345)
    assert disk_cache.find(KEY) is None
    assert "belongs to user 12345" in refusal(make)
    os.chown(cache.parent, 12345, 12345)
    assert make().folder.parent == cache.parent / f"user-{os.geteuid()}" / "rows"


def test_a_cache_of_an_unknown_user_is_told(monkeypatch):
    monkeypatch.setenv("EPOCHAL_CACHE", "~nobody-at-all/x")
    assert "EPOCHAL_CACHE: the cache folder cannot be found" in refusal(make)


def test_a_content_that_changes_in_place_is_converted_anew_whatever_its_times(tmp_path, cache):
    path = table(tmp_path / "t.csv")
    before, times = load(path).fingerprint, path.stat()
    path.write_text(path.read_text().replace(",p", ",#").replace(",q", ",p").replace(",#", ",q"))
    os.utime(path, ns=(times.st_atime_ns, times.st_mtime_ns))
    assert path.stat().st_size == times.st_size
    assert load(path).fingerprint == epochal.load(path, label="y").fingerprint != before


def changed(generator: random.Random, value):
    """The value with one thing in it that is another, of any kind."""
    if isinstance(value, dict) and value and generator.random() < 0.9:
        name = generator.choice(sorted(value))
        return {**value, name: changed(generator, value[name])}
    if isinstance(value, list) and value and generator.random() < 0.9:
        at = generator.randrange(len(value))
        return [*value[:at], changed(generator, value[at]), *value[at + 1 :]]
    return generator.choice([None, True, "", "x", "../x", [], {}, [[]], -1, 1e300, *EDGES])


@pytest.mark.campaign
@pytest.mark.filterwarnings("ignore:.*")
def test_whatever_is_done_to_an_entry_the_rows_are_those_of_the_file(tmp_path, cache):
    path = table(tmp_path / "t.csv")
    truth = load(path).fingerprint
    generator = random.Random(5)
    for _ in range(FUZZ):
        if len(list(cache.iterdir())) > 8:  # of rows that were converted again, nothing refers to their features
            shutil.rmtree(cache)
            load(path)
        place = generator.choice([one for one in sorted(cache.iterdir()) if one.is_dir()])
        disk_cache._checked.clear()  # as in a new process
        if generator.random() < 0.5:
            with suppress(ValueError):  # it is damaged already, and nothing has needed it since
                entry = changed(generator, json.loads((place / "entry.json").read_text()))
                if generator.random() < 0.5 and isinstance(entry, dict):  # sealed again by who has not the key
                    entry["hmac"] = disk_cache._signature(
                        bytes(32), place.name, entry.get("metadata"), entry.get("files")
                    )
                (place / "entry.json").write_text(json.dumps(entry))
        else:
            file = generator.choice(sorted(one for one in (*place.iterdir(), cache / "hmac.key") if one.is_file()))
            times, content = file.stat(), bytearray(file.read_bytes())
            if content:
                content[generator.randrange(len(content))] ^= 1 << generator.randrange(8)
            file.write_bytes(content)
            os.utime(file, ns=(times.st_atime_ns, times.st_mtime_ns))
        assert load(path).fingerprint == truth


@pytest.mark.parametrize("value", [1e-300, 1e300, 9e-31, 2e30])
def test_a_divisor_that_makes_features_infinite_or_zero_is_refused(value):
    with pytest.raises(RecipeError, match="divisor: must be from 1e-30 to 1e\\+30"):
        epochal.load("digits", divisor=value)


def test_a_cache_that_is_strange_is_no_matter_for_what_needs_none(tmp_path, cache):
    cache.parent.mkdir()
    cache.write_text("")
    assert len(epochal.load(table(tmp_path / "t.csv"), label="y").classes) == 2
    with pytest.raises(DataError, match="cannot be kept there"):
        load(tmp_path / "t.csv")


def test_a_mnist_with_labels_of_another_is_said_to_be_another(tmp_path, monkeypatch):
    monkeypatch.setenv("EPOCHAL_DATA", str(require("mnist.pkl.gz").parent))
    assert epochal.load("mnist").notes == epochal.load("mnist", offline=True).notes
    assert not [note for note in epochal.load("mnist").notes if "SHA-256" in note]
    folder = tmp_path / "data" / "mnist"
    shutil.copytree(
        require("train-labels-idx1-ubyte.gz").parent, folder, ignore=shutil.ignore_patterns("tables", "*.pkl*")
    )
    path = folder / "train-labels-idx1-ubyte.gz"
    content = bytearray(gzip.decompress(path.read_bytes()))
    content[8:] = bytes((label + 1) % 10 for label in content[8:])
    path.write_bytes(gzip.compress(content))
    monkeypatch.setenv("EPOCHAL_DATA", str(tmp_path / "data"))
    [note] = [note for note in epochal.load("mnist").notes if "SHA-256" in note]
    assert note.startswith(f"{folder}: train-labels-idx1-ubyte.gz is not as published (another SHA-256)")
