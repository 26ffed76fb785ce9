"""`epochal train`."""

import re
import time
from pathlib import Path
from typing import Annotated, Any

from cyclopts import Parameter

from epochal.cli.options import (
    MODEL,
    RUN,
    TRAINING,
    Architecture,
    Config,
    Data,
    Flat,
    Json,
    LoadOptions,
    Log,
    Memory,
    Out,
    Quiet,
    amount,
    grouped,
)
from epochal.data.options import Reading
from epochal.runs.options import CheckpointOptions
from epochal.training.recipe import Recipe

Settings: Any = grouped("Settings", {Recipe: TRAINING})


def train(
    data: Data = "digits",
    *,
    architecture: Annotated[Architecture, Parameter(name="*", group=MODEL)] = Architecture(),
    settings: Annotated[Settings, Flat] = Settings(),
    reading: LoadOptions = Reading(),
    keeping: Annotated[CheckpointOptions, Parameter(name="*", group=RUN)] = CheckpointOptions(),
    log: Log = (),
    memory: Memory = None,
    out: Out = None,
    config: Config = None,
    json: Json = False,
    quiet: Quiet = False,
) -> int:
    """Train a classifier, choose its parameters on the validation split, score the test split once, keep the run."""
    from epochal.cli import output
    from epochal.system.signals import listening

    with listening() as signals:
        begun = time.perf_counter()
        from epochal.data.loading import load
        from epochal.data.rows import FileRows
        from epochal.runs import loggers, writer
        from epochal.training import training

        loggers.check(log)
        model, recipe = architecture.build(), Recipe(**vars(settings))
        dataset = load(data, reading)
        seconds = {"load": time.perf_counter() - begun}
        say = output.Printer(quiet=quiet or json)
        say(output.describe_data(dataset))
        fitting = training.train(model, dataset, recipe, memory_bytes=amount(memory, "--memory"))
        say(f"{fitting.model} · {fitting.residency.kind}: {fitting.residency.why}")
        if isinstance(dataset.train.x, FileRows) and recipe.shuffle == "full":
            say("note: the rows stay in the file; a full shuffle reads it row by row, --shuffle blocks in runs")
        for note in fitting.notes:
            say(f"note: {note}")
        name = re.sub(r"[^\w.-]+", "-", f"{Path(dataset.source).stem}-{fitting.model.name}")
        path = out or writer.new_folder(Path("runs"), name)
        signals.watch(fitting)  # before there is a folder, so that there is none of which the user is not told
        kept = writer.RunWriter.create(path, fitting, keeping)
        return output.finish(kept, signals, seconds, data=data, log=log, as_json=json, quiet=quiet)
