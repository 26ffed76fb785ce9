"""Bytes of files: plain, gzip, damaged, and far too large."""

import gzip
import os
import tracemalloc
import zlib
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from epochal.data.loading import load
from epochal.data.sources import files
from epochal.data.sources.files import brief, first_bytes, locate, memory_limit, read_bytes
from epochal.errors import DataError
from refusals import refusal
from work import at_most

MB = 1 << 20
BOTH = st.sampled_from([lambda data: data, lambda data: gzip.compress(data, mtime=0)])
IN_ONE_FOLDER = settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])


@pytest.fixture
def write(tmp_path):
    def write(data: bytes, name: str = "file") -> Path:
        path = tmp_path / name
        path.write_bytes(data)
        return path

    return write


def peak(call, *args) -> int:
    """The most bytes that Python held during the call, which must be refused."""
    tracemalloc.start()
    try:
        refusal(call, *args)
        return tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()


@IN_ONE_FOLDER
@given(data=st.binary(min_size=1, max_size=3000).filter(lambda data: data[:1] != b"\x1f"), pack=BOTH)
def test_reading_gives_the_bytes_that_were_written(write, data, pack):
    view = read_bytes(write(pack(data)), len(data))
    assert view == data
    assert view.readonly


@IN_ONE_FOLDER
@given(parts=st.lists(st.binary(max_size=300).filter(lambda data: data[:1] != b"\x1f"), min_size=1, max_size=6))
def test_gzip_members_are_joined_also_empty_ones(write, parts):
    assert read_bytes(write(b"".join(map(gzip.compress, parts))), 10_000) == b"".join(parts)


@pytest.mark.parametrize("piece", [1, 2, 7, 64])
def test_no_boundary_of_a_piece_matters(write, monkeypatch, piece):
    data = os.urandom(500) + bytes(3000)
    path = write(gzip.compress(data, mtime=0) + gzip.compress(b"", mtime=0) + gzip.compress(data[::-1], mtime=0))
    monkeypatch.setattr(files, "_PIECE", piece)
    monkeypatch.setattr(files, "_BURST", 11)
    assert read_bytes(path, 10_000) == data + data[::-1]


def test_the_limit_is_exact_and_the_message_says_how_to_grant_more(write):
    for name, data in (("plain", bytes(1500)), ("packed", gzip.compress(bytes(1500), mtime=0))):
        path = write(data, name)
        assert len(read_bytes(path, 1500)) == 1500
        told = refusal(read_bytes, path, 1499)
        assert str(path) in told
        assert "more than 1.5 kB" in told
        assert "host_memory=…" in told
        assert "memory_bytes" not in told


@pytest.mark.parametrize("limit", [0, -1])
def test_a_limit_of_nothing_refuses_everything(write, limit):
    refusal(read_bytes, write(gzip.compress(b"abc", mtime=0)), limit)
    refusal(read_bytes, write(b"abc"), limit)


def test_a_file_that_grows_while_it_is_read_is_still_bounded(write, monkeypatch):
    path = write(bytes(5000))
    monkeypatch.setattr(files, "_BURST", 1000)
    monkeypatch.setattr(Path, "stat", lambda self, **_: os.stat_result([0] * 10))  # as it was before it grew
    assert "more than 2.0 kB" in refusal(read_bytes, path, 2000)


def test_a_gzip_bomb_is_met_before_it_has_gone_off(write):
    bomb = zlib.compressobj(9, wbits=31)
    packed = b"".join(bomb.compress(bytes(MB)) for _ in range(300)) + bomb.flush()
    assert len(packed) < MB
    path = write(packed)
    for limit in (-1, 4 * MB, 40 * MB):
        with at_most(seconds=3):
            assert peak(read_bytes, path, limit) < 2 * max(limit, MB)


def test_a_plain_file_beyond_the_limit_is_not_read_at_all(write):
    path = write(b"")
    os.truncate(path, 1 << 40)
    assert peak(read_bytes, path, 1 << 30) < MB


def test_reading_takes_the_memory_of_the_file_and_not_that_of_the_limit(write):
    for data in (os.urandom(4 * MB), gzip.compress(bytes(4 * MB), mtime=0)):
        path = write(data)
        tracemalloc.start()
        read_bytes(path, 1 << 40)
        most = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        assert most < 8 * MB


def test_many_empty_gzip_members_take_no_quadratic_time(write):
    path = write(gzip.compress(b"", mtime=0) * 300_000 + gzip.compress(b"end", mtime=0))
    with at_most(seconds=3):
        assert read_bytes(path, 10) == b"end"


def test_a_file_compressed_twice_is_refused_by_that_name(write):
    assert "unpack the file once" in refusal(read_bytes, write(gzip.compress(gzip.compress(b"abc"), mtime=0)), 1000)


def test_every_prefix_of_a_gzip_file_is_refused(write):
    packed = gzip.compress(b"some rows and some more rows" * 3, mtime=0)
    for size in range(len(packed)):
        told = refusal(read_bytes, write(packed[:size]), 1000)
        assert f"byte {size:,}" in told
        assert "fetch" in told
        assert ("empty" if size == 0 else "cut short") in told


