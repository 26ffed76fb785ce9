"""Strict numerics for the whole session: no dtype is promoted in silence, and every warning is an error."""

import os
import tempfile
from pathlib import Path

import jax
import numpy as np
import pytest
from hypothesis import settings

from epochal.data.dataset import Dataset
from epochal.data.loading import load

jax.config.update("jax_numpy_dtype_promotion", "strict")

# Commands that tests run share their compiled programs; this process, whose JAX is there already, compiles its own.
if "JAX_COMPILATION_CACHE_DIR" not in os.environ:
    _programs = tempfile.TemporaryDirectory(prefix="epochal-programs-")
    os.environ["JAX_COMPILATION_CACHE_DIR"] = _programs.name
    os.environ["JAX_COMPILATION_CACHE_MAX_SIZE"] = str(1 << 30)  # as the command has it where nothing is set
# The user's own ledger of test sets is none of a test's business; commands that a test runs inherit this.
os.environ["XDG_DATA_HOME"] = tempfile.mkdtemp(prefix="epochal-tests-")
# Trackio reads this when it is imported, so it cannot differ from test to test.
os.environ["TRACKIO_DIR"] = str(Path(os.environ["XDG_DATA_HOME"], "trackio"))

# No test asserts a time: a machine that is busy for a moment is no fault of the code.
settings.register_profile("epochal", deadline=None)
settings.load_profile("epochal")


def blobs(rows: int, features: int = 6, classes: int = 3, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Gaussian clouds that overlap: float32 [rows, features] and labels."""
    generator = np.random.default_rng(seed)
    y = np.arange(rows) % classes
    centres = np.random.default_rng(99).normal(size=(classes, features))
    return (centres[y] + generator.normal(size=(rows, features))).astype(np.float32), y


@pytest.fixture(autouse=True)
def own_cache(tmp_path_factory, monkeypatch):
    """What a test keeps in the user's cache is its own."""
    if "XDG_CACHE_HOME" not in os.environ:
        monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path_factory.getbasetemp() / "cache"))


@pytest.fixture
def small() -> Dataset:
    """101 train, 40 validation, 33 test rows: nothing divides a batch of 20."""
    return load({"train": blobs(101), "valid": blobs(40, seed=1), "test": blobs(33, seed=2)})


@pytest.fixture
def compilations():
    """Names of the programs that the test has compiled so far."""
    names: list[str] = []

    def note(event: str, duration: float, **details: object) -> None:
        if event.endswith("backend_compile_duration"):
            names.append(str(details.get("fun_name", "")))

    jax.monitoring.register_event_duration_secs_listener(note)
    yield names
    jax.monitoring.unregister_event_duration_listener(note)


@pytest.fixture
def optax_promotes():
    """Optax's adam mixes dtypes, so that the session's strictness has to wait."""
    with jax.numpy_dtype_promotion("standard"):
        yield
