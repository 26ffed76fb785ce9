"""Options that several commands share, each declared once, with the group of the help that it stands in."""

import ast
import inspect
from dataclasses import dataclass, field, fields, make_dataclass
from functools import cache
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

from cyclopts import Group, Parameter

from epochal.data.options import Reading
from epochal.errors import RecipeError
from epochal.system.options import Options, within

if TYPE_CHECKING:
    from epochal.models.base import Model

DATA, MODEL, TRAINING, STOPPING, SELECTION, DEVICE, RUN, OUTPUT = (
    Group(name, sort_key=place)
    for place, name in enumerate(
        ("Data", "Model", "Training", "Stopping", "Selection", "Device", "Run", "Output"), start=1
    )
)
GROUPS = {"stopping": STOPPING}
"""Groups of the help by the word in a field's metadata."""

Flag = Annotated[bool, Parameter(negative="")]
Flat = Parameter(name="*")

_DATA = "A file, a folder, or a name: digits (offline), mnist, fashion-mnist."
_MEMORY = "What the rows may take on the device, like 2GB; left out: what it has free."
_OUT = "The folder to keep it in; left out: a new one below runs/."
_CONFIG = "A TOML file of these options, such as a run's recipe.toml; options given here win."
_LOG = "A tool that the curves go to besides the run's history; may be given several times."
_TRUST = "Execute code that a run keeps and that no run of yours has written."

Data = Annotated[str, Parameter(name=("--data", "--train"), group=DATA, help=_DATA)]
LoadOptions = Annotated[Reading, Parameter(name="*", group=DATA)]
RunPath = Annotated[Path, Parameter(help="A run folder.")]
Trust = Annotated[bool, Parameter(negative="", help=_TRUST)]
Memory = Annotated[str | None, Parameter(group=DEVICE, help=_MEMORY)]
Out = Annotated[Path | None, Parameter(group=RUN, help=_OUT)]
Config = Annotated[Path | None, Parameter(group=RUN, help=_CONFIG)]
Log = Annotated[
    tuple[Literal["tensorboard", "mlflow", "wandb", "trackio"], ...], Parameter(negative="", group=RUN, help=_LOG)
]
Json = Annotated[bool, Parameter(negative="", group=OUTPUT, help="Print one JSON object on standard output.")]
Quiet = Annotated[bool, Parameter(negative="", group=OUTPUT, help="No progress on standard error.")]


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


@dataclass(frozen=True, kw_only=True)
class Code:
    """Which code of a model is executed where a run is opened."""

    model: str | None = None
    """FILE.py:NAME takes the model of that file as it is now; left out: the text that the run keeps."""

    trust: Trust = False

    @property
    def reference(self) -> str | None:
        """The absolute form of FILE.py:NAME, None where it is left out. Raises RecipeError."""
        from epochal.system import user_file

        if self.model is None or user_file.is_reference(self.model):
            return None if self.model is None else user_file.absolute(self.model)
        raise RecipeError(
            f"--model: must be FILE.py:NAME, in place of the model that the run keeps, got {self.model!r}"
        )


@cache
def documented(of: type) -> dict[str, str]:
    """The docstring under each field of a dataclass."""
    body = ast.parse(inspect.getsource(of)).body[0]
    assert isinstance(body, ast.ClassDef)
    pairs = [
        (line.target.id, after.value.value)
        for line, after in pairwise(body.body)
        if isinstance(line, ast.AnnAssign) and isinstance(line.target, ast.Name)
        if isinstance(after, ast.Expr) and isinstance(after.value, ast.Constant)
    ]
    return {name: text for name, text in pairs if isinstance(text, str)}


def grouped(name: str, groups: dict[type, Group], *, base: type = object, kind: Any = None) -> Any:
    """A dataclass of the fields of several, each with the group of its class, or that of the field's metadata.

    It checks nothing. With a `kind`, all fields are of that type, and None where they are left out.
    """
    members = []
    for of, group in groups.items():
        for one in fields(of):
            shown = Parameter(group=GROUPS.get(one.metadata.get("group", ""), group), help=documented(of)[one.name])
            annotation: Any = kind or one.type
            members.append((one.name, Annotated[annotation, shown], field(default=None if kind else one.default)))
    made = make_dataclass(name, members, bases=(base,), frozen=True, kw_only=True)
    made.__module__ = __name__  # else cyclopts cannot tell the types of the fields
    return made


def amount(text: str | None, option: str) -> int | None:
    """An amount of memory like 2GB in bytes. Raises RecipeError."""
    from epochal.system.memory import parse_bytes

    try:
        return None if text is None else parse_bytes(text)
    except ValueError as error:
        raise RecipeError(f"{option}: {error}") from None
