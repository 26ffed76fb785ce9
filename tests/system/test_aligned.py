"""Rows that are read lie in memory once: a device on the host is given them where they are."""

import numpy as np
import pytest
from PIL import Image

import epochal
from epochal.data.dataset import SPLITS
from epochal.device.placement import put
from epochal.system import aligned

ROWS = 60
RECIPE = epochal.Recipe(batch_size=10, epochs=1)


def values(*shape: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 200, shape, np.uint8)


def npz(folder, save=np.savez):
    arrays = {f"x_{name}": values(ROWS, 7, seed=seed) for seed, name in enumerate(SPLITS)}
    arrays |= {f"y_{name}": np.arange(ROWS) % 3 for name in SPLITS}
    save(folder / "data.npz", **arrays)
    return folder / "data.npz", {}


def packed(folder):
    return npz(folder, np.savez_compressed)


def held_out(folder):
    np.savez(folder / "data.npz", x=values(ROWS, 7), y=np.arange(ROWS) % 3)
    return folder / "data.npz", {}


def npy(folder):
    np.save(folder / "x.npy", values(ROWS, 7))
    np.save(folder / "y.npy", np.arange(ROWS) % 3)
    return folder / "x.npy", {"labels_from": folder / "y.npy"}


def table(folder):
    lines = [f"{a},{b},{'ab'[a % 2]}" for a, b in values(ROWS, 2)]
    (folder / "data.csv").write_text("\n".join(["u,v,y", *lines]) + "\n")
    return folder / "data.csv", {"label": "y"}


def images(folder):
    for number, pixels in enumerate(values(ROWS, 8, 8)):
        place = folder / "images" / "ab"[number % 2]
        place.mkdir(parents=True, exist_ok=True)
        Image.fromarray(pixels).save(place / f"{number}.png")
    return folder / "images", {}


def narrowed(folder):
    np.savez(folder / "data.npz", x=values(ROWS, 7).astype(np.float32), y=np.arange(ROWS) % 3)
    return folder / "data.npz", {"storage": "uint8"}


@pytest.mark.parametrize("make", [npz, packed, held_out, npy, table, images, narrowed])
def test_the_rows_of_a_file_are_not_copied_for_a_device_on_the_host(tmp_path, make):
    path, options = make(tmp_path)
    data = epochal.load(path, **options)
    training = epochal.train(epochal.logistic(), data, RECIPE)
    rows = training.loop.placed.rows.x
    assert rows.unsafe_buffer_pointer() == data.train.x.ctypes.data
    np.testing.assert_array_equal(np.asarray(rows), data.train.x)
    training.loop.placed.close()


def test_an_array_of_the_callers_is_copied_once():
    mine = values(100, 3)
    device = put(mine)
    mine[:] = 0
    assert np.asarray(device).any(), "the device does not see what the caller writes"


@pytest.mark.parametrize("shape", [(), (1,), (5, 3, 2)])
@pytest.mark.parametrize("dtype", ["uint8", "int32", "float64"])
def test_aligned_memory_has_the_shape_asked_for_and_begins_where_a_device_takes_it(shape, dtype):
    of = np.full(shape, 3, dtype)
    out = aligned.copied(of)
    assert (out.shape, out.dtype) == (of.shape, of.dtype)
    assert out.ctypes.data % aligned.ALIGNMENT == 0
    assert out.flags.c_contiguous
    assert not np.shares_memory(out, of)
    np.testing.assert_array_equal(out, of)
    assert not aligned.zeros(shape, dtype).any()
