"""`epochal select`."""

import re
import sys
import time
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from cyclopts import Parameter

from epochal.cli.options import SELECTION, Config, Data, Flat, Json, LoadOptions, Memory, Out, Quiet, amount
from epochal.cli.search_space import DECISIVE, Grid, Settings, build, unread
from epochal.data.options import Reading
from epochal.errors import RecipeError, RunError
from epochal.selection.options import Choosing
from epochal.system.options import Options, needing

if TYPE_CHECKING:
    from epochal.selection.result import Selected
    from epochal.selection.search import Search
    from epochal.selection.session import Session
    from epochal.system.signals import Signals


@dataclass(frozen=True, kw_only=True)
class SearchOptions(Options):
    """Where the candidates come from."""

    trials: int | None = None
    """Draw so many candidates at random in place of all combinations; with --optuna, let it propose so many."""

    search_seed: int | None = needing("trials", least=0, below=2**32)
    """Seeds the draws of --trials. Left out: 0."""

    optuna: str | None = None
    """Optuna's storage, like sqlite:///study.db: its search proposes the candidates, and machines may share it."""

    study: str | None = None
    """The study's name in that storage."""

    optuna_batch: int | None = needing("optuna", least=1)
    """With --optuna: candidates that are proposed, and trained, at a time. Left out: 8."""

    def build(self, settings: Settings) -> "Search":
        """The search of the space that `settings` span. Raises RecipeError."""
        from epochal.selection import CandidateList, Study
        from epochal.selection.space import check_trials

        space, seed = settings.space(), self.search_seed or 0
        if self.trials is not None:
            check_trials(self.trials)
        if (self.optuna is None) != (self.study is None):
            raise RecipeError("optuna: --optuna STORAGE and --study NAME go together; give both")
        if self.optuna is None or self.study is None:
            return CandidateList(space.grid() if self.trials is None else space.draws(self.trials, seed))
        if self.trials is None:
            raise RecipeError("optuna: say with --trials how many candidates this process is to train")
        space.draws(1, seed)  # an option that makes no sense is refused before the study is made
        return Study(space, self.trials, self.optuna, self.study, seed, self.optuna_batch or 8)


def select(
    data: Data = "digits",
    *,
    settings: Annotated[Grid, Flat] = Grid(),
    reading: LoadOptions = Reading(),
    search: Annotated[SearchOptions, Parameter(name="*", group=SELECTION)] = SearchOptions(),
    choosing: Annotated[Choosing, Parameter(name="*", group=SELECTION)] = Choosing(),
    open_test: Annotated[bool, Parameter(negative="", group=SELECTION)] = False,
    memory: Memory = None,
    out: Out = None,
    config: Config = None,
    json: Json = False,
    quiet: Quiet = False,
) -> int:
    """Train many recipes, choose one by its validation error, keep it as a run. The test split stays closed.

    Every option of a model or a recipe may have several values: a list as 0.01,0.03,0.1, or with --trials a range as
    1e-4..1e-1. What a candidate does not read, it goes without: the same ones are trained once. Class weights are
    joined by commas, several of them by semicolons: balanced;Yes=10,No=1.

    Parameters
    ----------
    open_test
        At the end, score the test split for the chosen one; the ledger of the data set keeps that it was done.

    """
    from epochal.cli import output
    from epochal.system.signals import listening

    with listening() as signals:
        begun = time.perf_counter()
        from epochal.data.loading import load
        from epochal.runs.writer import new_folder
        from epochal.selection.session import Session

        candidates = search.build(settings)
        dataset = load(data, reading)
        seconds = {"load": time.perf_counter() - begun}
        say = output.Printer(quiet=quiet or json)
        say(output.describe_data(dataset))
        path = out or new_folder(Path("runs"), re.sub(r"[^\w.-]+", "-", f"select-{Path(dataset.source).stem}"))
        session = Session.begin(candidates, dataset, choosing, path, amount(memory, "--memory"), say)
        session.note("open_test", open_test)
        return drain(session, signals, seconds, as_json=json, quiet=quiet)


def resume(path: Path, signals: "Signals", *, strict: bool, trust: bool, as_json: bool, quiet: bool) -> int:
    """`epochal resume` of a selection."""
    from epochal.cli import output
    from epochal.runs import versions
    from epochal.selection.session import Session

    begun = time.perf_counter()
    say = output.Printer(quiet=quiet or as_json)
    session = Session.resume(path, build=build, unread=unread, decisive=DECISIVE, say=say, trust=trust)
    differ = "; ".join(versions.differences(session.values["versions"]))
    if differ and strict:
        session.close()
        raise RunError(f"{path}: was begun elsewhere: {differ}; resume it there, or without --strict")
    for note in [*session.notes, *([f"bits may differ from an uninterrupted selection: {differ}"] if differ else [])]:
        say(f"note: {note}")
    done = sum(outcome.stopped is not None for outcome in session.runner.store.outcomes.values())
    say(f"{path}: goes on after {done:,} trials")
    return drain(session, signals, {"load": time.perf_counter() - begun}, as_json=as_json, quiet=quiet)


def drain(session: "Session", signals: "Signals", seconds: dict[str, float], *, as_json: bool, quiet: bool) -> int:
    """Run a selection to its end and say the outcome; returns the exit code."""
    from epochal.cli import output
    from epochal.cli.progress import SelectionLine, watch
    from epochal.cli.streams import OutputError

    signals.watch(session)
    try:
        watch(session.moments(), SelectionLine(), quiet=quiet or as_json)
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
    test, before = _opened(selected, open_test=session.values.get("open_test", False))
    seconds = seconds | {name: round(value, 6) for name, value in selected.seconds.items()}
    if as_json:
        output.print_json(
            _outcome(session, selected, seconds)
            | {"test": test.to_json() if test else None, "test_opened_before": before}
        )
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


def _outcome(session: "Session", selected: "Selected", seconds: dict[str, float]) -> dict[str, Any]:
    from epochal.selection import report

    chosen, fit = selected.chosen, selected.fit
    decisions = session.runner.store.decisions
    return {
        "selection": str(session.path),
        "data": session.runner.data.source,
        "candidates": [report.record(standing) for standing in selected.standings],
        "chosen": chosen.candidate.number if chosen else None,
        "ways": sorted({str(way) for key, way in decisions.items() if key.startswith("way ")}),
        "notes": list(selected.notes),
        "steps": selected.steps,
        "seconds": seconds,
        "run": str(fit.folder) if fit else None,
        "parameters_sha256": fit.parameters_sha256 if fit else None,
        "stopped": "done",
    }
