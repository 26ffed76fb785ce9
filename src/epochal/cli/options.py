"""Options that several commands share, as dataclasses from which the command line is derived."""

from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Literal

from cyclopts import Parameter

from epochal.errors import RecipeError

if TYPE_CHECKING:
    from epochal.models.base import Model
    from epochal.runs.options import CheckpointOptions

Flag = Annotated[bool, Parameter(negative="")]
Flat = Parameter(name="*")
Tools = Annotated[
    tuple[Literal["tensorboard", "mlflow", "wandb", "trackio"], ...], Parameter(name="--log", negative="")
]


@dataclass(frozen=True, kw_only=True)
class Architecture:
    """Which model is trained."""

    model: Literal["logistic", "mlp", "lenet"] | str = "mlp"
    """The model: one of these, or FILE.py:NAME, which names an epochal.Model, a module of Flax or Equinox, or what
    makes one."""

    hidden: str | None = None
    """Width of the hidden layer of mlp and lenet; several layers of an mlp as 500x300. Left out: 500."""

    activation: Literal["relu", "tanh", "sigmoid"] | None = None
    """Of the hidden layers of mlp and lenet; the tutorials use tanh. Left out: relu."""

    kernels: str | None = None
    """Feature maps of lenet's two convolutions. Left out: 20x50."""

    kernel_size: int | None = None
    """Side of lenet's convolution kernels. Left out: 5."""

    def build(self) -> "Model | str":
        """The model, or the absolute form of FILE.py:NAME. Raises RecipeError."""
        from epochal.models.built_in import named

        options = dict(vars(self))
        return named(options.pop("model"), options)


@dataclass(frozen=True, kw_only=True)
class Keep:
    """How the run is kept."""

    checkpoint_seconds: float = 60.0
    """Seconds between two checkpoints at most; a new best is saved as soon as that costs less than 2 %."""

    on_storage_error: Literal["retry", "stop"] = "retry"
    """Where a checkpoint cannot be saved: go on and try again, or stop with exit code 1."""

    no_test: Flag = False
    """Leave the test split closed."""

    def keeping(self) -> "CheckpointOptions":
        """The same for the run folder. Raises RecipeError."""
        from epochal.runs.options import CheckpointOptions

        return CheckpointOptions(**vars(self))


def amount(text: str | None, option: str) -> int | None:
    """An amount of memory like 2GB in bytes. Raises RecipeError."""
    from epochal.system.memory import parse_bytes

    try:
        return None if text is None else parse_bytes(text)
    except ValueError as error:
        raise RecipeError(f"{option}: {error}") from None
