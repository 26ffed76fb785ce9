"""The works' models, a step and a count of errors as Flax NNX users write them."""

import jax
import optax
from flax import nnx
from protocol import Job


class Logistic(nnx.Module):
    def __init__(self, features: int, classes: int, rngs: nnx.Rngs):
        self.output = nnx.Linear(features, classes, rngs=rngs)

    def __call__(self, x: jax.Array) -> jax.Array:
        return self.output(x.reshape(len(x), -1))


class MLP(nnx.Module):
    def __init__(self, features: int, hidden: int, classes: int, rngs: nnx.Rngs):
        self.hidden = nnx.Linear(features, hidden, rngs=rngs)
        self.output = nnx.Linear(hidden, classes, rngs=rngs)

    def __call__(self, x: jax.Array) -> jax.Array:
        return self.output(nnx.relu(self.hidden(x.reshape(len(x), -1))))


class LeNet(nnx.Module):
    def __init__(self, side: int, hidden: int, classes: int, rngs: nnx.Rngs):
        side = ((side - 4) // 2 - 4) // 2
        self.conv1 = nnx.Conv(1, 20, kernel_size=(5, 5), padding="VALID", rngs=rngs)
        self.conv2 = nnx.Conv(20, 50, kernel_size=(5, 5), padding="VALID", rngs=rngs)
        self.hidden = nnx.Linear(50 * side * side, hidden, rngs=rngs)
        self.output = nnx.Linear(hidden, classes, rngs=rngs)

    def __call__(self, x: jax.Array) -> jax.Array:
        h = x[..., None]
        for conv in (self.conv1, self.conv2):
            h = nnx.relu(nnx.max_pool(conv(h), window_shape=(2, 2), strides=(2, 2)))
        return self.output(nnx.relu(self.hidden(h.reshape(len(h), -1))))


def network(job: Job, shape: tuple[int, ...], classes: int) -> nnx.Module:
    """The model of `job` for rows of `shape`."""
    features, rngs = 1, nnx.Rngs(job.seed)
    for side in shape:
        features *= side
    if job.model == "logistic":
        return Logistic(features, classes, rngs)
    return (
        MLP(features, job.hidden, classes, rngs) if job.model == "mlp" else LeNet(shape[0], job.hidden, classes, rngs)
    )


def loss_of(model: nnx.Module, x: jax.Array, y: jax.Array) -> jax.Array:
    """Mean cross-entropy."""
    return optax.softmax_cross_entropy_with_integer_labels(model(x), y).mean()


@nnx.jit
def train_step(model: nnx.Module, optimizer: nnx.Optimizer, x: jax.Array, y: jax.Array) -> jax.Array:
    """One update; its loss."""
    loss, gradient = nnx.value_and_grad(loss_of)(model, x, y)
    optimizer.update(model, gradient)
    return loss


@nnx.jit
def count_wrong(model: nnx.Module, x: jax.Array, y: jax.Array) -> jax.Array:
    """Number of wrong rows."""
    return (model(x).argmax(axis=1) != y).sum()
