"""Searches propose the candidates: a list that is known beforehand, or an Optuna study that learns from the results."""

from collections.abc import Mapping, Sequence
from dataclasses import fields, replace
from pathlib import Path
from typing import Any, Protocol

from epochal.errors import RecipeError, RunError
from epochal.selection.candidate import Candidate, Standing
from epochal.selection.space import Range, Space, check_trials
from epochal.system import extras, trust, user_file
from epochal.training.recipe import Recipe


class Search(Protocol):
    """Proposes candidates in batches. The state that comes with a batch is stored, for the results and for a resume."""

    @property
    def notes(self) -> Sequence[str]:
        """Notes for the user, before the training begins."""

    def ask(self, number: int) -> tuple[list[Candidate], dict[str, Any]]:
        """The next batch, its candidates numbered from `number`, and its state; none where the search has ended."""

    def tell(self, state: Mapping[str, Any], batch: Sequence[Standing]) -> None:
        """Take the results of a batch; `state` is what `ask` returned with it. May come twice."""

    def to_json(self) -> dict[str, Any]:
        """Its entry in selection.json."""

    def references(self) -> list[str]:
        """Objects in the user's files, as FILE.py:NAME, of which later candidates may be made."""


class CandidateList:
    """One batch: all of them, those that are the same once."""

    def __init__(self, candidates: Sequence[Candidate]):
        self.candidates, self.notes = distinct(candidates)

    def ask(self, number: int) -> tuple[list[Candidate], dict[str, Any]]:
        return ([], {}) if number else (self.candidates, {})

    def tell(self, state: Mapping[str, Any], batch: Sequence[Standing]) -> None:
        """Learns nothing."""

    def to_json(self) -> dict[str, Any]:
        # The candidates themselves are in the journal.
        return {"kind": "listed", "candidates": len(self.candidates)}

    def references(self) -> list[str]:
        return []


def distinct(candidates: Sequence[Candidate]) -> tuple[list[Candidate], list[str]]:
    """The first of each kind, with new numbers; and notes: which settings are not read, how many are the same."""
    first: dict[tuple[Any, ...], Candidate] = {}
    by_reasons: dict[tuple[str, ...], list[tuple[Any, ...]]] = {}
    for candidate in candidates:
        # Equal for candidates that train the same; objects are the same only where they are one.
        values = (getattr(candidate.recipe, field.name) for field in fields(Recipe))
        key = tuple(_hashable(value) for value in (candidate.model, *values))
        first.setdefault(key, candidate)
        reasons = tuple(f"{name} is not read {reason}" for name, reason in candidate.unread.items())
        by_reasons.setdefault(reasons, []).append(key)
    notes = []
    for reasons, keys in by_reasons.items():
        left = len(set(keys))
        if reasons:
            merged = f": {len(keys):,} candidates are {'one' if left == 1 else f'{left:,}'}" if left < len(keys) else ""
            notes.append(" and ".join(reasons) + merged)
        elif left < len(keys):
            notes.append(
                f"{len(keys) - left:,} of {len(keys):,} candidates have the model and the recipe of an earlier one: "
                f"each is trained once"
            )
    return [replace(candidate, number=number) for number, candidate in enumerate(first.values())], notes


def _hashable(value: Any) -> Any:
    if isinstance(value, Mapping):
        return tuple((str(name), weight) for name, weight in value.items())
    return value if isinstance(value, str | int | float | None) else id(value)


class Study:
    """Optuna's search by ask and tell, `batch` candidates at a time; several processes may share one study.

    `storage` is Optuna's: `sqlite:///FILE`, or the URL of a database server. `trials` are those of this process.
    A setting that the others leave unread gets no suggestion.
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
        """Opens or creates the study; it must have a trial `known` already, unless that is -1.

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
        trials = [self.study.ask() for _ in range(min(self.batch, self.trials - number))]
        candidates = [self.space.candidate(number + i, self._values(trial)) for i, trial in enumerate(trials)]
        return candidates, {"trials": [trial.number for trial in trials]}

    def _values(self, trial: Any) -> dict[str, Any]:
        """The suggestion for each setting that is read: first for those that decide which others are."""
        axes, spare, values = self.space.axes, self.space.spare, {}
        first = [name for name in self.space.decisive if name in axes]
        for name in (*first, *(name for name in axes if name not in first)):
            if name not in self.space.unread({**spare, **values, name: None}):
                values[name] = _suggested(trial, name, axes[name])
        return values

    def tell(self, state: Mapping[str, Any], batch: Sequence[Standing]) -> None:
        """Mean errors in percent; a candidate that diverged is a failed trial."""
        from optuna.trial import TrialState  # pyrefly: ignore

        of = {standing.candidate.number: standing for standing in batch}
        for number, trial in zip(sorted(of), state["trials"], strict=True):
            bad = of[number].diverged
            end = TrialState.FAIL if bad else TrialState.COMPLETE
            self.study.tell(trial, None if bad else of[number].mean, state=end, skip_if_finished=True)

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
