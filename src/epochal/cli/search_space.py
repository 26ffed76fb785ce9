"""The search space of `select` on the command line: every option of `train` that can have several values, as text."""

from collections.abc import Mapping
from dataclasses import dataclass, fields
from itertools import product
from typing import TYPE_CHECKING, Any

from epochal.cli.options import MODEL, TRAINING, Architecture, grouped
from epochal.system import options as of
from epochal.system.options import Unread
from epochal.training.recipe import Recipe

if TYPE_CHECKING:
    from epochal.models.base import Model
    from epochal.selection.space import Space


@dataclass(frozen=True, kw_only=True)
class Settings:
    """Options of `train`, each a value, values joined by commas, or a range LOW..HIGH."""

    def space(self) -> "Space":
        """The space they span. Raises RecipeError."""
        from epochal.selection.space import Space, parse

        given = {f.name: getattr(self, f.name) for f in fields(self) if getattr(self, f.name) is not None}
        axes = {name: parse(str(text), name) for name, text in given.items()}
        _check_read(axes, given)
        spare = {name: axis[0] for name, axis in axes.items() if isinstance(axis, tuple) and len(axis) == 1}
        several = {name: axis for name, axis in axes.items() if name not in spare}
        return Space(several, build, spare, unread, DECISIVE)


DECISIVE = ("model", *dict.fromkeys(other for f in fields(Recipe) for other in f.metadata.get("read_by", ())))
"""Options on which it depends whether others are read; the schedule behind the optimizer, on which it depends."""


def unread(values: Mapping[str, Any]) -> dict[str, Unread]:
    """Which of some options are not read beside the others, and why."""
    from epochal.models import built_in

    model, options = values.get("model", Architecture.model), {f.name for f in fields(Architecture)} - {"model"}
    found = {name: built_in.unread(model, name) for name in values if name in options}
    of_recipe = {f.name for f in fields(Recipe)}
    found |= {name: of.unread(Recipe, values, name) for name in values if name in of_recipe}
    return {name: reason for name in values if (reason := found.get(name)) is not None}


def _check_read(axes: Mapping[str, Any], given: Mapping[str, Any]) -> None:
    """Raise RecipeError for an option that no candidate reads."""
    decisive = [(name, axes[name]) for name in DECISIVE if name in axes]
    lists = [axis if isinstance(axis, tuple) else (axis.low,) for _, axis in decisive]
    first = {name: axis[0] for name, axis in axes.items() if isinstance(axis, tuple)}
    choices = [first | dict(zip(dict(decisive), chosen, strict=True)) for chosen in product(*lists)]
    ways = [unread(dict(axes) | chosen) for chosen in choices]
    for name in axes:
        if all(name in way for way in ways):
            for chosen, way in zip(choices, ways, strict=True):  # or a name is wrong
                build({other: value for other, value in chosen.items() if other not in way})
            raise ways[0][name].refusal(name, str(given[name]))


def build(values: Mapping[str, Any]) -> "tuple[Model | str, Recipe]":
    """The model, or the absolute form of FILE.py:NAME, and the recipe of some settings. Raises RecipeError."""
    # The options of an architecture are texts, as 500x300, but for numbers.
    structure: dict[str, Any] = {
        f.name: values[f.name] if f.type == int | None else str(values[f.name])
        for f in fields(Architecture)
        if f.name in values
    }
    recipe = {name: value for name, value in values.items() if name not in structure}
    model = Architecture(**structure).build()
    return model, Recipe.from_dict(recipe)


Grid: Any = grouped("Grid", {Architecture: MODEL, Recipe: TRAINING}, base=Settings, kind=str | None)
