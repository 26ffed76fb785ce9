"""Every hyper-parameter of a run: one frozen, validated dataclass, from which command line and TOML derive."""

import operator
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, fields
from math import isfinite
from numbers import Real
from typing import Any, Literal, Self, get_args

from epochal.errors import RecipeError

OptimizerName = Literal["sgd", "momentum", "nesterov", "adam", "adamw"]
Schedule = Literal["constant", "decay", "cosine"]
Shuffle = Literal["full", "blocks", "none"]
Dtype = Literal["float32", "float64"]

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

    optimizer: OptimizerName | Any = "sgd"
    """The update rule: a name, or from Python any optax transformation (which brings its own learning rate)."""

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
    """Seeds the initial parameters and the order of the rows."""

    def __post_init__(self) -> None:
        for knob in fields(self):
            value = getattr(self, knob.name)
            if knob.name in _CHOICES:
                _check_choice(knob.name, value)
            elif value is not None:
                kind = float if knob.default is None else type(knob.default)
                object.__setattr__(self, knob.name, _checked(knob.name, value, kind, knob.metadata))
        if isinstance(self.optimizer, str):
            if self.learning_rate is None:
                object.__setattr__(self, "learning_rate", _RATES[self.optimizer])
        elif self.learning_rate is not None:
            raise RecipeError(
                f"learning_rate: an optax transformation brings its own, got {self.learning_rate!r} besides; "
                f"give the rate to the transformation and leave learning_rate out"
            )

    def to_dict(self) -> dict[str, Any]:
        """The fields as plain values, in their order; an optimizer given by value is written as its repr."""
        values = {knob.name: getattr(self, knob.name) for knob in fields(self)}
        if not isinstance(self.optimizer, str):
            values["optimizer"] = repr(self.optimizer)
        return {name: value for name, value in values.items() if value is not None}

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
_BOUNDS: dict[str, tuple[str, Callable[[Any, Any], bool]]] = {
    "least": ("at least", operator.ge),
    "above": ("above", operator.gt),
    "most": ("at most", operator.le),
    "below": ("below", operator.lt),
}


def _check_choice(name: str, value: Any) -> None:
    by_value = name == "optimizer" and hasattr(value, "init") and hasattr(value, "update")
    if not by_value and value not in _CHOICES[name]:
        also = ", or an optax transformation" if name == "optimizer" else ""
        raise RecipeError(f"{name}: must be one of {', '.join(_CHOICES[name])}{also}, got {value!r}")


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
