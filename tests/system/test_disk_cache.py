"""Entries of the cache: whole or not at all, whatever happens to their makers and to their files."""

import errno
import os
import shutil
import signal
import subprocess
import sys
import threading
import time
from hashlib import sha256

import numpy as np
import pytest

from epochal.errors import DataError
from epochal.system import disk_cache
from epochal.system.cache_folder import Folder
from epochal.system.disk import Output
from refusals import refusal

KEY = disk_cache.key(["test"])


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch):
    monkeypatch.setenv("EPOCHAL_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache" / "rows"


def inside(cache) -> list[str]:
    return sorted(path.name for path in cache.iterdir() if path.name != "hmac.key")


def make(content: bytes = b"12345678", told=None) -> disk_cache.Entry:
    with disk_cache.EntryWriter(KEY) as writer:
        with Output(writer.folder / "rows", len(content)) as file:
            file.write(np.frombuffer(content, np.uint8))
        return writer.commit(told or {"a": 1}, {"rows": file.digest})


def test_an_entry_is_found_once_it_is_whole(cache):
    assert disk_cache.find(KEY) is None
    with disk_cache.EntryWriter(KEY) as writer:
        (writer.folder / "rows").write_bytes(b"1")
        assert disk_cache.find(KEY) is None
        entry = writer.commit({"shape": [1, 2]}, {"rows": sha256(b"1").hexdigest()})
    assert entry.folder == cache / KEY
    assert disk_cache.find(KEY) == entry
    assert (entry.metadata, entry.bytes) == ({"shape": [1, 2]}, 1)
    assert inside(cache) == [KEY]
    assert "its rows take more than 99 bytes" in entry.note("its rows take", 99)


def test_a_maker_that_fails_leaves_nothing(cache):

    def fail() -> None:
        with disk_cache.EntryWriter(KEY) as writer:
            (writer.folder / "rows").write_bytes(b"1")
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        fail()
    assert inside(cache) == []


@pytest.mark.parametrize("damage", ["cut", "longer", "flipped", "gone", "metadata", "no json", "no list"])
def test_a_damaged_entry_is_not_found_and_is_made_anew(cache, damage):
    rows, entry = cache / KEY / "rows", cache / KEY / "entry.json"
    make()
    assert disk_cache.find(KEY)
    if damage == "cut":
        os.truncate(rows, 7)
    elif damage == "longer":
        rows.write_bytes(b"123456789")
    elif damage == "flipped":
        times = rows.stat()
        rows.write_bytes(b"87654321")
        os.utime(rows, ns=(times.st_atime_ns, times.st_mtime_ns))
    elif damage == "gone":
        rows.unlink()
    elif damage == "metadata":
        entry.write_text(entry.read_text().replace('"a": 1', '"a": 2'))
    else:
        entry.write_text({"no json": "{", "no list": "[]"}[damage])
    assert disk_cache.find(KEY) is None
    assert make(b"new").bytes == 3
    assert disk_cache.find(KEY)
    assert inside(cache) == [KEY]


def test_the_key_tells_files_and_options_apart(tmp_path):
    path = tmp_path / "x.csv"
    path.write_text("a")
    seen = {disk_cache.key([disk_cache.states([path]), option]) for option in (1, 2, "2", None)}
    os.utime(path, ns=(0, 0))
    seen.add(disk_cache.key([disk_cache.states([path]), 1]))
    path.write_text("ab")
    os.utime(path, ns=(0, 0))
    seen.add(disk_cache.key([disk_cache.states([path]), 1]))
    assert len(seen) == 6
    assert disk_cache.digest([str(path)]) == disk_cache.digest([str(path)]) != disk_cache.digest([])


def test_two_makers_at_once_both_get_the_entry_and_one_wins(cache):
    barrier, found = threading.Barrier(4), []

    def maker() -> None:
        with disk_cache.EntryWriter(KEY) as writer:
            (writer.folder / "rows").write_bytes(b"1234")
            barrier.wait(timeout=600)
            found.append(writer.commit({"a": 1}, {"rows": sha256(b"1234").hexdigest()}))

    threads = [threading.Thread(target=maker) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(found) == 4
    assert {entry.folder for entry in found} == {cache / KEY}
    assert inside(cache) == [KEY]


def test_what_a_killed_maker_left_is_removed_by_the_next_and_nothing_else(cache):
    code = (
        "import sys, time; from epochal.system import disk_cache\n"
        "with disk_cache.EntryWriter(sys.argv[1]) as writer:\n"
        "    (writer.folder / 'rows').write_bytes(b'half'); print('made', flush=True); time.sleep(60)"
    )
    child = subprocess.Popen([sys.executable, "-c", code, KEY], stdout=subprocess.PIPE, env=os.environ)
    assert child.stdout
    assert child.stdout.readline() == b"made\n"
    [part] = cache.glob(".*.part")
    strange = cache / ".strange.part"
    strange.mkdir()
    (strange / "precious").write_bytes(b"")
    make()
    assert part.is_dir(), "its maker is alive"
    shutil.rmtree(cache / KEY)
    child.send_signal(signal.SIGKILL)
    child.wait()
    child.stdout.close()
    assert disk_cache.find(KEY) is None
    make()
    assert inside(cache) == sorted([strange.name, KEY])


def test_a_folder_whose_maker_has_not_yet_the_lock_is_left_alone_for_a_while(cache):
    cache.mkdir(parents=True)
    young, old = cache / f".{KEY}.abc.part", cache / f".{KEY}.abd.part"
    for place in (young, old):
        place.mkdir()
    os.utime(old, (0, time.time() - 10_000))
    make()
    assert young.is_dir()
    assert not old.exists()


def test_a_folder_of_others_that_looks_like_ours_loses_no_file_of_theirs(cache):
    place = cache / f".{KEY}.abc.part"
    (place / "folder").mkdir(parents=True)
    (place / "Letter.txt").write_text("dear")
    os.utime(place, (0, 0))
    make()
    assert (place / "Letter.txt").read_text() == "dear"


def test_a_full_disk_is_told_with_bytes_and_remedy_and_leaves_nothing(cache, monkeypatch):
    monkeypatch.setattr(shutil, "disk_usage", lambda path: shutil._ntuple_diskusage(9, 8, 7))
    told = refusal(make)
    assert "(there is no room): 8 bytes are needed, where 7 bytes are free; make room, name another folder" in told
    assert str(cache) in told
    assert inside(cache) == []


@pytest.mark.skipif(sys.platform != "linux", reason="needs a limit on the size of files")
def test_a_write_that_fails_halfway_leaves_nothing(cache):
    code = (
        "import resource, sys, numpy as np\n"
        "from epochal.system import disk_cache\n"
        "from epochal.system.disk import Output\n"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (1000, 1000))\n"
        "try:\n"
        "    with disk_cache.EntryWriter(sys.argv[1]) as writer, Output(writer.folder / 'rows') as file:\n"
        "        for _ in range(9): file.write(np.zeros(200, np.uint8))\n"
        "except Exception as error: print(type(error).__name__, error)"
    )
    done = subprocess.run([sys.executable, "-c", code, KEY], capture_output=True, text=True, check=True)
    assert done.stdout.startswith(f"DataError {cache}")
    assert "(File too large): 1,000 bytes or more are needed" in done.stdout.replace("1.0 kB", "1,000 bytes")
    assert inside(cache) == []


def test_a_cache_that_cannot_be_written_is_told(tmp_path, monkeypatch):
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("EPOCHAL_CACHE", str(tmp_path / "file"))
    assert "name another folder with EPOCHAL_CACHE" in refusal(make)


def test_a_failing_rename_is_told(monkeypatch):
    def fail(*_):
        raise OSError(errno.EIO, "Input/output error")

    monkeypatch.setattr(Folder, "rename", fail)
    with pytest.raises(DataError, match="cannot be put there; remove that folder"):
        make()


def test_files_that_change_while_they_are_read_are_refused(tmp_path):
    path = tmp_path / "x"
    path.write_text("a")
    states = disk_cache.states([path])
    disk_cache.unchanged([path], states)
    path.write_text("ab")
    assert "had 1 bytes, now 2; begin again" in refusal(disk_cache.unchanged, [path], states)
    path.unlink()
    assert "cannot be read: No such file" in refusal(disk_cache.unchanged, [path], states)
