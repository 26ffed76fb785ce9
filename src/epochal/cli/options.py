"""Options that several commands share, as dataclasses from which the command line is derived."""

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

from cyclopts import Parameter

from epochal.errors import RecipeError

if TYPE_CHECKING:
    from epochal.dataset import Dataset
    from epochal.models import Model
    from epochal.sources import Raw

Flag = Annotated[bool, Parameter(negative="")]


@dataclass(frozen=True, kw_only=True)
class Reading:
    """How a data set is read."""

    labels: Path | None = None
    """File of labels, for sources that hold features alone."""

    divisor: float | None = None
    """Stored features are divided by this in the step; left out: 255 for uint8 images, else 1."""

    holdout: Literal["auto", "last", "stratified"] = "auto"
    """Which sixth of train becomes the validation (and test) split where the source has none."""

    split_seed: int = 0
    """Seeds the stratified hold-out."""

    host_memory: str | None = None
    """What files may unpack to, like 2GB; left out: half of the free memory."""

    offline: Flag = False
    """Never fetch a data set by name."""

    def read(self, source: str) -> "Raw":
        """What `source` holds, labels or none."""
        from epochal.sources import read

        return read(source, offline=self.offline, memory_bytes=amount(self.host_memory, "--host-memory"))

    def load(self, source: str) -> "Dataset":
        """The data set that `source` names, read in this way."""
        from epochal.dataset import load

        return load(
            source,
            labels=self.labels,
            divisor=self.divisor,
            holdout=self.holdout,
            split_seed=self.split_seed,
            offline=self.offline,
            memory_bytes=amount(self.host_memory, "--host-memory"),
        )


@dataclass(frozen=True, kw_only=True)
class Architecture:
    """Which model is trained."""

    model: Literal["logistic", "mlp", "lenet"] = "mlp"
    """The model."""

    hidden: str = "500"
    """Width of the hidden layer; several layers of an mlp as 500x300."""

    activation: Literal["relu", "tanh", "sigmoid"] = "relu"
    """Of the hidden layers; the tutorials use tanh."""

    kernels: str = "20x50"
    """Feature maps of lenet's two convolutions."""

    kernel_size: int = 5
    """Side of lenet's convolution kernels."""

    def build(self) -> "Model":
        """The model. Raises RecipeError."""
        from epochal.models import lenet, logistic, mlp

        if self.model == "logistic":
            return logistic()
        if self.model == "mlp":
            return mlp(numbers(self.hidden, "hidden"), self.activation)
        widths = numbers(self.hidden, "hidden")
        if len(widths) != 1:
            raise RecipeError(f"hidden: lenet has one hidden layer, got {self.hidden!r}; give one width")
        return lenet(numbers(self.kernels, "kernels"), widths[0], self.kernel_size, self.activation)


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
