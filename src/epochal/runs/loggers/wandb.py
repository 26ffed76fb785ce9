"""Weights & Biases: project `epochal`; WANDB_MODE=offline keeps it on this machine, in the run folder."""

import wandb

from epochal.runs.loggers.story import Consumer, Story
from epochal.system.plain_files import check_folder

STEP = "step"
"""The axis: minibatch updates. The tool's own counter refuses a second point at one step, such as the test score."""


def consume(story: Story) -> Consumer:
    """Write points as history, the parameters as config; a resumed run goes on under its id."""
    check_folder(story.folder / "wandb")
    run = wandb.init(
        project="epochal", id=story.id, name=story.name, config=dict(story.parameters), resume="allow",
        dir=str(story.folder.resolve()), settings=wandb.Settings(console="off", silent=True),
    )  # fmt: skip
    run.define_metric("*", step_metric=STEP)
    try:
        point = yield None  # offline it does not say what it has
        while True:
            run.log({STEP: point.step} | point.values)
            point = yield None
    finally:
        run.finish()
