"""Lightning: a module, two loaders, a Trainer without progress bar, checkpoints and logger."""

import logging
import time
import warnings

import lightning
import torch
from protocol import Job, Report
from torch import nn
from torch.utils.data import DataLoader, TensorDataset
from torch_models import network

logging.getLogger("lightning.pytorch").setLevel(logging.ERROR)
warnings.filterwarnings("ignore", message=".*LeafSpec.*")
warnings.filterwarnings("ignore", message=".*does not have many workers.*")


class Classifier(lightning.LightningModule):
    def __init__(self, job: Job, shape: tuple[int, ...], classes: int):
        super().__init__()
        self.model, self.learning_rate = network(job, shape, classes), job.learning_rate
        self.criterion = nn.CrossEntropyLoss()

    def training_step(self, batch, number):
        x, y = batch
        loss = self.criterion(self.model(x), y)
        self.log("train_loss", loss, on_step=False, on_epoch=True, batch_size=len(y))
        return loss

    def validation_step(self, batch, number):
        x, y = batch
        wrong = (self.model(x).argmax(1) != y).sum().float()
        self.log("valid_wrong", wrong, reduce_fx="sum", batch_size=len(y))

    def configure_optimizers(self):
        return torch.optim.SGD(self.parameters(), lr=self.learning_rate)


class Clock(lightning.Callback):
    def __init__(self, report: Report):
        self.report, self.begun, self.trained, self.valid = report, 0.0, 0.0, 0.0

    def on_train_epoch_start(self, trainer, module):
        self.begun = time.perf_counter()

    def on_validation_start(self, trainer, module):
        self.trained = time.perf_counter()

    def on_validation_end(self, trainer, module):
        self.valid = time.perf_counter() - self.trained

    def on_train_epoch_end(self, trainer, module):
        told = trainer.callback_metrics
        train = time.perf_counter() - self.begun - self.valid
        trainer.should_stop = self.report.epoch(
            train, self.valid, told["train_loss"], round(float(told["valid_wrong"]))
        )


job = Job.given()
x, y, x_valid, y_valid = map(torch.from_numpy, job.splits())
report = Report(job)
lightning.seed_everything(job.seed, verbose=False)
trainer = lightning.Trainer(
    max_epochs=job.epochs,
    accelerator="cpu",
    callbacks=[Clock(report)],
    logger=False,
    enable_checkpointing=False,
    enable_progress_bar=False,
    enable_model_summary=False,
    num_sanity_val_steps=0,
)
trainer.fit(
    Classifier(job, tuple(x.shape[1:]), int(y.max()) + 1),
    DataLoader(TensorDataset(x, y), batch_size=job.batch_size, shuffle=True),
    DataLoader(TensorDataset(x_valid, y_valid), batch_size=1000),
)
report.print("lightning", "torch", "numpy")
