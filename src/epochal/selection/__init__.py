"""Many recipes at once, compared on the validation set; the test set waits.

`select` is the door. A `Session` is a selection with its folder: begun, interrupted, resumed, ended.
"""

import logging
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from epochal.selection.options import Choosing
from epochal.system.facade import facade

if TYPE_CHECKING:
    from epochal.data.dataset import Dataset
    from epochal.models import Model
    from epochal.selection.search import Search
    from epochal.selection.session import Selected, Session
    from epochal.training.recipe import Recipe

__getattr__, __dir__, __all__ = facade(
    __name__,
    options="Choosing",
    space="Range Space parse",
    search="Listed Search Study",
    runner="",
    table="",
    session="Selected Session",
    reopen="taken_up",
)
__all__ += ["resume", "select"]

log = logging.getLogger("epochal")


def select(
    model: "Model | list[Model] | Any",
    data: "Dataset",
    recipes: "Recipe | Sequence[Recipe] | Search",
    *,
    out: str | Path | None = None,
    memory_bytes: int | None = None,
    **options: Any,
) -> "Selected":
    """Train every model with every recipe, and choose by the validation error; the test split stays closed.

    `model` is what `train` takes, or a list of such. `recipes` may also be a search, such as `selection.Study`, which
    brings its models. `options` are the fields of `selection.Choosing`: seeds, folds, halving, vectorize, refit, ….
    Recipes that differ in numbers alone are trained in one program where the device and the size of the model promise
    that this is faster; those that are equal are trained once, with a note in `Selected.notes`. With
    `out`, the selection is kept in that folder, and `selection.resume` takes it up where it was left.

    Raises RecipeError, CapacityError, DataError as `train` does; a recipe that diverges is an outcome, and no error.
    """
    from epochal.selection.search import Listed
    from epochal.selection.session import Session
    from epochal.selection.space import product_of
    from epochal.training.recipe import Recipe

    choosing = Choosing.from_dict(options)
    if isinstance(recipes, Recipe | Sequence):
        search: Search = Listed(product_of(model, recipes))
    else:
        search = recipes
    session = Session.begin(search, data, choosing, Path(out) if out else None, memory_bytes, log.info)
    return _drained(session)


def resume(path: str | Path, data: "Dataset | None" = None, *, trust: bool = False) -> "Selected":
    """Take up the selection in `path` and bring it to its end. Raises what `taken_up` raises."""
    from epochal.selection.reopen import taken_up

    return _drained(taken_up(path, data, trust=trust))


def _drained(session: "Session") -> "Selected":
    try:
        for _ in session.moments():
            pass
        selected = session.finish()
        assert selected is not None  # nobody interrupts it
        return selected
    finally:
        session.close()
