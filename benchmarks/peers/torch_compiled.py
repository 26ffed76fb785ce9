"""PyTorch, tensors resident, rows gathered by a new permutation each epoch, the model by torch.compile."""

import torch
from torch_resident import train

train(prepare=torch.compile)