def test_every_prefix_of_two_members_is_refused_but_the_first_whole_one(write):
    first, second = gzip.compress(b"one", mtime=0), gzip.compress(b"two", mtime=0)
    for size in range(len(first) + 1, len(first + second)):
        refusal(read_bytes, write((first + second)[:size]), 1000)
    assert read_bytes(write(first + second), 1000) == b"onetwo"


@pytest.mark.parametrize("garbage", [b"x", b"\0", b"\0" * 512, b"PK\3\4", b"\x1fx" * 20])
def test_bytes_after_the_gzip_data_are_refused_with_their_place(write, garbage):
    packed = gzip.compress(b"rows", mtime=0)
    assert f"byte {len(packed):,}: " in refusal(read_bytes, write(packed + garbage), 1000)


@pytest.mark.parametrize("garbage", [b"\x1f", b"\x1f\x8b", gzip.compress(b"more", mtime=0)[:-1]])
def test_the_beginning_of_one_more_member_is_a_file_cut_short(write, garbage):
    packed = gzip.compress(b"rows", mtime=0) + garbage
    assert f"byte {len(packed):,}: the gzip data end too early" in refusal(read_bytes, write(packed), 1000)


def test_a_flipped_bit_of_a_gzip_file_never_gives_other_data(write):
    data = b"0123456789" * 20 + bytes(range(256))
    packed = gzip.compress(data, mtime=0)
    same = 0
    for place in range(len(packed)):
        for bit in range(8):
            damaged = bytearray(packed)
            damaged[place] ^= 1 << bit
            try:
                read = read_bytes(write(bytes(damaged)), 10_000)
            except DataError:
                continue
            # The first two bytes say that it is gzip at all; the readers' own magic numbers refuse what is none.
            assert read == data or place < 2
            same += place >= 2
    assert 0 < same < 80, "time, flags and system of the header are not part of the data"


def test_what_is_no_readable_file_is_refused(tmp_path):
    assert "No such file" in refusal(read_bytes, tmp_path / "missing.npy", 100)
    assert "Is a directory" in refusal(read_bytes, tmp_path, 100)


@pytest.mark.skipif(not Path("/proc/self/mem").exists(), reason="a file that opens and cannot be read is Linux's")
def test_a_file_whose_reading_fails_is_refused():
    told = refusal(read_bytes, Path("/proc/self/mem"), 100)
    assert "/proc/self/mem: cannot be read: " in told
    assert "check its path" in told


@pytest.mark.skipif(os.name != "posix" or os.geteuid() == 0, reason="root may read everything")
def test_a_file_without_permission_is_refused(write):
    path = write(b"secret")
    path.chmod(0)
    assert "Permission denied" in refusal(read_bytes, path, 100)


@pytest.mark.parametrize(
    "data",
    [b"abcdefg", gzip.compress(b"abcdefg", mtime=0), gzip.compress(b"abc", mtime=0) + gzip.compress(b"d", mtime=0)],
)
def test_first_bytes_are_those_of_the_content(write, data):
    path = write(data)
    assert first_bytes(path, 3) == b"abc"
    assert first_bytes(path, 3) == read_bytes(path, 100)[:3]


def test_first_bytes_of_what_cannot_be_read_are_none(write, tmp_path):
    assert first_bytes(tmp_path / "missing", 4) == b""
    assert first_bytes(tmp_path, 4) == b""
    assert first_bytes(write(b"\x1f\x8bxxxxxxxxxxxx"), 4) == b""
    assert first_bytes(write(b"ab"), 4) == b"ab"


def test_paths_that_cannot_be_are_none(tmp_path):
    assert locate(tmp_path) == tmp_path
    assert locate("~") == Path.home()
    for source in (tmp_path / "missing", "x" * 5000, "a\0b", "~no-such-user-of-this-machine/file"):
        assert locate(source) is None


def test_the_memory_limit_is_as_asked_or_a_quarter_of_what_is_free(monkeypatch):
    monkeypatch.setattr(files, "available_bytes", lambda: 1001)
    assert memory_limit(None) == 250
    assert memory_limit(7) == 7
    assert memory_limit(0) == 0


def test_an_error_in_brief_is_its_first_line_or_its_kind():
    assert brief(ValueError("one\ntwo")) == "one"
    assert brief(MemoryError()) == "MemoryError"
    assert brief(ValueError("\nx")) == "ValueError"


@pytest.mark.parametrize(
    "name", ["x.csv", "x.csv.gz", "x.npy", "x.npz", "x.pkl", "x.parquet", "x.arrow", "x-ubyte", "x"]
)
def test_pipes_and_devices_are_refused_at_once(tmp_path, name):
    path = tmp_path / name
    os.mkfifo(path)
    assert f"{path}: is a pipe; data are read from files" in refusal(load, path, label="y")
    path.unlink()
    path.symlink_to("/dev/zero")
    assert f"{path}: is a device; data are read from files" in refusal(load, path, label="y")
