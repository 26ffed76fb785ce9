"""Strict numerics for the whole session: no dtype is promoted in silence, and every warning is an error."""

import jax
import numpy as np
import pytest
from hypothesis import settings

from epochal.dataset import Dataset
from epochal.loading import load

jax.config.update("jax_numpy_dtype_promotion", "strict")

# No test asserts a time: a machine that is busy for a moment is no fault of the code.
settings.register_profile("epochal", deadline=None)
settings.load_profile("epochal")


def blobs(rows: int, features: int = 6, classes: int = 3, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Gaussian clouds that overlap: float32 [rows, features] and labels."""
    generator = np.random.default_rng(seed)
    y = np.arange(rows) % classes
    centres = np.random.default_rng(99).normal(size=(classes, features))
    return (centres[y] + generator.normal(size=(rows, features))).astype(np.float32), y


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
