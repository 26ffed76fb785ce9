"""What a selection compares: candidates, their trials, the outcome of a trial, and the standing of a candidate."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from statistics import mean, stdev
from typing import Any, NamedTuple

from epochal.data.dataset import Dataset
from epochal.errors import RunError
from epochal.models.adapters import adapted
from epochal.models.base import Model
from epochal.runs.schema import ModelRecord
from epochal.system import user_file
from epochal.system.options import Unread
from epochal.training.progress import Stopped
from epochal.training.recipe import Recipe
from epochal.training.score import Score
from epochal.training.user_functions import Functions, functions


@dataclass(frozen=True, eq=False)
class Candidate:
    """A model and a recipe to compare with others. `varied` are the settings in which they differ.

    `functions` are the user's functions of the recipe. `unread` are settings that others have, and this one does not
    read.
    """

    number: int
    model: Model | Any
    recipe: Recipe
    varied: Mapping[str, Any] = field(default_factory=dict)
    functions: Functions | None = None
    unread: Mapping[str, Unread] = field(default_factory=dict)

    def seeded(self, place: int) -> Recipe:
        """The recipe with the seed of its trial number `place`: the recipe's seed, and the ones after it."""
        return replace(self.recipe, seed=(self.recipe.seed + place) % 2**32)

    def __str__(self) -> str:
        return " · ".join(f"{name} {shown(value)}" for name, value in self.varied.items()) or repr(self.model)

    def to_json(self) -> dict[str, Any]:
        """Plain values, from which `candidate_from` restores it unless parts were given by value."""
        return {
            "number": self.number, "model": ModelRecord.of(self.model).to_json(), "recipe": self.recipe.to_dict(),
            "by_value": list(self.recipe.by_value), "varied": dict(self.varied),
        }  # fmt: skip

    def adapted(self, data: Dataset, fetch: user_file.Fetch = user_file.fetch) -> "Candidate":
        """The same with a Model in place of what makes one, and with its functions. Raises RecipeError."""
        model = adapted(self.model, data.example_shape, len(data.classes), fetch)
        return replace(self, model=model, functions=functions(self.recipe, fetch))

    @property
    def code(self) -> dict[str, user_file.Fetched]:
        """The objects from the user's files, by FILE.py:NAME; of a candidate that is adapted."""
        sources = [self.model.source, *(self.functions.sources.values() if self.functions else ())]
        return {fetched.reference: fetched for fetched in sources if fetched.reference}


def candidate_from(values: Mapping[str, Any], data: Dataset, fetch: user_file.Fetch) -> Candidate:
    """The candidate of its JSON form. Raises RunError where its model or a part of its recipe was given by value."""
    number, model = values["number"], values["model"]
    lost = values["by_value"] or ([] if model.reference or model.built_in else [f"model {model.name!r}"])
    if lost:
        raise RunError(f"candidate {number}: its {lost[0]} was given by value, and is not kept; select again")
    restored = model.reference or model.build()
    return Candidate(number, restored, Recipe.from_dict(values["recipe"]), values["varied"]).adapted(data, fetch)


def shown(value: Any) -> str:
    return f"{value:.4g}" if isinstance(value, float) else str(value)


class Trial(NamedTuple):
    """One training: a candidate with its seed number `seed`, on fold `fold`; all count from 0."""

    candidate: int
    seed: int
    fold: int


@dataclass(frozen=True)
class Outcome:
    """The outcome of a trial, so far where `stopped` is None.

    `valid` is its best validation score, reached at `step`; None where nothing was validated. `steps` updates were
    done, `steps_per_epoch` of them an epoch.
    """

    trial: Trial
    valid: Score | None
    step: int
    steps: int
    steps_per_epoch: int
    stopped: Stopped | None
    seconds: float = 0.0

    def to_json(self) -> dict[str, Any]:
        return vars(self) | {"trial": list(self.trial), "valid": self.valid.to_json() if self.valid else None}


@dataclass(frozen=True, eq=False)
class Standing:
    """A candidate with the outcomes of all its trials. Its error is the mean over seeds, each over all folds."""

    candidate: Candidate
    outcomes: tuple[Outcome, ...]
    p: float | None = None  # McNemar against the chosen one, on the rows of the first seed

    @property
    def diverged(self) -> bool:
        """Whether a trial diverged, or none of its validations was reached: such a candidate is never chosen."""
        return any(outcome.stopped == Stopped.DIVERGED or outcome.valid is None for outcome in self.outcomes)

    @property
    def wrong(self) -> int:
        """Wrong rows of all trials: what the choice rests on, so that ties are exact."""
        return sum(outcome.valid.wrong for outcome in self.outcomes if outcome.valid)

    @cached_property
    def scores(self) -> list[Score]:
        """The score of each seed over all folds."""
        scores = []
        for seed in sorted({outcome.trial.seed for outcome in self.outcomes}):
            of_seed = [o.valid for o in self.outcomes if o.trial.seed == seed and o.valid]
            scores.append(Score(sum(score.wrong for score in of_seed), sum(score.of for score in of_seed)))
        return [score for score in scores if score.of]

    @property
    def mean(self) -> float:
        """Mean error in percent; NaN where nothing was validated."""
        return mean(score.percent for score in self.scores) if self.scores else float("nan")

    @property
    def deviation(self) -> float | None:
        """Standard deviation over the seeds in percent (n - 1); None for one seed."""
        return stdev(score.percent for score in self.scores) if len(self.scores) > 1 else None

    @property
    def spread(self) -> tuple[float, float]:
        """Least and largest error of a seed, in percent."""
        return min(s.percent for s in self.scores), max(s.percent for s in self.scores)

    @property
    def score(self) -> Score | None:
        """The mean over seeds as a count of rows, rounded; its Wilson interval is that of one seed's rows."""
        if not self.scores:
            return None
        return Score(round(sum(s.wrong for s in self.scores) / len(self.scores)), self.scores[0].of)

    @property
    def steps(self) -> int:
        """Updates done by all trials."""
        return sum(outcome.steps for outcome in self.outcomes)

    @property
    def stopped(self) -> str:
        return ", ".join(sorted({outcome.stopped or "not yet" for outcome in self.outcomes}))

    @property
    def rank(self) -> tuple[bool, int, int]:
        """The key of the order: fewest wrong rows first; ties go to the earlier candidate."""
        return self.diverged, self.wrong, self.candidate.number

    def best_trial(self) -> Outcome:
        """The trial with the fewest wrong rows; ties go to the earlier seed."""
        validated = [outcome for outcome in self.outcomes if outcome.valid]
        return min(validated, key=lambda outcome: (outcome.valid, outcome.trial))


def standings(candidates: Sequence[Candidate], outcomes: Iterable[Outcome]) -> list[Standing]:
    """The candidates that have outcomes, best first."""
    of: dict[int, list[Outcome]] = {}
    for outcome in outcomes:
        of.setdefault(outcome.trial.candidate, []).append(outcome)
    all_of = [Standing(candidates[number], tuple(sorted(o, key=lambda x: x.trial))) for number, o in of.items()]
    return sorted(all_of, key=lambda standing: standing.rank)
