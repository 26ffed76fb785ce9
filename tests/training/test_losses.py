import jax
import jax.numpy as jnp
import numpy as np
import pytest

from epochal import negative_log_likelihood, zero_one_loss
from epochal.training import losses

generator = np.random.default_rng(0)
LOGITS = generator.normal(size=(50, 7)).astype(np.float32) * 3
Y = generator.integers(0, 7, 50)
P = (np.exp(LOGITS) / np.exp(LOGITS).sum(1, keepdims=True)).astype(np.float32)


def test_zero_one_loss_is_numpys_count():
    loss = zero_one_loss(P, Y)
    assert int(loss) == int((P.argmax(1) != Y).sum())
    assert jnp.issubdtype(loss.dtype, jnp.integer)


def test_of_equal_classes_the_first_is_taken():
    assert int(zero_one_loss([[0.5, 0.5]], [0])) == 0
    assert int(zero_one_loss([[0.5, 0.5]], [1])) == 1


def test_negative_log_likelihood_is_numpys_mean():
    expected = -np.log(P[np.arange(50), Y].astype(np.float64)).mean()
    assert float(negative_log_likelihood(P, Y)) == pytest.approx(expected, rel=1e-6)


def test_nll_of_logits_is_the_same_mean():
    ours = losses.nll_of_logits(jnp.asarray(LOGITS), jnp.asarray(Y.astype(np.int32)))
    assert float(ours.mean()) == pytest.approx(float(negative_log_likelihood(P, Y)), rel=1e-5)


@pytest.mark.parametrize("scale", [1e4, 1e30, -1e30])
def test_nll_of_logits_and_its_gradient_stay_finite_for_any_logits(scale):
    logits = jnp.array([[scale, 0.0, -scale]], jnp.float32)
    value, gradient = jax.value_and_grad(lambda z: losses.nll_of_logits(z, jnp.array([2]))[0])(logits)
    assert np.isfinite(value)
    assert np.isfinite(gradient).all()


def test_penalties_are_of_the_weights_alone():
    params = {"W": jnp.array([[1.0, -2.0]]), "b": jnp.array([100.0]), "deep": {"K": -jnp.ones((2, 2, 2))}}
    assert float(losses.l1(params)) == 3 + 8
    assert float(losses.l2(params)) == 5 + 8
