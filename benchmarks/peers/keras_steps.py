"""Keras on JAX with the fastest settings that its documentation names: several steps an execution, no metric in fit."""

import os
import time

os.environ["KERAS_BACKEND"] = "jax"

import keras
import numpy as np
from keras_models import network
from protocol import Job, Report

STEPS = 32


class Clock(keras.callbacks.Callback):
    def on_epoch_begin(self, epoch, logs=None):
        self.begun = time.perf_counter()

    def on_epoch_end(self, epoch, logs=None):
        trained = time.perf_counter()
        wrong = int(np.sum(self.model.predict(x_valid, batch_size=1000, verbose=0).argmax(1) != y_valid))
        now = time.perf_counter()
        self.model.stop_training = report.epoch(trained - self.begun, now - trained, logs["loss"], wrong)


job = Job.given()
x, y, x_valid, y_valid = job.splits()
report = Report(job)
keras.utils.set_random_seed(job.seed)
model = network(job, x.shape[1:], int(y.max()) + 1)
model.compile(
    optimizer=keras.optimizers.SGD(job.learning_rate),
    loss=keras.losses.SparseCategoricalCrossentropy(from_logits=True),
    steps_per_execution=min(STEPS, -(-len(x) // job.batch_size)),
    jit_compile=True,
)
model.fit(x, y, batch_size=job.batch_size, epochs=job.epochs, callbacks=[Clock()], verbose=0)
report.print("keras", "jax", "numpy")
