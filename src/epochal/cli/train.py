"""`epochal train`."""

import re
import time
from pathlib import Path
from typing import Annotated

from cyclopts import Parameter

from epochal.cli.options import Architecture, Flag, Flat, Keep, Tools, amount
from epochal.data.options import Reading
from epochal.training.recipe import Recipe


def train(
    data: Annotated[str, Parameter(name=("--data", "--train"))] = "digits",
    *,
    architecture: Annotated[Architecture, Flat] = Architecture(),
    recipe: Annotated[Recipe, Flat] = Recipe(),
    reading: Annotated[Reading, Flat] = Reading(),
    keep: Annotated[Keep, Flat] = Keep(),
    log: Tools = (),
    memory: str | None = None,
    out: Path | None = None,
    config: Path | None = None,
    json: Flag = False,
    quiet: Flag = False,
) -> int:
    """Train a classifier, choose its parameters on the validation split, score the test split once, keep the run.

    Parameters
    ----------
    data
        A file, a folder, or a name: digits (offline), mnist, fashion-mnist.
    memory
        What the rows may take on the device, like 2GB; left out: what it has free.
    log
        A tool that the curves go to besides the run's history; may be given several times.
    out
        The run folder; left out: a new one below runs/.
    config
        A TOML file of these options, such as a run's recipe.toml; options given here win.
    json
        Print one JSON object on standard output, at the end.
    quiet
        No progress on standard error.

    """
    from epochal.cli import output
    from epochal.system.signals import listening

    with listening() as signals:
        begun = time.perf_counter()
        from epochal.data.loading import load
        from epochal.data.rows import FileRows
        from epochal.runs import loggers, writer
        from epochal.training import training

        loggers.check(log)
        model = architecture.build()
        dataset = load(data, reading)
        seconds = {"load": time.perf_counter() - begun}
        say = output.Speaker(quiet=quiet or json)
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
        kept = writer.RunWriter.create(path, fitting, keep.keeping())
        return output.finish(kept, signals, seconds, data=data, log=log, as_json=json, quiet=quiet)
