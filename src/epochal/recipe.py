"""Every hyper-parameter of a run: one frozen, validated dataclass, from which command line and TOML derive."""

import operator
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, fields
from math import isfinite
from numbers import Real
from typing import Any, Literal, Self, get_args

from epochal import userfile
from epochal.errors import RecipeError

OptimizerName = Literal["sgd", "momentum", "nesterov", "adam", "adamw"]
Schedule = Literal["constant", "decay", "cosine"]
Shuffle = Literal["full", "blocks", "none"]
Dtype = Literal["float32", "float64"]
AUGMENTATIONS = ("shift", "flip")

_RATES = {"sgd": 0.1, "momentum": 0.01, "nesterov": 0.01, "adam": 0.001, "adamw": 0.001}


def _within(default: Any, **limits: float) -> Any:
    """A field with limits: `least` or `above`, `most` or `below`."""
    return field(default=default, metadata=limits)


@dataclass(frozen=True, kw_only=True)
class Recipe:
    """All hyper-parameters of a run. Raises RecipeError, naming field, value and range, where one makes no sense."""

    learning_rate: float | None = _within(None, above=0)
    """Step size. Left out: 0.1 for sgd, 0.01 for momentum and nesterov, 0.001 for adam and adamw."""

    batch_size: int = _within(20, least=1)
    """Rows in a minibatch."""

    epochs: int = _within(100, least=1)
    """Epochs at most."""

    patience_steps: int = _within(10_000, least=1)
    """Minibatch updates to go on at least, whatever the validation says."""

    patience_increase: float = _within(2.0, least=1)
    """A new best at update t extends the patience to this times t."""

    improvement_threshold: float = _within(0.995, above=0, most=1)
    """Only a validation error below this times the best extends the patience."""

    improvement_test: float | None = _within(None, above=0, below=1)
    """In place of the threshold: only an improvement significant at this level (0.05, say) extends the patience."""

    optimizer: OptimizerName | str | Any = "sgd"
    """The update rule: a name, or any optax transformation, which brings its own learning rate: FILE.py:NAME, or from
    Python the object."""

    momentum: float = _within(0.9, least=0, below=1)
    """Decay of the velocity, for momentum and nesterov."""

    weight_decay: float = _within(1e-4, least=0)
    """Decoupled weight decay, for adamw."""

    schedule: Schedule = "constant"
    """How the learning rate changes: not at all, as rate / (1 + decay * epoch), or by a cosine to zero."""

    decay: float = _within(0.0, least=0)
    """d in rate / (1 + d * epoch), epochs from 0, for the schedule decay."""

    l1: float = _within(0.0, least=0)
    """Weight in the loss of the sum of absolute weights."""

    l2: float = _within(0.0, least=0)
    """Weight in the loss of the sum of squared weights."""

    shuffle: Shuffle = "full"
    """Order of the rows: a new permutation every epoch, blocks of rows shuffled within windows, or as they are."""

    block_rows: int = _within(1024, least=1)
    """Rows in a block, for the shuffle blocks."""

    drop_last: bool = False
    """Leave out the last minibatch of an epoch where it is smaller than the others."""

    dtype: Dtype = "float32"
    """Precision of the parameters and of the arithmetic (Theano's floatX)."""

    seed: int = _within(0, least=0, below=2**32)
    """Seeds the initial parameters, the order of the rows, dropout and augmentation."""

    label_smoothing: float = _within(0.0, least=0, below=1)
    """Part of the loss that asks for equal probabilities of all classes (Szegedy et al., CVPR 2016)."""

    class_weight: Literal["balanced"] | Any = None
    """What the rows of a class count in the loss: balanced (all classes the same), or from Python weights by name."""

    loss: Any = None
    """In place of the negative log-likelihood: FILE.py:NAME, or from Python a function (logits, y) -> loss per row."""

    augment: Any = None
    """Changes one example in training: shift (by up to 2 pixels), flip (left and right), shift+flip, FILE.py:NAME, or
    from Python a pure function (key, x) -> x."""

    def __post_init__(self) -> None:
        for knob in fields(self):
            value = getattr(self, knob.name)
            if knob.name == "optimizer":
                object.__setattr__(self, knob.name, _optimizer(value))
            elif knob.name in _CHOICES:
                _check_choice(knob.name, value)
            elif knob.name in _FUNCTIONS:
                object.__setattr__(self, knob.name, _function(knob.name, value))
            elif knob.name == "class_weight":
                _check_class_weight(value)
            elif value is not None:
                kind = float if knob.default is None else type(knob.default)
                object.__setattr__(self, knob.name, _checked(knob.name, value, kind, knob.metadata))
        if isinstance(self.optimizer, str) and not userfile.is_reference(self.optimizer):
            if self.learning_rate is None:
                object.__setattr__(self, "learning_rate", _RATES[self.optimizer])
        elif self.learning_rate is not None:
            raise RecipeError(
                f"learning_rate: an optax transformation brings its own, got {self.learning_rate!r} besides; "
                f"give the rate to the transformation and leave learning_rate out"
            )

    def to_dict(self) -> dict[str, Any]:
        """The fields as plain values, in their order; what was given by value is written as its repr."""
        values = {knob.name: getattr(self, knob.name) for knob in fields(self)}
        for name in self.by_value:
            values[name] = repr(values[name])
        return {name: value for name, value in values.items() if value is not None}

    @property
    def by_value(self) -> tuple[str, ...]:
        """Fields that hold objects, which no file can hold."""
        objects = ("optimizer", *_FUNCTIONS)
        return tuple(name for name in objects if not isinstance(getattr(self, name), str | None))

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> Self:
        """The recipe of `values`; raises RecipeError for a name that is no field."""
        known = [knob.name for knob in fields(cls)]
        for name in values:
            if name not in known:
                raise RecipeError(f"recipe: no hyper-parameter is called {name!r}; there are {', '.join(known)}")
        return cls(**values)


