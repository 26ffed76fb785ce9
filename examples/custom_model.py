"""A model of your own: a pair of pure functions. This one has a residual block with layer normalisation."""

import jax
import jax.numpy as jnp

import epochal

WIDTH = 64


def init(key, example_shape, classes):
    """The parameters: any tree of arrays."""
    features = example_shape[0] * example_shape[1]
    first, second, third = jax.random.split(key, 3)
    return {
        "input": jax.random.normal(first, (features, WIDTH)) / features**0.5,
        "block": jax.random.normal(second, (WIDTH, WIDTH)) / WIDTH**0.5,
        "output": jax.random.normal(third, (WIDTH, classes)) / WIDTH**0.5,
    }


def logits(params, x):
    """[rows, classes] of x [rows, height, width]."""
    h = x.reshape(x.shape[0], -1) @ params["input"]
    centred = h - h.mean(axis=1, keepdims=True)
    normal = centred / jnp.sqrt((centred**2).mean(axis=1, keepdims=True) + 1e-5)
    h = h + jax.nn.relu(normal @ params["block"])
    return h @ params["output"]


data = epochal.load("digits")
fit = epochal.fit(epochal.Model(init, logits, name="residual"), data, epochal.Recipe(epochs=10, learning_rate=0.05))
print(f"validation {fit.best.valid} at epoch {fit.best.epoch}")
