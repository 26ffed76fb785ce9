import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from epochal.device.scaling import features, terms

EVERY_BYTE = np.arange(256, dtype=np.uint8)


@given(st.one_of(st.integers(1, 2**20).map(float), st.floats(1e-6, 1e6)), st.sampled_from(["float32", "float64"]))
def test_every_byte_becomes_what_numpys_division_gives(divisor, dtype):
    high, low = terms(divisor, EVERY_BYTE.dtype, dtype)
    ours = EVERY_BYTE.astype(dtype) * high + EVERY_BYTE.astype(dtype) * low
    np.testing.assert_array_equal(ours, EVERY_BYTE.astype(dtype) / np.dtype(dtype).type(divisor))


@pytest.mark.parametrize("divisor", [255, 256, 16, 1, 3, 127.5])
def test_and_so_it_does_in_a_compiled_program(divisor):
    scale = jnp.asarray(terms(divisor, EVERY_BYTE.dtype, "float32"))
    ours = jax.jit(features)(jnp.asarray(EVERY_BYTE), scale)
    np.testing.assert_array_equal(ours, EVERY_BYTE.astype(np.float32) / np.float32(divisor))


def test_a_divisor_of_one_changes_no_float():
    x = np.random.default_rng(0).normal(size=1000).astype(np.float32)
    np.testing.assert_array_equal(features(jnp.asarray(x), jnp.asarray(terms(1.0, x.dtype, "float32"))), x)
