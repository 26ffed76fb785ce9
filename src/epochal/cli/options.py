"""Options that several commands share, as dataclasses from which the command line is derived."""

from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Literal

from cyclopts import Parameter

from epochal.errors import RecipeError

if TYPE_CHECKING:
    from epochal.keeping import Keeping
    from epochal.models import Model

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

    hidden: str = "500"
    """Width of the hidden layer; several layers of an mlp as 500x300."""

    activation: Literal["relu", "tanh", "sigmoid"] = "relu"
    """Of the hidden layers; the tutorials use tanh."""

    kernels: str = "20x50"
    """Feature maps of lenet's two convolutions."""

    kernel_size: int = 5
    """Side of lenet's convolution kernels."""

    def build(self) -> "Model | str":
        """The model, or the absolute form of FILE.py:NAME. Raises RecipeError."""
        from epochal import userfile
        from epochal.models import BUILT_IN, lenet, logistic, mlp

        if userfile.is_reference(self.model):
            return userfile.absolute(self.model)
        if self.model not in BUILT_IN:
            raise RecipeError(f"model: must be one of {', '.join(BUILT_IN)}, or FILE.py:NAME, got {self.model!r}")
        if self.model == "logistic":
            return logistic()
        if self.model == "mlp":
            return mlp(numbers(self.hidden, "hidden"), self.activation)
        widths = numbers(self.hidden, "hidden")
        if len(widths) != 1:
            raise RecipeError(f"hidden: lenet has one hidden layer, got {self.hidden!r}; give one width")
        return lenet(numbers(self.kernels, "kernels"), widths[0], self.kernel_size, self.activation)


@dataclass(frozen=True, kw_only=True)
class Keep:
    """How the run is kept."""

    checkpoint_seconds: float = 60.0
    """Seconds between two checkpoints at most; a new best is saved as soon as that costs less than 2 %."""

    on_storage_error: Literal["retry", "stop"] = "retry"
    """Where a checkpoint cannot be saved: go on and try again, or stop with exit code 1."""

    no_test: Flag = False
    """Leave the test split closed."""

    def keeping(self) -> "Keeping":
        """The same for the run folder. Raises RecipeError."""
        from epochal.keeping import Keeping

        return Keeping(**vars(self))


def numbers(text: str, name: str) -> list[int]:
    """`500x300` as [500, 300]. Raises RecipeError."""
    try:
        return [int(part) for part in str(text).split("x")]
    except ValueError:
        raise RecipeError(f"{name}: must be whole numbers joined by x, like 500 or 500x300, got {text!r}") from None


def amount(text: str | None, option: str) -> int | None:
    """An amount of memory like 2GB in bytes. Raises RecipeError."""
    from epochal.memory import parse_bytes

    try:
        return None if text is None else parse_bytes(text)
    except ValueError as error:
        raise RecipeError(f"{option}: {error}") from None
