"""The tutorials' "Getting Started" code, with epochal's names in place of Theano's."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import epochal
from conftest import blobs


def test_the_tutorials_code_runs_to_the_letter(small):
    train_set, valid_set, test_set = small
    train_set_x, train_set_y = epochal.shared_dataset(train_set)
    valid_set_x, _ = epochal.shared_dataset(valid_set)
    test_set_x, _ = epochal.shared_dataset(test_set)
    batch_size = 20
    data = train_set_x[2 * batch_size : 3 * batch_size]
    label = train_set_y[2 * batch_size : 3 * batch_size]
    assert isinstance(data, jax.Array)
    np.testing.assert_array_equal(data, train_set.x[40:60])
    np.testing.assert_array_equal(label, train_set.y[40:60])
    assert (train_set_x.dtype, train_set_y.dtype) == (jnp.float32, jnp.int32)
    assert (len(train_set_x), valid_set_x.shape, test_set_x.shape) == (101, (40, 6), (33, 6))


def test_a_minibatch_is_taken_without_the_host(small):
    train_set_x, _ = epochal.shared_dataset(small.train)
    with jax.transfer_guard_device_to_host("disallow"):
        batch = train_set_x[40:60]
        total = jax.jit(jnp.sum)(batch)
    assert np.isfinite(total)


def test_get_value_is_a_copy_and_set_value_replaces_the_value(small):
    x, _ = epochal.shared_dataset(small.train)
    value = x.get_value()
    value[:] = 0
    np.testing.assert_array_equal(x.get_value(), small.train.x)
    x.set_value(value)
    value[:] = 1
    assert not x.get_value(borrow=True).any()
    assert float(jnp.sum(jnp.asarray(x))) == 0


def test_set_value_refuses_another_shape_or_dtype(small):
    x, y = epochal.shared_dataset(small.train)
    with pytest.raises(epochal.DataError, match=r"is float32\[101, 6\], got float32\[100, 6\]; .*pad"):
        x.set_value(np.zeros((100, 6), np.float32))
    with pytest.raises(epochal.DataError, match=r"is int32\[101\], got float64\[101\]; .*cast"):
        y.set_value(np.zeros(101))


def test_pixels_become_floats_as_the_model_sees_them():
    pixels = np.arange(24, dtype=np.uint8).reshape(2, 3, 4)
    x, y = epochal.shared_dataset(epochal.Split(pixels, np.array([0, 1], np.int32), 255.0))
    np.testing.assert_array_equal(x.get_value(), pixels.astype(np.float32) / np.float32(255))
    x, y = epochal.shared_dataset(blobs(5))
    assert (x.shape, y.dtype) == ((5, 6), jnp.int32)
