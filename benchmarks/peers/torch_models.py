"""The works' models as PyTorch users write them, for all peers that are built on PyTorch."""

from protocol import Job
from torch import nn


def network(job: Job, shape: tuple[int, ...], classes: int) -> nn.Module:
    """The model of `job` for rows of `shape`."""
    features = 1
    for side in shape:
        features *= side
    if job.model == "logistic":
        return nn.Sequential(nn.Flatten(), nn.Linear(features, classes))
    if job.model == "mlp":
        return nn.Sequential(nn.Flatten(), nn.Linear(features, job.hidden), nn.ReLU(), nn.Linear(job.hidden, classes))
    side = ((shape[0] - 4) // 2 - 4) // 2
    return nn.Sequential(
        nn.Unflatten(1, (1, shape[0])),
        nn.Conv2d(1, 20, 5),
        nn.MaxPool2d(2),
        nn.ReLU(),
        nn.Conv2d(20, 50, 5),
        nn.MaxPool2d(2),
        nn.ReLU(),
        nn.Flatten(),
        nn.Linear(50 * side * side, job.hidden),
        nn.ReLU(),
        nn.Linear(job.hidden, classes),
    )
