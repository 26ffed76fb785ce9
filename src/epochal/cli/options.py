"""Options that several commands share, as dataclasses from which the command line is derived."""

from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Literal

from cyclopts import Parameter

from epochal.errors import RecipeError
from epochal.system.options import Options, within

if TYPE_CHECKING:
    from epochal.models import Model

Flag = Annotated[bool, Parameter(negative="")]
Flat = Parameter(name="*")
Tools = Annotated[
    tuple[Literal["tensorboard", "mlflow", "wandb", "trackio"], ...], Parameter(name="--log", negative="")
]


@dataclass(frozen=True, kw_only=True)
class Architecture(Options):
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

    kernel_size: int | None = within(None, least=1)
    """Side of lenet's convolution kernels. Left out: 5."""

    def build(self) -> "Model | str":
        """The model, or the absolute form of FILE.py:NAME. Raises RecipeError."""
        from epochal.models.built_in import named

        options = dict(vars(self))
        return named(options.pop("model"), options)


def amount(text: str | None, option: str) -> int | None:
    """An amount of memory like 2GB in bytes. Raises RecipeError."""
    from epochal.system.memory import parse_bytes

    try:
        return None if text is None else parse_bytes(text)
    except ValueError as error:
        raise RecipeError(f"{option}: {error}") from None
