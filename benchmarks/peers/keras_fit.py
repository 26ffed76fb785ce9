"""Keras on JAX: compile and fit with the accuracy, all else as it is by default."""

import os

os.environ["KERAS_BACKEND"] = "jax"

import keras
from keras_models import Clock, network
from protocol import Job, Report

job = Job.given()
x, y, x_valid, y_valid = job.splits()
report = Report(job)
keras.utils.set_random_seed(job.seed)
model = network(job, x.shape[1:], int(y.max()) + 1)
model.compile(
    optimizer=keras.optimizers.SGD(job.learning_rate),
    loss=keras.losses.SparseCategoricalCrossentropy(from_logits=True),
    metrics=["accuracy"],
)
model.fit(
    x,
    y,
    batch_size=job.batch_size,
    epochs=job.epochs,
    validation_data=(x_valid, y_valid),
    validation_batch_size=1000,
    callbacks=[Clock(report, len(x_valid))],
    verbose=0,
)
report.print("keras", "jax", "numpy")
