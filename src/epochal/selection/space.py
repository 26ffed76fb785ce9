"""Search spaces: values to try for each setting, as lists or ranges; all combinations of them, or random draws."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, fields
from itertools import product
from math import exp, inf, log, prod
from typing import Any

import numpy as np

from epochal.errors import RecipeError, option
from epochal.models.adapters import name_of
from epochal.models.built_in import named
from epochal.selection.candidate import Candidate
from epochal.system import user_file
from epochal.system.options import Unread
from epochal.training.recipe import Recipe

MAX_CANDIDATES = 100_000
"""More candidates than this are taken for a typing error."""


@dataclass(frozen=True)
class Range:
    """Numbers from `low` to `high`: whole ones evenly; others evenly on a log scale, or evenly if `low` is 0."""

    low: float
    high: float

    @property
    def whole(self) -> bool:
        return isinstance(self.low, int) and isinstance(self.high, int)

    @property
    def logarithmic(self) -> bool:
        return not self.whole and self.low > 0

    def at(self, u: float) -> float:
        """The number at `u`, 0 <= u < 1, of the range; six digits are kept, so that it can be typed again."""
        if self.whole:
            return int(self.low + u * (self.high - self.low + 1))
        if self.logarithmic:
            return float(f"{exp(log(self.low) + u * (log(self.high) - log(self.low))):.6g}")
        return float(f"{self.low + u * (self.high - self.low):.6g}")


Axis = tuple[Any, ...] | Range
Build = Callable[[Mapping[str, Any]], tuple[Any, Recipe]]
Conditions = Callable[[Mapping[str, Any]], Mapping[str, Unread]]


def always(values: Mapping[str, Any]) -> Mapping[str, Unread]:
    """Every setting is read, whatever the others are."""
    return {}


@dataclass(frozen=True)
class Space:
    """Settings by name with the values to try, and how a choice of values becomes a model and a recipe.

    `unread` returns which of some settings are not read beside the others: a candidate leaves them out. Whether they
    are read depends on those in `decisive` alone.
    """

    axes: Mapping[str, Axis]
    build: Build
    spare: Mapping[str, Any] = field(default_factory=dict)  # settings with one value, given to `build` as well
    unread: Conditions = always
    decisive: tuple[str, ...] = ()

    def candidate(self, number: int, values: Mapping[str, Any]) -> Candidate:
        """The candidate of one choice of values. Raises RecipeError."""
        whole = {**self.spare, **values}
        unread = self.unread(whole)
        model, recipe = self.build({name: value for name, value in whole.items() if name not in unread})
        varied = {name: value for name, value in values.items() if name not in unread}
        return Candidate(number, model, recipe, varied, unread=unread)

    def grid(self) -> list[Candidate]:
        """All combinations, the last setting running fastest. Raises RecipeError for a range, and for too many."""
        for name, axis in self.axes.items():
            if isinstance(axis, Range):
                raise RecipeError(
                    f"{name}: {axis.low:g}..{axis.high:g} is a range; say how many draws with {option('trials')}, or "
                    f"give a list"
                )
        lists = [axis for axis in self.axes.values() if not isinstance(axis, Range)]
        if (size := prod(len(axis) for axis in lists)) > MAX_CANDIDATES:
            raise RecipeError(
                f"select: the lists make {size:,} candidates, at most are {MAX_CANDIDATES:,}; give fewer values, or "
                f"draw some of them with {option('trials', 100)}"
            )
        combinations = product(*lists)
        return [self.candidate(i, dict(zip(self.axes, chosen, strict=True))) for i, chosen in enumerate(combinations)]

    def draws(self, trials: int, seed: int) -> list[Candidate]:
        """`trials` different random choices, or fewer where there are no more; always the same for the same seed.

        Raises RecipeError for too many.
        """
        check_trials(trials)
        by_settings: dict[tuple[Any, ...], Candidate] = {}
        size = prod(_size(axis) for axis in self.axes.values())
        wanted = trials if trials < size else int(size)
        for values in self._choices(seed, limit=100 * wanted):
            if len(by_settings) == wanted:
                break
            candidate = self.candidate(len(by_settings), values)
            by_settings.setdefault(tuple(candidate.varied.items()), candidate)
        return list(by_settings.values())

    def _choices(self, seed: int, limit: int) -> Iterator[dict[str, Any]]:
        # Raw words, which NumPy guarantees in all versions, one stream a draw: another axis does not shift later draws.
        for draw in range(limit):
            words = np.random.Philox(key=np.array([seed, draw], np.uint64)).random_raw(len(self.axes))
            u = ((words >> np.uint64(11)) * 2.0**-53).tolist()
            yield {name: _at(axis, part) for (name, axis), part in zip(self.axes.items(), u, strict=True)}


def check_trials(trials: int) -> None:
    """Raise RecipeError for a number of trials out of range."""
    if not 1 <= trials <= MAX_CANDIDATES:
        raise RecipeError(f"trials: must be a whole number from 1 to {MAX_CANDIDATES:,}, got {trials:,}")


def _size(axis: Axis) -> float:
    if isinstance(axis, Range):
        return axis.high - axis.low + 1 if axis.whole else inf
    return len(axis)


def _at(axis: Axis, u: float) -> Any:
    return axis.at(u) if isinstance(axis, Range) else axis[int(u * len(axis))]


def parse(text: str, name: str) -> Axis:
    """`0.01,0.03` as a list, `1e-4..1e-1` as a range, anything else as a list of one. Raises RecipeError.

    >>> parse("0.01,1e-4", "l2"), parse("10..500", "hidden"), parse("relu", "activation")
    ((0.01, 0.0001), Range(low=10, high=500), ('relu',))
    """
    ends = text.split("..")
    if len(ends) == 2 and not any(
        user_file.is_reference(part) for part in text.split(",")
    ):  # ../model.py:build is none
        low, high = (_literal(end) for end in ends)
        numbers = all(isinstance(end, (int, float)) and not isinstance(end, bool) for end in (low, high))
        if not numbers or not low < high or low < 0:
            raise RecipeError(f"{name}: a range is two numbers, from at least 0, the smaller first, got {text!r}")
        return Range(low, high)
    # Weights of classes are joined by commas themselves.
    values = tuple(_literal(part) for part in text.split(";" if name == "class_weight" else ","))
    if "" in values:
        raise RecipeError(f"{name}: a list is values joined by commas, got {text!r}")
    twice = [value for place, value in enumerate(values) if value in values[:place]]
    if twice:
        raise RecipeError(f"{name}: {twice[0]!r} is in the list {text!r} twice; leave one out")
    return values


def _literal(text: str) -> Any:
    text = text.strip()
    for kind in (int, float):
        try:
            return kind(text)
        except ValueError:
            continue
    return {"true": True, "false": False}.get(text.lower(), text)


def product_of(models: Any, recipes: Recipe | Sequence[Recipe]) -> list[Candidate]:
    """Every model with every recipe, models first. Raises RecipeError where there is none."""
    models = models if isinstance(models, list) else [models]
    recipes = [recipes] if isinstance(recipes, Recipe) else list(recipes)
    if not models or not recipes:
        raise RecipeError("select: there is nothing to choose from; give at least one model and one recipe")
    values = [recipe.to_dict() for recipe in recipes]
    names = [f.name for f in fields(Recipe) if len({repr(each.get(f.name)) for each in values}) > 1]
    candidates = []
    for model, name in zip(models, _distinct_names(models), strict=True):
        for each, recipe in zip(values, recipes, strict=True):
            varied = ({"model": name} if len(models) > 1 else {}) | {n: each[n] for n in names if n in each}
            candidates.append(Candidate(len(candidates), named(model), recipe, varied))
    return candidates


def _distinct_names(models: Sequence[Any]) -> list[str]:
    """The names of models in tables, no two the same."""
    names = [model if isinstance(model, str) else name_of(model) for model in models]
    return [
        name if names.count(name) == 1 else f"{name} #{names[: place + 1].count(name)}"
        for place, name in enumerate(names)
    ]
