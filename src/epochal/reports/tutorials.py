"""The tutorials' published results, with the settings that gave them."""

from dataclasses import dataclass, replace

from epochal.data.dataset import Dataset
from epochal.models.base import Model
from epochal.models.built_in import lenet, logistic, mlp
from epochal.training.recipe import Recipe


@dataclass(frozen=True)
class Published:
    """A line of the tutorials' table: a model, its settings, and percent of wrong rows on validation and test."""

    model: Model
    recipe: Recipe
    valid: float
    test: float
    took: str
    scored_rows: int | None = None  # the tutorials score whole batches only; None where that drops no row

    def cut(self, data: Dataset) -> Dataset:
        """`data` with the validation and test rows that the tutorials score."""
        if self.scored_rows is None:
            return data
        return replace(data, valid=data.valid[: self.scored_rows], test=data.test[: self.scored_rows])


PUBLISHED = {
    "logistic": Published(
        logistic(),
        Recipe(learning_rate=0.13, batch_size=600, epochs=1000, patience_steps=5000, shuffle="none", drop_last=True),
        7.5,
        7.489583,
        "74 epochs, 1.94 epochs/s",
        scored_rows=9600,
    ),
    "mlp": Published(
        mlp(500, "tanh"),
        Recipe(learning_rate=0.01, batch_size=20, epochs=1000, patience_steps=10_000, l2=1e-4, shuffle="none"),
        1.69,
        1.65,
        "828 epochs, 97 min",
    ),
    "lenet": Published(
        lenet((20, 50), 500, activation="tanh"),
        Recipe(learning_rate=0.1, batch_size=500, epochs=200, patience_steps=10_000, shuffle="none"),
        0.91,
        0.92,
        "200 epochs, 380 min on a CPU, 32.5 min on a GTX 480",
    ),
}
