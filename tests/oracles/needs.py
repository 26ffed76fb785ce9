"""Data that a test needs: where they are, or why the test is skipped, or that it fails where they must be there."""

import os
from importlib.util import find_spec
from pathlib import Path

import pytest

from epochal.data.sources.arrays import catalog

WHERE = {
    "mnist": "MNIST's four IDX files, in the folder that EPOCHAL_DATA names",
    "mnist.pkl.gz": "the tutorials' mnist.pkl.gz, in the folder that EPOCHAL_DATA names",
    "fashion-mnist": "Fashion-MNIST; apt install dataset-fashion-mnist",
}


def require(name: str) -> Path:
    """The folder (or the file) of `name`. Skips the test, or fails it where EPOCHAL_REQUIRE lists `name`."""
    found = catalog.find(name) if name in catalog.NAMES else _below_data(name)
    if found is None:
        needed = name in os.environ.get("EPOCHAL_REQUIRE", "").replace(",", " ").split()
        (pytest.fail if needed else pytest.skip)(f"needs {WHERE[name]}")
    return found


def _below_data(name: str) -> Path | None:
    folders = [Path(text) for text in os.environ.get("EPOCHAL_DATA", "").split(os.pathsep) if text]
    return next((folder / name for folder in folders if (folder / name).is_file()), None)


def extra(*names: str) -> None:
    """Skip the test where a library of an extra is missing, or fail it where EPOCHAL_REQUIRE lists `extras`."""
    missing = [name for name in names if find_spec(name) is None]
    if missing:
        needed = "extras" in os.environ.get("EPOCHAL_REQUIRE", "").replace(",", " ").split()
        (pytest.fail if needed else pytest.skip)(f"needs {', '.join(missing)}")
