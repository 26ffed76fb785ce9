"""Where candidates come from: a list that is known beforehand, or a study that learns from the results."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol

from epochal.errors import RecipeError, RunError
from epochal.selection.candidate import Candidate, Standing
from epochal.selection.distinct import distinct
from epochal.selection.space import Range, Space, check_trials
from epochal.system import extras, trust, user_file


class Search(Protocol):
    """Proposes candidates in batches. What it tells of a batch is kept, and handed back when a selection resumes."""

    @property
    def notes(self) -> Sequence[str]:
        """What to say before it begins."""
        ...

    def ask(self, number: int) -> tuple[list[Candidate], dict[str, Any]]:
        """The next batch, its candidates numbered from `number`; none where the search has ended."""
        ...

    def tell(self, told: Mapping[str, Any], batch: Sequence[Standing]) -> None:
        """The results of a batch; `told` is what was told when it was asked for. May come twice."""
        ...

    def to_json(self) -> dict[str, Any]:
        """What `selection.json` keeps of it."""
        ...

    def references(self) -> list[str]:
        """Files of the user's, as FILE.py:NAME, that candidates to come may be made of."""
        ...


class Listed:
    """One batch: all of them, those that are the same once."""

    def __init__(self, candidates: Sequence[Candidate]):
        self.candidates, self.notes = distinct(candidates)

    def ask(self, number: int) -> tuple[list[Candidate], dict[str, Any]]:
        """All, once."""
        return ([], {}) if number else (self.candidates, {})

    def tell(self, told: Mapping[str, Any], batch: Sequence[Standing]) -> None:
        """Nothing is learnt."""

    def to_json(self) -> dict[str, Any]:
        """The candidates are in the journal."""
        return {"kind": "listed", "candidates": len(self.candidates)}

    def references(self) -> list[str]:
        """None: all candidates are known."""
        return []


