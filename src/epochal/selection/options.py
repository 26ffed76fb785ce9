"""How candidates are compared: one frozen, validated dataclass."""

from dataclasses import dataclass
from typing import ClassVar, Literal

from epochal.errors import RecipeError
from epochal.system.options import Options, needing, within


@dataclass(frozen=True, kw_only=True)
class Choosing(Options):
    """Options of `select`. Raises RecipeError, naming field, value and range, where one makes no sense."""

    unknown: ClassVar[str] = "select: no option"

    seeds: int = within(1, least=1, most=1000)
    """Seeds to train every candidate with: its own and the ones after it; the mean error counts."""

    folds: int = within(0, least=0, most=1000)
    """Cross-validation over the train and validation rows in so many folds, for small data; 0: the validation split."""

    fold_seed: int | None = needing("folds", least=0, below=2**32)
    """Seeds the draw of the folds. Left out: 0."""

    halving: bool = False
    """Successive halving: train all a little, keep the best third, go on with it."""

    factor: int | None = needing("halving", least=2, most=1000)
    """With halving: one candidate in so many is kept. Left out: 3."""

    vectorize: Literal["auto", "always", "never", "measure"] = "auto"
    """Whether candidates of one shape are trained in one program; auto: by the kind of device and the size of the
    model; measure: as a short measurement says, so that near ties may rank differently another time."""

    refit: bool = False
    """Train the chosen recipe once more on train and validation rows, for as many epochs as its best took."""

    refit_steps: int | None = within(None, least=1, most=2**31 - 1)
    """The same for so many updates."""

    checkpoint_seconds: float = within(60.0, least=0)
    """Seconds between two checkpoints of the trainings in progress."""

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.folds == 1:
            raise RecipeError("folds: must be 0, or at least 2, got 1; one fold leaves nothing to train on")

    @property
    def refits(self) -> bool:
        """Whether the chosen recipe is trained once more."""
        return self.refit or self.refit_steps is not None
