"""Flax NNX, a step under nnx.jit bound by nnx.cached_partial, NumPy minibatches."""

from nnx_train import train

train(cached=True)
