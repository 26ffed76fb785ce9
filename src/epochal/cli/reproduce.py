"""`epochal reproduce`."""

from dataclasses import replace
from typing import TYPE_CHECKING, Literal

from epochal.cli.options import Json, LoadOptions, Quiet
from epochal.data.options import Reading

if TYPE_CHECKING:
    from epochal.training.score import Score


def reproduce(
    name: Literal["logistic", "mlp", "lenet"],
    data: str = "mnist",
    *,
    epochs: int | None = None,
    reading: LoadOptions = Reading(),
    json: Json = False,
    quiet: Quiet = False,
) -> int:
    """Train with a tutorial's settings and set the result beside the published one.

    Parameters
    ----------
    name
        Which tutorial. On two cores logistic takes seconds, lenet half an hour; mlp ends by its patience.
    data
        The tutorials' mnist.pkl.gz, or mnist by name.
    epochs
        Stop after so many epochs, before the published number.

    """
    from epochal.cli import output
    from epochal.cli.progress import TrainingLine, watch
    from epochal.data.loading import load
    from epochal.reports.tutorials import PUBLISHED
    from epochal.training import training

    published = PUBLISHED[name]
    dataset = load(data, reading)
    cut = published.cut(dataset)
    recipe = published.recipe if epochs is None else replace(published.recipe, epochs=epochs)
    fitting = training.train(published.model, cut, recipe)
    watch(fitting.progress(), TrainingLine(fitting), quiet=quiet or json)
    fit = fitting.fit()
    test = fit.test()
    whole = {"valid": fit.score(dataset.valid), "test": fit.score(dataset.test)}
    if json:
        told = output.outcome(fit, fitting.residency, test, {})
        output.print_json(
            told
            | {"published": {"valid": published.valid, "test": published.test, "took": published.took}}
            | {"whole_splits": {split: score.to_json() for split, score in whole.items()}}
        )
        return 0
    rate = len(fit.epochs) / fit.seconds["train"]
    print(f"{'':<12}{'validation':>26}{'test':>26}")
    print(f"{'published':<12}{published.valid:>24.6f} %{published.test:>24.6f} %   {published.took}")
    print(
        f"{'here':<12}{_figure(fit.best.valid):>26}{_figure(test):>26}   {len(fit.epochs)} epochs, {rate:.2f} epochs/s"
    )
    if published.scored_rows:
        print(f"{'all rows':<12}{_figure(whole['valid']):>26}{_figure(whole['test']):>26}")
        print(
            f"The tutorials score whole batches only: the first {published.scored_rows:,} of "
            f"{len(dataset.valid):,} validation and {len(dataset.test):,} test rows."
        )
    return 0


def _figure(score: "Score") -> str:
    return f"{score.wrong:,} / {score.of:,} = {score.percent:.6f} %"
