"""`select` and `resume`: a selection from its beginning, or from its folder, to its end."""

import logging
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from epochal.data.dataset import Dataset
from epochal.models.base import Model
from epochal.selection.options import Choosing
from epochal.selection.result import Selected
from epochal.selection.search import CandidateList, Search
from epochal.selection.session import Session
from epochal.selection.space import product_of
from epochal.training.recipe import Recipe

log = logging.getLogger("epochal")


def select(
    model: Model | list[Model] | Any,
    data: Dataset,
    recipes: Recipe | Sequence[Recipe] | Search,
    *,
    out: str | Path | None = None,
    memory_bytes: int | None = None,
    **options: Any,
) -> Selected:
    """Train every model with every recipe, and choose by the validation error; the test split stays closed.

    `model` is what `train` takes, or a list of such. `recipes` may also be a search, such as `selection.Study`, which
    brings its models. `options` are the fields of `selection.Choosing`: seeds, folds, halving, vectorize, refit, ….
    Recipes that differ in numbers alone are trained in one program where the device and the size of the model promise
    that this is faster; those that are equal are trained once, with a note in `Selected.notes`. With
    `out`, the selection is kept in that folder, and `selection.resume` goes on with it after an interruption.

    Raises RecipeError, CapacityError, DataError as `train` does; a recipe that diverges is an outcome, and no error.
    """
    choosing = Choosing.from_dict(options)
    if isinstance(recipes, Recipe | Sequence):
        search: Search = CandidateList(product_of(model, recipes))
    else:
        search = recipes
    return _finished(Session.begin(search, data, choosing, Path(out) if out else None, memory_bytes, log.info))


def resume(path: str | Path, data: Dataset | None = None, *, trust: bool = False) -> Selected:
    """Go on with the selection in `path` to its end. Raises what `Session.resume` raises."""
    return _finished(Session.resume(path, data, trust=trust))


def _finished(session: Session) -> Selected:
    try:
        for _ in session.moments():
            pass
        selected = session.finish()
        assert selected is not None  # nobody interrupts it
        return selected
    finally:
        session.close()
