"""PyTorch with TensorDataset and DataLoader, as its tutorials do."""

import time

import torch
from protocol import Job, Report
from torch import nn
from torch.utils.data import DataLoader, TensorDataset
from torch_models import network

job = Job.given()
x, y, x_valid, y_valid = map(torch.from_numpy, job.splits())
report = Report(job)
torch.manual_seed(job.seed)
train_loader = DataLoader(TensorDataset(x, y), batch_size=job.batch_size, shuffle=True)
valid_loader = DataLoader(TensorDataset(x_valid, y_valid), batch_size=1000)
model = network(job, tuple(x.shape[1:]), int(y.max()) + 1)
criterion = nn.CrossEntropyLoss()
optimizer = torch.optim.SGD(model.parameters(), lr=job.learning_rate)
done = False
while not done:
    begun, total = time.perf_counter(), 0.0
    model.train()
    for xs, ys in train_loader:
        loss = criterion(model(xs), ys)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        total += loss.item() * len(ys)
    trained, wrong = time.perf_counter(), 0
    model.eval()
    with torch.no_grad():
        for xs, ys in valid_loader:
            wrong += int((model(xs).argmax(1) != ys).sum())
    done = report.epoch(trained - begun, time.perf_counter() - trained, total / len(x), wrong)
report.print("torch", "numpy")
