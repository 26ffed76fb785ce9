"""Every hyper-parameter of a run: one frozen, validated dataclass, from which command line and TOML derive."""

import operator
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, fields
from math import isfinite
from numbers import Real
from typing import Any, Literal, Self, get_args

from epochal.errors import RecipeError, option
from epochal.system import user_file
from epochal.system.option_rules import Default, default, marked, unread
from epochal.training import class_weights

OptimizerName = Literal["sgd", "momentum", "nesterov", "adam", "adamw"]
Schedule = Literal["constant", "decay", "cosine"]
Shuffle = Literal["full", "blocks", "none"]
Dtype = Literal["float32", "float64"]
AUGMENTATIONS = ("shift", "flip")

_RATES: Mapping[str, float] = {"sgd": 0.1, "momentum": 0.01, "nesterov": 0.01, "adam": 0.001, "adamw": 0.001}

_CONSTANT: Mapping[str, str] = dict.fromkeys(_RATES, "constant")


def _within(default: Any, **limits: float) -> Any:
    """A field with limits: `least` or `above`, `most` or `below`."""
    return field(default=default, metadata=limits)


def _where(other: str, defaults: Mapping[Any, Any], kind: type = float, **limits: float) -> Any:
    """A field that is read only where the field `other` has one of the values in `defaults`; there, these apply."""
    return field(default=None, metadata={"read_by": {other: defaults}, "kind": kind, **limits})


@dataclass(frozen=True, kw_only=True)
class Recipe:
    """All hyper-parameters of a run. Raises RecipeError, naming field, value and range, where one makes no sense.

    Some are read only where another has a certain value, as the momentum by the optimizers momentum and nesterov: given
    elsewhere, they are refused. Left out, they are the default where they are read, and None where nothing reads them.
    """

    learning_rate: float | None = _where("optimizer", _RATES, above=0)
    """Step size. Left out: 0.1 for sgd, 0.01 for momentum and nesterov, 0.001 for adam and adamw."""

    batch_size: int = _within(20, least=1, most=2**31 - 1)
    """Rows in a minibatch."""

    epochs: int = _within(100, least=1, most=10**12)
    """Epochs at most."""

    patience_steps: int = _within(10_000, least=1)
    """Minibatch updates to go on at least, whatever the validation says."""

    patience_increase: float = _within(2.0, least=1)
    """A new best at update t extends the patience to this times t."""

    improvement_threshold: float | None = _where("improvement_test", {None: 0.995}, above=0, most=1)
    """Only a validation error below this times the best extends the patience. Left out: 0.995, unless
    improvement_test is given."""

    improvement_test: float | None = _within(None, above=0, below=1)
    """In place of the threshold: only an improvement significant at this level (0.05, say) extends the patience."""

    optimizer: OptimizerName | str | Any = "sgd"
    """The update rule: a name, or any optax transformation, which brings its own learning rate: FILE.py:NAME, or from
    Python the object."""

    momentum: float | None = _where("optimizer", {"momentum": 0.9, "nesterov": 0.9}, least=0, below=1)
    """Decay of the velocity, for the optimizers momentum and nesterov. Left out: 0.9."""

    weight_decay: float | None = _where("optimizer", {"adamw": 1e-4}, least=0)
    """Decoupled weight decay, for the optimizer adamw. Left out: 0.0001."""

    schedule: Schedule | None = _where("optimizer", _CONSTANT, str)  # noqa: RUF009, a field as the others
    """How the learning rate of a named optimizer changes: constant (left out), decay as rate / (1 + decay * epoch),
    cosine to zero."""

    decay: float | None = _where("schedule", {"decay": None}, least=0)
    """d in rate / (1 + d * epoch), epochs from 0: the schedule decay needs it, nothing else reads it."""

    l1: float = _within(0.0, least=0)
    """Weight in the loss of the sum of absolute weights."""

    l2: float = _within(0.0, least=0)
    """Weight in the loss of the sum of squared weights."""

    shuffle: Shuffle = "full"
    """Order of the rows: a new permutation every epoch, blocks of rows shuffled within windows, or as they are."""

    block_rows: int | None = _where("shuffle", {"blocks": 1024}, int, least=1, most=2**31 - 1)
    """Rows in a block, for the shuffle blocks. Left out: 1024."""

    drop_last: bool = False
    """Leave out the last minibatch of an epoch where it is smaller than the others."""

    dtype: Dtype = "float32"
    """Precision of the parameters and of the arithmetic (Theano's floatX)."""

    seed: int = _within(0, least=0, below=2**32)
    """Seeds the initial parameters, the order of the rows, dropout and augmentation."""

    label_smoothing: float = _within(0.0, least=0, below=1)
    """Part of the loss that asks for equal probabilities of all classes (Szegedy et al., CVPR 2016)."""

    class_weight: Any = None
    """What the rows of a class count in the loss: balanced (all classes the same), or weights by name as ash=2,oak=0.5
    (1 for a class that is not named); from Python also a mapping."""

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
                if value is not None or knob.default is not None:
                    _check_choice(knob.name, value)
            elif knob.name in _FUNCTIONS:
                object.__setattr__(self, knob.name, _function(knob.name, value))
            elif knob.name == "class_weight":
                object.__setattr__(self, knob.name, class_weights.checked(value))
            elif value is not None and not isinstance(value, Default):
                kind = knob.metadata.get("kind", float) if knob.default is None else type(knob.default)
                object.__setattr__(self, knob.name, _checked(knob.name, value, kind, knob.metadata))
        self._settle()

    def _settle(self) -> None:
        """Put defaults where they are read. Raises RecipeError for a value that nothing reads."""
        dependent = [knob for knob in fields(self) if "read_by" in knob.metadata]
        for knob in dependent:
            if isinstance(getattr(self, knob.name), Default):  # of the recipe that this one replaces
                object.__setattr__(self, knob.name, None)
        for knob in dependent:
            value, reason = getattr(self, knob.name), unread(Recipe, vars(self), knob.name)
            if value is None and reason is None:
                object.__setattr__(self, knob.name, marked(default(Recipe, vars(self), knob.name)))
            elif value is not None and reason is not None:
                raise reason.refusal(knob.name, value)
        if self.schedule == "decay" and self.decay is None:
            raise RecipeError(
                f"decay: {option('schedule', 'decay')} needs it; give for instance {option('decay', 0.1)}"
            )

    def to_dict(self) -> dict[str, Any]:
        """The fields as plain values, in their order; what was given by value is written as its repr."""
        values = {knob.name: getattr(self, knob.name) for knob in fields(self)}
        for name in self.by_value:
            values[name] = repr(values[name])
        if isinstance(self.class_weight, Mapping):
            values["class_weight"] = class_weights.text(self.class_weight)
        return {name: value for name, value in values.items() if value is not None}

    @property
    def by_value(self) -> tuple[str, ...]:
        """Fields that hold objects, which no file can hold."""
        return tuple(name for name in FUNCTIONS if not isinstance(getattr(self, name), str | None))

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
FUNCTIONS = ("optimizer", *_FUNCTIONS)
"""Fields that may name a file, or hold an object."""

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
    if user_file.is_reference(value):
        return user_file.absolute(value)
    if not (hasattr(value, "init") and hasattr(value, "update")) and value not in _CHOICES["optimizer"]:
        names = ", ".join(_CHOICES["optimizer"])
        raise RecipeError(f"optimizer: must be one of {names}, FILE.py:NAME, or an optax transformation, got {value!r}")
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
