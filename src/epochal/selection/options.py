"""How candidates are compared: one frozen, validated dataclass."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from typing import Any, Literal, Self, get_args

from epochal.errors import RecipeError, option


def not_read(name: str, value: Any, reader: str) -> RecipeError:
    """The error for an option that is read only beside another."""
    return RecipeError(
        f"{name}: {value} is not read without {option(reader)}; give that as well, or leave {option(name)} out"
    )


@dataclass(frozen=True, kw_only=True)
class Choosing:
    """Options of `select`. Raises RecipeError, naming field, value and range, where one makes no sense."""

    seeds: int = 1
    """Seeds to train every candidate with: its own and the ones after it; the mean error counts."""

    folds: int = 0
    """Cross-validation over the train and validation rows in so many folds, for small data; 0: the validation split."""

    fold_seed: int | None = None
    """Seeds the draw of the folds. Left out: 0."""

    halving: bool = False
    """Successive halving: train all a little, keep the best third, go on with it."""

    factor: int | None = None
    """With halving: one candidate in so many is kept. Left out: 3."""

    together: Literal["auto", "always", "never", "measure"] = "auto"
    """Whether candidates of one shape are trained in one program; auto: by the kind of device and the size of the
    model; measure: as a short measurement says, so that near ties may rank differently another time."""

    refit: bool = False
    """Train the chosen recipe once more on train and validation rows, for as many epochs as its best took."""

    refit_steps: int | None = None
    """The same for so many updates."""

    checkpoint_seconds: float = 60.0
    """Seconds between two checkpoints of the trainings in progress."""

    def __post_init__(self) -> None:
        whole = {"seeds": (1, 1000), "folds": (0, 1000), "fold_seed": (0, 2**32 - 1), "factor": (2, 1000)}
        whole |= {"refit_steps": (1, 2**31 - 1)}
        for name, (low, high) in whole.items():
            value = getattr(self, name)
            if value is None and name in ("fold_seed", "factor", "refit_steps"):
                continue
            if isinstance(value, bool) or not isinstance(value, int) or not low <= value <= high:
                raise RecipeError(f"{name}: must be a whole number from {low} to {high:,}, got {value!r}")
        if self.folds == 1:
            raise RecipeError("folds: must be 0, or at least 2, got 1; one fold leaves nothing to train on")
        if self.together not in (ways := get_args(Choosing.__annotations__["together"])):
            raise RecipeError(f"together: must be one of {', '.join(ways)}, got {self.together!r}")
        for name, by in (("factor", self.halving), ("fold_seed", self.folds)):
            if getattr(self, name) is not None and not by:
                raise not_read(name, getattr(self, name), "halving" if name == "factor" else "folds")
        if not self.checkpoint_seconds >= 0:
            raise RecipeError(f"checkpoint_seconds: must be at least 0, got {self.checkpoint_seconds!r}")

    @property
    def refits(self) -> bool:
        """Whether the chosen recipe is trained once more."""
        return self.refit or self.refit_steps is not None

    def to_dict(self) -> dict[str, Any]:
        """The fields as plain values."""
        return asdict(self)

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> Self:
        """The options of `values`; raises RecipeError for a name that is no field."""
        known = [field.name for field in fields(cls)]
        for name in values:
            if name not in known:
                raise RecipeError(f"select: no option is called {name!r}; there are {', '.join(known)}")
        return cls(**values)
