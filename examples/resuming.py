"""A run that is stopped in the middle goes on to the bits of one that was not."""

from pathlib import Path

import epochal
from epochal.runs.run import resume
from epochal.runs.writer import RunWriter

data = epochal.load("digits")
model, recipe = epochal.mlp(hidden=50), epochal.Recipe(epochs=8)

whole = epochal.fit(model, data, recipe)

training = epochal.train(model, data, recipe)
for progress in RunWriter.create(Path("stopped"), training).progress():
    if progress.epoch and progress.epoch.epoch == 3:
        training.stop()
print(f"stopped after {training.step} steps")

resumed = resume("stopped").fit()
print(f"went on to {resumed.steps} steps")
assert resumed.parameters_sha256 == whole.parameters_sha256
print("the parameters are the same bits")
