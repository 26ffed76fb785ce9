"""What of a run is code: its model, and its recipe with the functions that this names."""

from pathlib import Path
from typing import Any, NamedTuple

from epochal.errors import RunError, option
from epochal.models.adapters import adapted
from epochal.models.base import Model
from epochal.runs import kept_code
from epochal.runs.kept_code import Kept
from epochal.runs.schema import RunRecord
from epochal.system import user_file
from epochal.system.user_file import Fetched
from epochal.training import user_functions
from epochal.training.recipe import FUNCTIONS, Recipe
from epochal.training.user_functions import Functions


class RunCode(NamedTuple):
    """A run, and those of its code that may be executed: nothing has been so far."""

    path: Path
    record: RunRecord
    kept: Kept

    @classmethod
    def opened(cls, path: Path, record: RunRecord, names: tuple[str, ...], *, trusted: bool) -> "RunCode":
        """The run in `path`, of which what is used for `names` is to be executed. Raises RunError where it may not."""
        uses = record.uses
        needed = [uses[name] for name in names if name in uses]
        return cls(path, record, kept_code.opened(path, record.code, uses, needed, trusted=trusted))

    def changed(self, *, strict: bool = False, given: Any = None) -> list[str]:
        """Notes on files that have changed since, and on kept ones. Raises RunError for them if `strict`.

        `given` is a model in place of the run's.
        """
        notes = self.kept.notes() + self.kept.changed()
        if strict and given is not None and self.record.model.reference:
            notes = [f"{option('model', 'FILE.py:NAME')} takes another file than the text that the run keeps"]
        if strict and notes:
            remedy = "bring it back as it was, or resume" if given is None else "leave it out, or resume"
            raise RunError(f"{self.path}: {notes[0]}; {remedy} without --strict")
        return notes

    def model(self, given: Any) -> Model:
        """The model of the run, or `given` in its place. Raises RunError, RecipeError."""
        model, data = self.record.model, self.record.data
        shape, classes = data.example_shape, len(data.classes)
        if given is not None:
            return adapted(given, shape, classes)
        if model.reference:
            return adapted(model.reference, shape, classes, self.kept.fetch)
        if not model.built_in:
            name = kept_code.plain(repr(model.name))
            raise RunError(
                f"{self.path}: was trained with the model {name} of your own; give it: load_run(RUN, model=…)"
            )
        return model.build()

    def recipe(self, given: Recipe | None) -> Recipe:
        """The recipe of the run, or `given`, which must be the same where that can be told. Raises RunError."""
        values, by_value = self.record.recipe, self.record.by_value
        if given is None:
            lost = [name for name in by_value if name in values]
            if lost:
                raise RunError(
                    f"{self.path}: was trained with its {lost[0]} given by value; give it: load_run(RUN, recipe=…)"
                )
            return Recipe.from_dict(values)
        differ = [k for k in values if k not in by_value and given.to_dict().get(k) != values[k]]
        if differ:
            key = differ[0]
            raise RunError(f"{self.path}: its recipe has {key} = {values[key]!r}, got {given.to_dict().get(key)!r}")
        return given

    def functions(self, recipe: Recipe) -> Functions:
        """The functions of `recipe`: what a file is named for in the run is executed as the run keeps it."""
        # What was given by value then may be a file now, which only the caller can have named.
        by_value = [getattr(recipe, name) for name in FUNCTIONS if name in self.record.by_value]

        def fetch(of: Any) -> Fetched:
            return (user_file.fetch if any(of is given for given in by_value) else self.kept.fetch)(of)

        return user_functions.functions(recipe, fetch)
