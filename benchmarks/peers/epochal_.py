"""epochal: the data loaded from the file, a recipe, and an iteration over the epochs; compiled programs are kept."""

import os
from pathlib import Path

from protocol import Job, Report

# What the command does of itself; docs/environment.md tells it to those who write scripts.
os.environ["JAX_COMPILATION_CACHE_DIR"] = str(Path(os.environ.get("XDG_CACHE_HOME", "~/.cache")).expanduser() / "jax")
os.environ["JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS"] = "0"

import epochal
from epochal.reports.bench import NEVER, epochs

job = Job.given()
data = epochal.load(job.data, divisor=job.divisor)
report = Report(job)
models = {
    "logistic": epochal.logistic,
    "mlp": lambda: epochal.mlp(job.hidden),
    "lenet": lambda: epochal.lenet(hidden=job.hidden),
}
recipe = epochal.Recipe(
    learning_rate=job.learning_rate,
    batch_size=job.batch_size,
    epochs=job.epochs,
    seed=job.seed,
    patience_steps=NEVER,
)
for epoch in epochs(epochal.train(models[job.model](), data, recipe)):
    if report.epoch(*epoch):
        break
report.print("jax", "optax", "numpy", epochal=epochal.__version__)