_CHOICES = {
    "optimizer": get_args(OptimizerName),
    "schedule": get_args(Schedule),
    "shuffle": get_args(Shuffle),
    "dtype": get_args(Dtype),
}
_FUNCTIONS = ("loss", "augment")
_BOUNDS: dict[str, tuple[str, Callable[[Any, Any], bool]]] = {
    "least": ("at least", operator.ge),
    "above": ("above", operator.gt),
    "most": ("at most", operator.le),
    "below": ("below", operator.lt),
}


def _check_choice(name: str, value: Any) -> None:
    if value not in _CHOICES[name]:
        raise RecipeError(f"{name}: must be one of {', '.join(_CHOICES[name])}, got {value!r}")


def _optimizer(value: Any) -> Any:
    """A name, a transformation, or the absolute form of FILE.py:NAME."""
    if userfile.is_reference(value):
        return userfile.absolute(value)
    if not (hasattr(value, "init") and hasattr(value, "update")) and value not in _CHOICES["optimizer"]:
        names = ", ".join(_CHOICES["optimizer"])
        raise RecipeError(f"optimizer: must be one of {names}, FILE.py:NAME, or an optax transformation, got {value!r}")
    return value


def _function(name: str, value: Any) -> Any:
    """A function, None, names of augmentations, or the absolute form of FILE.py:NAME, so that a run finds it."""
    if value is None or callable(value):
        return value
    if userfile.is_reference(value):
        return userfile.absolute(value)
    if name == "augment" and isinstance(value, str) and set(value.split("+")) <= set(AUGMENTATIONS):
        return value
    also = f"{', '.join(AUGMENTATIONS)} (or both joined by +), " if name == "augment" else ""
    raise RecipeError(f"{name}: must be {also}FILE.py:NAME, or from Python a function, got {value!r}")


def _check_class_weight(value: Any) -> None:
    if value is None or value == "balanced":
        return
    if not isinstance(value, Mapping):
        raise RecipeError(f"class_weight: must be 'balanced', or weights by class name, got {value!r}")
    for name, weight in value.items():
        if isinstance(weight, bool) or not isinstance(weight, Real) or not isfinite(weight) or weight < 0:
            raise RecipeError(f"class_weight: {name}: must be a finite number of at least 0, got {weight!r}")


def _checked(name: str, value: Any, kind: type, limits: Mapping[str, Any]) -> Any:
    """`value` as a `kind` within its limits, or RecipeError."""
    if kind is bool:
        if not isinstance(value, bool):
            raise RecipeError(f"{name}: must be true or false, got {value!r}")
        return value
    # bool is a number to Python; nobody means it as one.
    whole = kind is int
    if isinstance(value, bool) or not isinstance(value, Real) or not isfinite(value) or (whole and value % 1):
        raise RecipeError(f"{name}: must be a {'whole' if whole else 'finite'} number, got {value!r}")
    for limit, (words, holds) in _BOUNDS.items():
        if limit in limits and not holds(value, limits[limit]):
            raise RecipeError(f"{name}: must be {words} {limits[limit]:,}, got {value!r}")
    return kind(float(value)) if kind is float else int(float(value)) if not isinstance(value, int) else value
