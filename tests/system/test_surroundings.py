"""What the bits of a run depend on is kept with it, and compared where it is taken up again."""

import json
import os
import sys

import pytest

from commands import epochal, result
from epochal.system import environment

LINUX = pytest.mark.skipif(sys.platform != "linux", reason="needs the affinity of processes")
WORDS = ["--model", "logistic", "--epochs", "2", "--no-open-test", "--out"]


@LINUX
def test_the_cores_are_those_that_the_process_may_use(monkeypatch):
    for name in ("PJRT_NPROC", "NPROC"):
        monkeypatch.delenv(name, raising=False)
    assert environment.cores() == len(os.sched_getaffinity(0))
    mine = os.sched_getaffinity(0)
    os.sched_setaffinity(0, {min(mine)})
    try:
        assert environment.cores() == 1
    finally:
        os.sched_setaffinity(0, mine)
    monkeypatch.setenv("PJRT_NPROC", "7")
    assert environment.cores() == 7


@LINUX
def test_a_run_begun_on_one_core_is_named_on_two_and_refused_by_strict(tmp_path):
    mine = os.sched_getaffinity(0)
    if len(mine) < 2:
        pytest.skip("needs two cores")
    os.sched_setaffinity(0, {min(mine)})
    try:
        result("train", *WORDS, "run", cwd=tmp_path)
    finally:
        os.sched_setaffinity(0, mine)
    done = epochal("resume", "run", "--strict", cwd=tmp_path)
    assert done.returncode == 2
    assert f"was begun elsewhere: cores was 1, is {len(mine)}; resume it there, or without --strict" in done.stderr
    assert f"bits may differ from an uninterrupted run: cores was 1, is {len(mine)}" in epochal(
        "resume", "run", cwd=tmp_path
    ).stderr  # fmt: skip


@pytest.mark.parametrize(
    ("name", "value", "told"),
    [
        ("XLA_FLAGS", "--xla_cpu_enable_fast_math=true", "XLA_FLAGS was not set, is --xla_cpu_enable_fast_math=true"),
        ("JAX_THREEFRY_PARTITIONABLE", "0", "jax_threefry_partitionable was True, is False"),
        ("JAX_DEFAULT_PRNG_IMPL", "rbg", "jax_default_prng_impl was threefry2x32, is rbg"),
        ("JAX_DEFAULT_MATMUL_PRECISION", "bfloat16", "jax_default_matmul_precision was None, is bfloat16"),
    ],
)
def test_settings_that_change_bits_are_named(tmp_path, name, value, told):
    result("train", *WORDS, "run", cwd=tmp_path)
    versions = json.loads((tmp_path / "run" / "run.json").read_text())["versions"]
    assert versions["processor"] == environment.processor()
    done = epochal("resume", "run", "--strict", cwd=tmp_path, **{name: value})
    assert done.returncode == 2
    assert told in done.stderr
    assert epochal("resume", "run", "--strict", cwd=tmp_path).returncode == 0


def test_a_selection_is_compared_too(tmp_path):
    result("select", "--learning-rate", "0.1,0.2", "--model", "logistic", "--epochs", 1, "--out", "s", cwd=tmp_path)
    done = epochal("resume", "s", "--strict", cwd=tmp_path, XLA_FLAGS="--xla_cpu_enable_fast_math=true")
    assert done.returncode == 2
    assert "s: was begun elsewhere: XLA_FLAGS was not set" in done.stderr
    assert epochal("resume", "s", "--strict", cwd=tmp_path).returncode == 0
