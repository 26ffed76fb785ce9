"""The works' models, and a clock, as Keras users write them."""

import time

import jax
import keras
from keras import layers
from protocol import Job, Report


def network(job: Job, shape: tuple[int, ...], classes: int) -> keras.Model:
    """The model of `job` for rows of `shape`; its output are logits."""
    if job.model == "logistic":
        return keras.Sequential([layers.Input(shape), layers.Flatten(), layers.Dense(classes)])
    if job.model == "mlp":
        hidden = layers.Dense(job.hidden, activation="relu")
        return keras.Sequential([layers.Input(shape), layers.Flatten(), hidden, layers.Dense(classes)])
    return keras.Sequential(
        [
            layers.Input((*shape, 1)),
            layers.Conv2D(20, 5),
            layers.MaxPooling2D(2),
            layers.ReLU(),
            layers.Conv2D(50, 5),
            layers.MaxPooling2D(2),
            layers.ReLU(),
            layers.Flatten(),
            layers.Dense(job.hidden, activation="relu"),
            layers.Dense(classes),
        ]
    )


class Clock(keras.callbacks.Callback):
    """Times the updates and the validation pass that `fit` does."""

    def __init__(self, report: Report, rows: int):
        super().__init__()
        self.report, self.rows, self.begun, self.trained, self.valid = report, rows, 0.0, 0.0, 0.0

    def on_epoch_begin(self, epoch, logs=None):
        self.begun = time.perf_counter()

    def on_test_begin(self, logs=None):
        # JAX returns before the work is done; without this the updates' last part would count as validation.
        jax.block_until_ready([variable.value for variable in self.model.variables])
        self.trained = time.perf_counter()

    def on_test_end(self, logs=None):
        self.valid = time.perf_counter() - self.trained

    def on_epoch_end(self, epoch, logs=None):
        train = time.perf_counter() - self.begun - self.valid
        wrong = round((1 - logs["val_accuracy"]) * self.rows)
        self.model.stop_training = self.report.epoch(train, self.valid, logs["loss"], wrong)
