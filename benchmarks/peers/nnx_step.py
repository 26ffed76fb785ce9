"""Flax NNX, a step under nnx.jit, NumPy minibatches."""

from nnx_train import train

train(cached=False)
