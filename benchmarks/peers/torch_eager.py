"""PyTorch, tensors resident, rows gathered by a new permutation each epoch, eager."""

from torch_resident import train

train()
