"""`epochal select`."""

import re
import sys
import time
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

from cyclopts import Parameter

from epochal.cli.options import Flag, Flat, amount
from epochal.cli.search_space import DECISIVE, Grid, Settings, build, unread
from epochal.data.options import Reading
from epochal.errors import RecipeError, RunError

if TYPE_CHECKING:
    from epochal.selection import Search, Selected, Session
    from epochal.system.signals import Signals


def select(
    data: Annotated[str, Parameter(name=("--data", "--train"))] = "digits",
    *,
    settings: Annotated[Grid, Flat] = Grid(),
    reading: Annotated[Reading, Flat] = Reading(),
    trials: int | None = None,
    search_seed: int | None = None,
    seeds: int = 1,
    folds: int = 0,
    halving: Flag = False,
    factor: int | None = None,
    together: Literal["auto", "always", "never", "measure"] = "auto",
    optuna: str | None = None,
    study: str | None = None,
    batch: int | None = None,
    refit: Flag = False,
    refit_steps: int | None = None,
    open_test: Flag = False,
    checkpoint_seconds: float = 60.0,
    memory: str | None = None,
    out: Path | None = None,
    config: Path | None = None,
    json: Flag = False,
    quiet: Flag = False,
) -> int:
    """Train many recipes, choose one by its validation error, keep it as a run. The test split stays closed.

    Every option of a model or a recipe may have several values: a list as 0.01,0.03,0.1, or with --trials a range as
    1e-4..1e-1. What a candidate does not read, it goes without: the same ones are trained once. Class weights are
    joined by commas, several of them by semicolons: balanced;Yes=10,No=1.

    Parameters
    ----------
    data
        A file, a folder, or a name: digits (offline), mnist, fashion-mnist.
    trials
        Draw so many candidates at random in place of all combinations; with --optuna, let it propose so many.
    search_seed
        Seeds the draws of --trials. Left out: 0.
    seeds
        Seeds to train every candidate with: its own and the ones after it; the mean error counts.
    folds
        Cross-validation over the train and validation rows in so many folds, for small data.
    halving
        Successive halving: train all a little, keep the best of --factor, go on with those.
    factor
        With --halving: one candidate in so many is kept. Left out: 3.
    together
        Whether candidates of one shape are trained in one program. auto goes by the device and the size of the model;
        measure times a few steps, so that near ties may rank differently another time.
    optuna
        Optuna's storage, like sqlite:///study.db: its search proposes the candidates, and machines may share it.
    study
        The study's name in that storage.
    batch
        With --optuna: candidates that are proposed, and trained, at a time. Left out: 8.
    refit
        Train the chosen recipe once more on train and validation rows, for as many epochs as its best took.
    refit_steps
        The same for so many updates.
    open_test
        At the end, score the test split for the chosen one; the ledger of the data set keeps that it was done.
    checkpoint_seconds
        Seconds between two checkpoints of the trainings in progress.
    memory
        What the rows may take on the device, like 2GB; left out: what it has free.
    out
        The folder of the selection; left out: a new one below runs/.
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
        from epochal.runs.writer import new_folder
        from epochal.selection import Choosing, Session

        choosing = Choosing(
            seeds=seeds, folds=folds, halving=halving, factor=factor, together=together, refit=refit,
            refit_steps=refit_steps, checkpoint_seconds=checkpoint_seconds,
        )  # fmt: skip
        search = _search(settings, trials, search_seed, optuna, study, batch)
        dataset = load(data, reading)
        seconds = {"load": time.perf_counter() - begun}
        say = output.Speaker(quiet=quiet or json)
        say(output.describe_data(dataset))
        path = out or new_folder(Path("runs"), re.sub(r"[^\w.-]+", "-", f"select-{Path(dataset.source).stem}"))
        session = Session.begin(search, dataset, choosing, path, amount(memory, "--memory"), say)
        session.note("open_test", open_test)
        return drain(session, signals, seconds, as_json=json, quiet=quiet)


def _search(
    settings: Settings, trials: int | None, seed: int | None, storage: str | None, name: str | None, batch: int | None
) -> "Search":
    from epochal.selection import Listed, Study
    from epochal.selection.options import not_read
    from epochal.selection.space import check_trials

    space = settings.space()
    if trials is not None:
        check_trials(trials)
    if batch is not None and batch < 1:
        raise RecipeError(f"batch: must be at least 1, got {batch}")
    if seed is not None and not 0 <= seed < 2**32:
        raise RecipeError(f"search_seed: must be a whole number from 0 to {2**32 - 1:,}, got {seed}")
    if seed is not None and trials is None:
        raise not_read("search_seed", seed, "trials")
    if batch is not None and storage is None:
        raise not_read("batch", batch, "optuna")
    seed = seed or 0
    if (storage is None) != (name is None):
        raise RecipeError("optuna: --optuna STORAGE and --study NAME go together; give both")
    if storage is not None and name is not None:
        if trials is None:
            raise RecipeError("optuna: say with --trials how many candidates this process is to train")
        space.draws(1, seed)  # an option that makes no sense is told before the study is made
        return Study(space, trials, storage, name, seed, batch or 8)
    return Listed(space.grid() if trials is None else space.draws(trials, seed))


def taken_up(path: Path, signals: "Signals", *, strict: bool, trust: bool, as_json: bool, quiet: bool) -> int:
    """`epochal resume` of a selection."""
    from epochal.cli import output
    from epochal.runs import versions
    from epochal.selection import taken_up as session_of

    begun = time.perf_counter()
    say = output.Speaker(quiet=quiet or as_json)
    session = session_of(path, build=build, unread=unread, decisive=DECISIVE, say=say, trust=trust)
    differ = "; ".join(versions.differences(session.told["versions"]))
    if differ and strict:
        session.close()
        raise RunError(f"{path}: was begun elsewhere: {differ}; resume it there, or without --strict")
    for note in [*session.notes, *([f"bits may differ from an uninterrupted selection: {differ}"] if differ else [])]:
        say(f"note: {note}")
    done = sum(outcome.stopped is not None for outcome in session.selecting.journal.outcomes.values())
    say(f"{path}: goes on after {done:,} trials")
    return drain(session, signals, {"load": time.perf_counter() - begun}, as_json=as_json, quiet=quiet)


def drain(session: "Session", signals: "Signals", seconds: dict[str, float], *, as_json: bool, quiet: bool) -> int:
    """Run a selection to its end and say the outcome; returns the exit code."""
    from epochal.cli import output
    from epochal.cli.streams import OutputError
    from epochal.cli.tally import watch

    signals.watch(session)
    try:
        watch(session.moments(), quiet=quiet or as_json)
        selected = None if session.interrupted else session.finish()
    finally:
        session.close()
    path = session.path
    assert path is not None  # a command keeps what it selects
    if selected is None:
        with suppress(OutputError):
            if as_json:
                output.print_json({"stopped": "interrupted", "selection": str(path)})
        print(f"epochal: interrupted, all is saved; go on with:\n{output.resume_line(path)}", file=sys.stderr)
        return signals.code
    signals.unwatch(f"interrupted after all was saved; for the outcome: {output.resume_line(path)}")
    test, before = _opened(selected, open_test=session.told.get("open_test", False))
    seconds = seconds | {name: round(value, 6) for name, value in selected.seconds.items()}
    if as_json:
        output.print_json(_told(session, selected, seconds) | _test_told(test, before))
    else:
        _report(session, selected, test, before)
    return 0 if selected.fit else 3


def _opened(selected: "Selected", *, open_test: bool) -> tuple[Any, int]:
    """The test score of the chosen one, opened now or before a resume; and how often it had been opened before."""
    from epochal.runs.testing import open_once
    from epochal.training import ledger

    fit = selected.fit
    if fit is None or fit.data is None:
        return None, 0
    return open_once(fit) if open_test else (None, ledger.openings(fit.data.ledger_keys))


def _test_told(test: Any, before: int) -> dict[str, Any]:
    return {"test": test.to_json() if test else None, "test_opened_before": before}


def _report(session: "Session", selected: "Selected", test: Any, before: int) -> None:
    from epochal.cli import output
    from epochal.training import ledger

    print(selected)
    chosen, fit = selected.chosen, selected.fit
    if chosen is None or fit is None:
        print("none is chosen: every candidate diverged; take smaller learning rates, or scale the features")
        return
    print(f"p: McNemar's exact test against the first, on the same validation rows, not corrected for "
          f"{len(selected.standings)} comparisons")  # fmt: skip
    print(f"chosen     {chosen.candidate}")
    if test:
        print(output.describe_score("test", test))
        print(f"The test split of these data was {ledger.in_words(before)}.")
    else:
        print(f"test       closed ({ledger.in_words(before)}); open it with: epochal evaluate {fit.folder}")
    print(f"run        {fit.folder}\ntable      {session.path}/results.csv, {session.path}/error.svg")


def _told(session: "Session", selected: "Selected", seconds: dict[str, float]) -> dict[str, Any]:
    from epochal.selection import table

    chosen, fit = selected.chosen, selected.fit
    decisions = session.selecting.journal.decisions
    return {
        "selection": str(session.path),
        "data": session.selecting.data.source,
        "candidates": [table.record(standing) for standing in selected.standings],
        "chosen": chosen.candidate.number if chosen else None,
        "ways": sorted({str(way) for key, way in decisions.items() if key.startswith("way ")}),
        "notes": list(selected.notes),
        "steps": selected.steps,
        "seconds": seconds,
        "run": str(fit.folder) if fit else None,
        "parameters_sha256": fit.parameters_sha256 if fit else None,
        "stopped": "done",
    }