class Study:
    """Optuna's search by ask and tell, `batch` candidates at a time; several processes may share one study.

    `storage` is Optuna's: `sqlite:///FILE`, or the URL of a database server. `trials` are those of this process.
    A setting that is not read beside the others is not asked for.
    """

    notes: Sequence[str] = ()

    def __init__(
        self,
        space: Space,
        trials: int,
        storage: str | None,
        name: str,
        seed: int = 0,
        batch: int = 8,
        *,
        known: int = -1,
    ):
        """Opens the study, or makes it; it must have a trial `known` already, unless that is -1.

        Raises RecipeError where Optuna is missing or the storage cannot be opened, RunError where that trial is not.
        """
        check_trials(trials)
        try:
            import optuna  # pyrefly: ignore
        except ImportError:
            raise RecipeError(f"optuna: is not installed; {extras.install('optuna')}") from None
        storage = absolute(storage)
        _check_there(storage, known)
        optuna.logging.set_verbosity(optuna.logging.WARNING)
        self.space, self.trials, self.storage, self.name, self.seed, self.batch = (
            space, trials, storage, name, seed, batch,
        )  # fmt: skip
        # Trials of one batch must not all be the same: those that run count as poor.
        sampler = optuna.samplers.TPESampler(seed=seed, constant_liar=True)
        try:
            self.study = optuna.create_study(
                storage=storage, study_name=name, sampler=sampler, direction="minimize", load_if_exists=True
            )
        except Exception as error:  # the storage's own errors: SQLAlchemy's, a driver's, a server's
            first = str(error).splitlines()[0] if str(error) else repr(error)
            raise RecipeError(
                f"optuna: the storage {storage!r} cannot be opened: {first}; write it like sqlite:///study.db"
            ) from None
        if known >= (there := len(self.study.get_trials(deepcopy=False))):
            raise RunError(
                f"optuna: the study {name!r} in {storage} has {there:,} trials, this selection has asked it for number "
                f"{known:,}; bring the database back"
            )

    def ask(self, number: int) -> tuple[list[Candidate], dict[str, Any]]:
        """The next few, until there were `trials`."""
        asked = [self.study.ask() for _ in range(min(self.batch, self.trials - number))]
        candidates = [self.space.candidate(number + i, self._values(trial)) for i, trial in enumerate(asked)]
        return candidates, {"trials": [trial.number for trial in asked]}

    def _values(self, trial: Any) -> dict[str, Any]:
        """What is suggested for each setting that is read: first for those that decide which others are."""
        axes, spare, found = self.space.axes, self.space.spare, {}
        first = [name for name in self.space.decisive if name in axes]
        for name in (*first, *(name for name in axes if name not in first)):
            if name not in self.space.unread({**spare, **found, name: None}):
                found[name] = _suggested(trial, name, axes[name])
        return found

    def tell(self, told: Mapping[str, Any], batch: Sequence[Standing]) -> None:
        """Mean errors in percent; a candidate that diverged is a failed trial."""
        from optuna.trial import TrialState  # pyrefly: ignore

        of = {standing.candidate.number: standing for standing in batch}
        for number, trial in zip(sorted(of), told["trials"], strict=True):
            bad = of[number].diverged
            state = TrialState.FAIL if bad else TrialState.COMPLETE
            self.study.tell(trial, None if bad else of[number].mean, state=state, skip_if_finished=True)

    def to_json(self) -> dict[str, Any]:
        """Storage and name, with which a resumed selection opens the study again."""
        axes = {
            name: {"low": axis.low, "high": axis.high} if isinstance(axis, Range) else list(axis)
            for name, axis in self.space.axes.items()
        }
        return {
            "kind": "optuna", "axes": axes, "spare": dict(self.space.spare), "trials": self.trials,
            "storage": self.storage, "name": self.name, "seed": self.seed, "batch": self.batch,
            "signature": trust.signature(contacted(self.storage, self.name)) if self.storage else None,
        }  # fmt: skip

    def references(self) -> list[str]:
        """Those among the values of the space."""
        axes = [axis for axis in self.space.axes.values() if isinstance(axis, tuple)]
        values = [*self.space.spare.values(), *(value for axis in axes for value in axis)]
        return [user_file.absolute(value) for value in values if user_file.is_reference(value)]


def absolute(storage: str | None) -> str | None:
    """A storage as another working folder finds it: a relative path of SQLite's becomes absolute.

    >>> absolute("sqlite:////tmp/study.db"), absolute("postgresql://host/name"), absolute("sqlite://")
    ('sqlite:////tmp/study.db', 'postgresql://host/name', 'sqlite://')
    """
    path = _sqlite_path(storage)
    if storage is None or path is None or path.is_absolute():
        return storage
    scheme, _, rest = storage.partition(":///")
    _, mark, query = rest.partition("?")
    return f"{scheme}:///{path.absolute()}{mark}{query}"


def contacted(storage: str | None, name: str) -> dict[str, Any]:
    """What a signature of the database covers that a selection opens."""
    return {"contacts": {"optuna": storage, "study": name}}


def _sqlite_path(storage: str | None) -> Path | None:
    """The file of an SQLite storage; None where it has none."""
    scheme, _, rest = (storage or "").partition(":///")
    path = rest.partition("?")[0]
    return Path(path) if scheme.startswith("sqlite") and path and path[0] != ":" and path[:5] != "file:" else None


def _check_there(storage: str | None, known: int) -> None:
    path = _sqlite_path(storage)
    if known >= 0 and path is not None and not path.is_file():
        raise RunError(f"optuna: {path} is not there, which this selection has asked before; bring the database back")


def _suggested(trial: Any, name: str, axis: Any) -> Any:
    if not isinstance(axis, Range):
        return trial.suggest_categorical(name, list(axis))
    if axis.whole:
        return trial.suggest_int(name, int(axis.low), int(axis.high))
    return trial.suggest_float(name, axis.low, axis.high, log=axis.logarithmic)
