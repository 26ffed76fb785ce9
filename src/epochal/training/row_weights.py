"""What a row counts in the loss: its own weight, times that of its class."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Literal

import numpy as np

from epochal.data.dataset import Split
from epochal.errors import RecipeError

ClassWeight = Literal["balanced"] | Mapping[str, float] | None


def weighed(split: Split, class_weight: ClassWeight, classes: Sequence[str]) -> Split:
    """`split` with the weights of its rows and of their classes multiplied; itself where all are 1.

    `balanced` weighs a class by rows / (classes * its rows), as scikit-learn does; a mapping by the class's name, 1
    where it names none. Raises RecipeError for a name that is no class.
    """
    if class_weight is None:
        return split
    of_class = np.ones(len(classes))
    if isinstance(class_weight, Mapping):
        for name, weight in class_weight.items():
            if str(name) not in classes:
                raise RecipeError(f"class_weight: there is no class {name!r}; there are {', '.join(classes[:20])}")
            of_class[classes.index(str(name))] = weight
    else:
        rows = np.bincount(split.y, split.weight, minlength=len(classes))
        of_class = rows.sum() / (len(classes) * np.maximum(rows, np.finfo(float).tiny))
    weight = of_class[split.y].astype(np.float32)
    return replace(split, weight=weight if split.weight is None else weight * split.weight)
