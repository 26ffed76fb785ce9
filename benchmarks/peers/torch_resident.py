"""PyTorch in a loop of one's own, with the tensors in memory; the base of torch_eager.py and its kin."""

import time
from collections.abc import Callable, Iterator

import torch
from protocol import Job, Report
from torch import nn
from torch_models import network

VALID_BATCH = 1000


def shuffled(rows: int, batch_size: int) -> Iterator[torch.Tensor]:
    """Row numbers of the minibatches of an epoch, in a new order."""
    yield from torch.randperm(rows).split(batch_size)


def in_order(rows: int, batch_size: int) -> Iterator[slice]:
    """The minibatches of an epoch as slices: views of the tensors, always the same."""
    for first in range(0, rows, batch_size):
        yield slice(first, first + batch_size)


def train(
    minibatches: Callable[[int, int], Iterator] = shuffled,
    prepare: Callable[[nn.Module], nn.Module] = lambda model: model,
) -> None:
    """Train on minibatches of resident tensors, with the model as `prepare` returns it."""
    job = Job.given()
    x, y, x_valid, y_valid = map(torch.from_numpy, job.splits())
    report = Report(job)
    torch.manual_seed(job.seed)
    model = prepare(network(job, tuple(x.shape[1:]), int(y.max()) + 1))
    criterion = nn.CrossEntropyLoss()
    optimizer = torch.optim.SGD(model.parameters(), lr=job.learning_rate)
    done = False
    while not done:
        begun, total = time.perf_counter(), torch.zeros(())
        model.train()
        for rows in minibatches(len(x), job.batch_size):
            loss = criterion(model(x[rows]), y[rows])
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            total += loss.detach() * len(y[rows])
        mean = total.item() / len(x)
        trained = time.perf_counter()
        model.eval()
        with torch.no_grad():
            wrong = sum(
                int((model(xs).argmax(1) != ys).sum())
                for xs, ys in zip(x_valid.split(VALID_BATCH), y_valid.split(VALID_BATCH), strict=True)
            )
        done = report.epoch(trained - begun, time.perf_counter() - trained, mean, wrong)
    report.print("torch", "numpy")
