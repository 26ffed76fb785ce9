"""Skorch: a scikit-learn classifier around a PyTorch module, with the validation rows given."""

import time

import torch
from protocol import Job, Report
from skorch import NeuralNetClassifier
from skorch.callbacks import Callback
from skorch.dataset import Dataset
from skorch.helper import predefined_split
from torch import nn
from torch_models import network


class Clock(Callback):
    def __init__(self, report):
        self.report, self.begun, self.trained = report, 0.0, None

    def on_epoch_begin(self, net, **others):
        self.begun, self.trained = time.perf_counter(), None

    def on_batch_begin(self, net, batch=None, training=False, **others):
        if not training and self.trained is None:
            self.trained = time.perf_counter()

    def on_epoch_end(self, net, dataset_valid=None, **others):
        now, told = time.perf_counter(), net.history[-1]
        wrong = round((1 - told["valid_acc"]) * len(dataset_valid))
        if self.report.epoch(self.trained - self.begun, now - self.trained, told["train_loss"], wrong):
            raise KeyboardInterrupt  # how skorch's own EarlyStopping ends a fit


job = Job.given()
x, y, x_valid, y_valid = job.splits()
report = Report(job)
torch.manual_seed(job.seed)
net = NeuralNetClassifier(
    network(job, x.shape[1:], int(y.max()) + 1),
    criterion=nn.CrossEntropyLoss,
    optimizer=torch.optim.SGD,
    lr=job.learning_rate,
    batch_size=job.batch_size,
    max_epochs=job.epochs,
    iterator_train__shuffle=True,
    iterator_valid__batch_size=1000,
    train_split=predefined_split(Dataset(x_valid, y_valid)),
    callbacks=[Clock(report)],
    verbose=0,
)
net.fit(x, y)
report.print("skorch", "torch", "numpy")
