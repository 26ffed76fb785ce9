"""Every hyper-parameter of a run: one frozen, validated dataclass, from which command line and TOML derive."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, fields
from typing import Any, ClassVar, Literal, NamedTuple

from epochal.errors import RecipeError, option
from epochal.system import user_file
from epochal.system.options import Options, checked, read_by, within
from epochal.training import class_weights

Schedule = Literal["constant", "inverse_time", "cosine"]
Shuffle = Literal["full", "blocks", "none"]
Dtype = Literal["float32", "float64"]
AUGMENTATIONS = ("shift", "flip")


class Rule(NamedTuple):
    """A named optimizer: its default learning rate, and its direction, an optax transformation without a rate.

    The direction is made of the module optax, which only a training imports, and of the recipe's traced numbers.
    """

    rate: float
    direction: Callable[[Any, Any], Any]


OPTIMIZERS = {
    "sgd": Rule(0.1, lambda optax, numbers: optax.identity()),
    "momentum": Rule(0.01, lambda optax, numbers: optax.trace(numbers.momentum)),
    "nesterov": Rule(0.01, lambda optax, numbers: optax.trace(numbers.momentum, nesterov=True)),
    "adam": Rule(0.001, lambda optax, numbers: optax.scale_by_adam()),
    "adamw": Rule(
        0.001,
        lambda optax, numbers: optax.chain(optax.scale_by_adam(), optax.add_decayed_weights(numbers.weight_decay)),
    ),
}
"""The optimizers by name. One with a number of its own has a row here and a field of the recipe, `traced`, below."""

FUNCTIONS = ("optimizer", "loss", "augment")
"""Fields that may name a file, or hold an object."""

OptimizerName = Literal[tuple(OPTIMIZERS)]  # pyrefly: ignore  # for the command line, which reads it as it runs
_LARGEST = {"float32": 3.4028234e38, "float64": float("inf")}
_RATES = {name: rule.rate for name, rule in OPTIMIZERS.items()}
_CONSTANT = dict.fromkeys(OPTIMIZERS, "constant")


def _optimizer(name: str, value: Any) -> Any:
    """A name, a transformation, or the absolute form of FILE.py:NAME."""
    if user_file.is_reference(value):
        return user_file.absolute(value)
    if not (hasattr(value, "init") and hasattr(value, "update")) and value not in OPTIMIZERS:
        names = ", ".join(OPTIMIZERS)
        raise RecipeError(f"{name}: must be one of {names}, FILE.py:NAME, or an optax transformation, got {value!r}")
    return value


def _function(name: str, value: Any) -> Any:
    """A function, None, names of augmentations, or the absolute form of FILE.py:NAME, so that a run finds it."""
    if value is None or callable(value):
        return value
    if user_file.is_reference(value):
        return user_file.absolute(value)
    if name == "augment" and isinstance(value, str) and set(value.split("+")) <= set(AUGMENTATIONS):
        return value
    also = f"{', '.join(AUGMENTATIONS)} (or both joined by +), " if name == "augment" else ""
    raise RecipeError(f"{name}: must be {also}FILE.py:NAME, or from Python a function, got {value!r}")


@dataclass(frozen=True, kw_only=True)
class Recipe(Options):
    """All hyper-parameters of a run. Raises RecipeError, naming field, value and range, where one makes no sense.

    Some are read only where another has a certain value, as the momentum by the optimizers momentum and nesterov: given
    elsewhere, they are refused. Left out, they are the default where they are read, and None where nothing reads them.

    `traced` in a field's metadata marks a number that is data of a run, and no part of its program, so that recipes
    that differ in it share one: True where the compiled step reads it, False where the host alone does. `group` is the
    field's part of the command's help where that is not Training.
    """

    learning_rate: float | None = read_by("optimizer", _RATES, above=0, traced=True)
    """Step size. Left out: 0.1 for sgd, 0.01 for momentum and nesterov, 0.001 for adam and adamw."""

    batch_size: int = within(20, least=1, most=2**31 - 1)
    """Rows in a minibatch."""

    epochs: int = within(100, least=1, most=10**12, traced=False, group="stopping")
    """Epochs at most."""

    patience_steps: int = within(10_000, least=1, group="stopping")
    """Minibatch updates to go on at least, whatever the validation says."""

    patience_increase: float = within(2.0, least=1, traced=False, group="stopping")
    """A new best at update t extends the patience to this times t."""

    improvement_threshold: float | None = read_by(
        "improvement_p", {None: 0.995}, above=0, most=1, traced=False, group="stopping"
    )
    """Only a validation error below this times the best extends the patience. Left out: 0.995, unless
    improvement_p is given."""

    improvement_p: float | None = within(None, above=0, below=1, traced=False, group="stopping")
    """In place of the threshold: only an improvement significant at this level (0.05, say) extends the patience."""

    optimizer: OptimizerName | str | Any = checked("sgd", _optimizer)
    """The update rule: a name, or any optax transformation, which brings its own learning rate: FILE.py:NAME, or from
    Python the object."""

    momentum: float | None = read_by("optimizer", {"momentum": 0.9, "nesterov": 0.9}, least=0, below=1, traced=True)
    """Decay of the velocity, for the optimizers momentum and nesterov. Left out: 0.9."""

    weight_decay: float | None = read_by("optimizer", {"adamw": 1e-4}, least=0, traced=True)
    """Decoupled weight decay, for the optimizer adamw. Left out: 0.0001."""

    schedule: Schedule | None = read_by("optimizer", _CONSTANT)
    """How the learning rate of a named optimizer changes: constant (left out), inverse_time as
    rate / (1 + decay * epoch), cosine to zero."""

    decay: float | None = read_by("schedule", {"inverse_time": None}, least=0, traced=True)
    """d in rate / (1 + d * epoch), epochs from 0: the schedule inverse_time needs it, nothing else reads it."""

    l1: float = within(0.0, least=0, traced=True)
    """Weight in the loss of the sum of absolute weights."""

    l2: float = within(0.0, least=0, traced=True)
    """Weight in the loss of the sum of squared weights."""

    shuffle: Shuffle = "full"
    """Order of the rows: a new permutation every epoch, blocks of rows shuffled within windows, or as they are."""

    block_rows: int | None = read_by("shuffle", {"blocks": 1024}, least=1, most=2**31 - 1)
    """Rows in a block, for the shuffle blocks. Left out: 1024."""

    drop_last: bool = False
    """Leave out the last minibatch of an epoch where it is smaller than the others."""

    dtype: Dtype = "float32"
    """Precision of the parameters and of the arithmetic (Theano's floatX)."""

    seed: int = within(0, least=0, below=2**32, traced=False)
    """Seeds the initial parameters, the order of the rows, dropout and augmentation."""

    label_smoothing: float = within(0.0, least=0, below=1, traced=True)
    """Part of the loss that asks for equal probabilities of all classes (Szegedy et al., CVPR 2016)."""

    class_weight: Any = checked(None, lambda _, value: class_weights.checked(value))
    """What the rows of a class count in the loss: balanced (all classes the same), or weights by name as ash=2,oak=0.5
    (1 for a class that is not named); from Python also a mapping."""

    loss: Any = checked(None, _function)
    """In place of the negative log-likelihood: FILE.py:NAME, or from Python a function (logits, y) -> loss per row."""

    augment: Any = checked(None, _function)
    """Changes one example in training: shift (by up to 2 pixels), flip (left and right), shift+flip, FILE.py:NAME, or
    from Python a pure function (key, x) -> x."""

    unknown: ClassVar[str] = "recipe: no hyper-parameter"

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.schedule == "inverse_time" and self.decay is None:
            raise RecipeError(
                f"decay: {option('schedule', 'inverse_time')} needs it; give for instance {option('decay', 0.1)}"
            )
        for name in (field.name for field in fields(self) if field.metadata.get("traced")):
            value, largest = getattr(self, name), _LARGEST[self.dtype]
            if value is not None and value > largest:
                raise RecipeError(
                    f"{name}: {value:g} is more than {self.dtype} holds, {largest:.2g}; take a smaller one"
                )

    def to_dict(self) -> dict[str, Any]:
        """The fields that are not None as plain values, in their order; what was given by value as its repr."""
        values = super().to_dict() | {name: repr(getattr(self, name)) for name in self.by_value}
        if isinstance(self.class_weight, Mapping):
            values["class_weight"] = class_weights.text(self.class_weight)
        return {name: value for name, value in values.items() if value is not None}

    @property
    def by_value(self) -> tuple[str, ...]:
        """Fields that hold objects, which no file can hold."""
        return tuple(name for name in FUNCTIONS if not isinstance(getattr(self, name), str | None))
