"""`epochal train`."""

import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from signal import SIGINT, signal
from typing import TYPE_CHECKING, Annotated, Any

from cyclopts import Parameter

from epochal.cli.options import Architecture, Flag, Flat, amount
from epochal.errors import DivergedError
from epochal.reading import Reading
from epochal.recipe import Recipe

if TYPE_CHECKING:
    from epochal.training import Training


def train(
    data: Annotated[str, Parameter(name=("--data", "--train"))] = "digits",
    *,
    architecture: Annotated[Architecture, Flat] = Architecture(),
    recipe: Annotated[Recipe, Flat] = Recipe(),
    reading: Annotated[Reading, Flat] = Reading(),
    memory: str | None = None,
    out: Path | None = None,
    config: Path | None = None,
    no_test: Flag = False,
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
    out
        The run folder; left out: a new one below runs/.
    config
        A TOML file of these options, such as a run's recipe.toml; options given here win.
    no_test
        Leave the test split closed.
    json
        Print one JSON object on standard output, at the end.
    quiet
        No progress on standard error.

    """
    from epochal import run, training
    from epochal.cli import output
    from epochal.cli.progress import watch
    from epochal.loading import load
    from epochal.rows import FileRows

    begun = time.perf_counter()
    model = architecture.build()
    dataset = load(data, reading)
    seconds = {"load": time.perf_counter() - begun}
    say = output.Speaker(quiet=quiet or json)
    say(output.describe_data(dataset))
    fitting = training.train(model, dataset, recipe, memory_bytes=amount(memory, "--memory"))
    say(f"{model} · {fitting.residency.kind}: {fitting.residency.why}")
    if isinstance(dataset.train.x, FileRows) and recipe.shuffle == "full":
        say(
            "note: the rows stay in the file, and a full shuffle reads it row by row; --shuffle blocks reads it in runs"
        )
    folder = run.RunFolder(out or run.new_folder(Path("runs"), f"{Path(dataset.source).stem}-{model.name}"), fitting)
    try:
        with stopping(fitting):
            watch(folder.moments(), fitting, quiet=quiet)
    except DivergedError as error:
        kept = f"the best before it, {fitting.best.valid} wrong, is kept in {folder.path}" if fitting.best else ""
        raise DivergedError(f"{error}\n{kept}".rstrip()) from None
    interrupted = fitting.stopped == "interrupted"
    if interrupted and fitting.best is None:
        raise KeyboardInterrupt
    fit = fitting.fit(folder.path)
    test = None if no_test or interrupted else fit.test()
    output.report(fit, fitting.residency, test, seconds, as_json=json)
    if interrupted:
        kept = f"interrupted after step {fit.steps:,}; the best so far is kept in {folder.path}"
        print(f"epochal: {kept}", file=sys.stderr)
        return 130
    if not json:
        print(f"next: epochal predict {folder.path} {data} --out predictions.csv")
    return 0


@contextmanager
def stopping(fitting: "Training") -> Iterator[None]:
    """The first Ctrl-C asks the training to stop after its stretch; a second one ends the process at once."""

    def ask(number: int, frame: Any) -> None:
        fitting.stop("interrupted")
        signal(SIGINT, before)

    before = signal(SIGINT, ask)
    try:
        yield
    finally:
        signal(SIGINT, before)
