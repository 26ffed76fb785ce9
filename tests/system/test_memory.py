"""Amounts of memory, written and read, and what the machine or its control group has left."""

from fractions import Fraction
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from epochal.system import memory
from epochal.system.memory import available_bytes, format_bytes, parse_bytes


@pytest.mark.parametrize(
    ("text", "count"),
    [
        ("0", 0), ("1", 1), ("1024", 1024), (1024, 1024), ("5B", 5), ("5 bytes"[:3], 5), ("1k", 1000), ("1kB", 1000),
        ("1KiB", 1024), ("1ki", 1024), ("500MB", 5 * 10**8), ("2GB", 2 * 10**9), ("2GiB", 2 << 30),
        (" 1.5 gb ", 15 * 10**8),
        ("1TB", 10**12), ("1tib", 1 << 40), ("0.5KiB", 512), ("9007199254740993", 2**53 + 1),
        ("1.0000000000001TB", 10**12),
        ("1.000000000001TB", 10**12 + 1),
    ],
)  # fmt: skip
def test_amounts_are_read_exactly(text, count):
    assert parse_bytes(text) == count


@pytest.mark.parametrize(
    "text",
    ["", " ", "B", "GB", "-1", "-1GB", "+1GB", "1e9", "1.GB", ".5GB", "5IB", "5i", "1PB", "1,000", "1 0", "two GB",
     "inf", "nan", "0x10", "1GBB", "1MM", "٣GB", "1_000", True, None, 1.5e300, "9" * 31, "9" * 9999, "1GB\n2"],
)  # fmt: skip
def test_what_is_no_amount_is_a_value_error_that_shows_how(text):
    with pytest.raises(ValueError, match="is no amount of memory; write it like 500MB, 2GB or 2GiB"):
        parse_bytes(text)


@given(st.integers(0, 10**15))
def test_the_text_of_an_amount_is_read_as_nearly_that_amount(count):
    text = format_bytes(count)
    number, unit = text.split()
    assert len(number) <= 6
    assert Fraction(abs(parse_bytes(text.replace(" bytes", "")) - count)) <= Fraction(count, 19), (text, unit)


@pytest.mark.parametrize(
    ("count", "text"),
    [
        (0, "0 bytes"), (999, "999 bytes"), (1000, "1.0 kB"), (9949, "9.9 kB"), (9950, "10 kB"), (999_499, "999 kB"),
        (999_500, "1.0 MB"), (47_040_016, "47 MB"), (2 << 30, "2.1 GB"), (10**12, "1.0 TB"), (25 * 10**12, "25.0 TB"),
        (1500.0, "1.5 kB"),
    ],
)  # fmt: skip
def test_amounts_are_written_with_two_digits_or_more(count, text):
    assert format_bytes(count) == text


def test_something_is_available_here():
    assert 1 << 20 < available_bytes() < 1 << 60


def group(folder: Path, version: int, limit: str, used: str, stat: str | None = None) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    names = ("memory.max", "memory.current") if version == 2 else ("memory.limit_in_bytes", "memory.usage_in_bytes")
    for name, content in zip(names, (limit, used), strict=True):
        (folder / name).write_text(content + "\n")
    if stat is not None:
        (folder / "memory.stat").write_text(stat)


@pytest.fixture
def left(tmp_path):
    """What the groups below `root` leave to a process whose own group is told by `own`."""

    def left(own: str = "0::/\n") -> int:
        (tmp_path / "own").write_text(own)
        return memory._cgroup_bytes(tmp_path / "root", tmp_path / "own")

    return left


def test_a_container_of_version_2(tmp_path, left):
    group(tmp_path / "root", 2, "1000", "400")
    assert left() == 600


def test_a_container_of_version_1(tmp_path, left):
    group(tmp_path / "root" / "memory", 1, "1000", "400")
    assert left("4:memory:/docker/abc\n3:cpu:/\n0::/\n") == 600
    assert left("7:cpu,memory:/\n") == 600
    assert left("3:cpu:/\n") == memory._NO_LIMIT


def test_cached_files_count_as_free(tmp_path, left):
    group(tmp_path / "root", 2, "1000", "900", "anon 100\nother_inactive_file 5\ninactive_file 700\nactive_file 100\n")
    assert left() == 800
    group(
        tmp_path / "root" / "memory",
        1,
        "1000",
        "950",
        "inactive_file 1\nhierarchical_total_inactive_file 2\ntotal_inactive_file 500\n",
    )
    assert left("4:memory:/\n") == 550


def test_the_tightest_of_the_own_group_and_those_above_counts(tmp_path, left):
    root = tmp_path / "root"
    group(root / "job" / "step", 2, "max", "100")
    group(root / "job", 2, "700", "300")
    group(root, 2, "1000", "500")
    assert left("0::/job/step\n") == 400
    group(root / "job" / "step", 2, "150", "100")
    assert left("0::/job/step\n") == 50
    assert left("0::/elsewhere\n") == 500


def test_more_used_than_granted_is_nothing_left(tmp_path, left):
    group(tmp_path / "root", 2, "1000", "1200")
    assert left() == 0


@pytest.mark.parametrize(("limit", "used"), [("max", "400"), ("", ""), ("what", "400"), ("1000", "-"), ("-1", "5")])
def test_no_limit_and_what_is_not_understood_bound_nothing(tmp_path, left, limit, used):
    group(tmp_path / "root", 2, limit, used)
    assert left() == memory._NO_LIMIT


def test_without_control_groups_the_machine_decides(tmp_path, monkeypatch):
    assert memory._cgroup_bytes(tmp_path / "none", tmp_path / "none") == memory._NO_LIMIT
    monkeypatch.setattr(memory, "_cgroup_bytes", lambda: 7)
    assert available_bytes() == 7


def test_without_proc_half_of_what_is_installed_is_guessed(monkeypatch):
    monkeypatch.setattr(memory, "_text", lambda path: "")
    assert 1 << 28 < memory._machine_bytes() < 1 << 50
    monkeypatch.delattr(memory.os, "sysconf")
    assert memory._machine_bytes() == 4 << 30
