"""PyTorch with resident tensors on a GPU: eager, torch.compile, or a whole step in a CUDA graph.

python torch_gpu.py JOB WAY DEVICE [tf32]
"""

import sys
import time
from collections.abc import Callable

import torch
from protocol import Job, Report
from torch import nn
from torch_models import network

job, way, device = Job.given(), sys.argv[2], sys.argv[3]
torch.backends.cudnn.allow_tf32 = torch.backends.cuda.matmul.allow_tf32 = sys.argv[4:] == ["tf32"]
torch.backends.cudnn.benchmark = True
x, y, x_valid, y_valid = (torch.from_numpy(array).to(device) for array in job.splits())
report = Report(job)
torch.manual_seed(job.seed)
model = network(job, tuple(x.shape[1:]), int(y.max()) + 1).to(device)
criterion = nn.CrossEntropyLoss()
optimizer = torch.optim.SGD(model.parameters(), lr=job.learning_rate)
if way == "compile":
    model = torch.compile(model)


def eager(xs: torch.Tensor, ys: torch.Tensor) -> torch.Tensor:
    loss = criterion(model(xs), ys)
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()
    return loss.detach()


def graphed(size: int) -> Callable[[torch.Tensor, torch.Tensor], torch.Tensor]:
    """The step of a whole minibatch, captured once and replayed (PyTorch's notes on CUDA graphs)."""
    xs, ys = x[:size].clone(), y[:size].clone()
    before = [p.detach().clone() for p in model.parameters()]
    side = torch.cuda.Stream()
    side.wait_stream(torch.cuda.current_stream())
    with torch.cuda.stream(side):
        for _ in range(3):
            eager(xs, ys)
    torch.cuda.current_stream().wait_stream(side)
    optimizer.zero_grad(set_to_none=True)
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        loss = criterion(model(xs), ys)
        loss.backward()
        optimizer.step()
    with torch.no_grad():  # the updates to warm up are taken back
        for parameter, value in zip(model.parameters(), before, strict=True):
            parameter.copy_(value)

    def step(new_x: torch.Tensor, new_y: torch.Tensor) -> torch.Tensor:
        xs.copy_(new_x)
        ys.copy_(new_y)
        graph.replay()
        return loss.detach()

    return step


# A smaller last minibatch has a graph of its own.
sizes = {min(job.batch_size, len(x)), len(x) % job.batch_size} - {0}
steps = {size: graphed(size) if way == "graph" else eager for size in sizes}
done = False
while not done:
    begun, total = time.perf_counter(), torch.zeros((), device=device)
    for rows in torch.randperm(len(x), device=device).split(job.batch_size):
        total += steps[len(rows)](x[rows], y[rows]) * len(rows)
    mean = total.item() / len(x)
    trained = time.perf_counter()
    with torch.no_grad():
        wrong = sum(
            (model(xs).argmax(1) != ys).sum() for xs, ys in zip(x_valid.split(1000), y_valid.split(1000), strict=True)
        )
    done = report.epoch(trained - begun, time.perf_counter() - trained, mean, int(wrong))
report.print("torch", "numpy")
