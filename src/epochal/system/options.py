"""Options: frozen dataclasses that check themselves, from which command line, TOML and JSON derive.

A field is checked by its annotation (`int`, `float`, `bool` or `Literal`, also with `| None`) and its metadata:

    batch_size: int = within(20, least=1)
    momentum: float | None = read_by("optimizer", {"momentum": 0.9}, least=0, below=1)
    fold_seed: int | None = needing("folds", least=0)
    drop: tuple[str, ...] = checked((), texts)

The second is read only where the optimizer is momentum, and is 0.9 there; the third only where folds is given. A value
that nothing reads is refused.
"""

import operator
from collections.abc import Callable, Mapping
from dataclasses import Field, field, fields
from functools import cache
from math import isfinite
from numbers import Real
from pathlib import Path
from types import NoneType, UnionType
from typing import Any, ClassVar, Literal, NamedTuple, Self, Union, get_args, get_origin

from epochal.errors import RecipeError, option
from epochal.system import user_file

_BOUNDS: dict[str, tuple[str, Callable[[Any, Any], bool]]] = {
    "least": ("at least", operator.ge),
    "above": ("above", operator.gt),
    "most": ("at most", operator.le),
    "below": ("below", operator.lt),
}


def within(default: Any, **limits: Any) -> Any:
    """A field with limits: `least` or `above`, `most` or `below`; other metadata pass through."""
    return field(default=default, metadata=limits)


def read_by(other: str, defaults: Mapping[Any, Any], **limits: Any) -> Any:
    """A field that is read only where the field `other` has one of the values in `defaults`; there, these apply."""
    return field(default=None, metadata={"read_by": {other: defaults}, **limits})


def needing(other: str, **limits: Any) -> Any:
    """A field that is read only where the field `other` is given."""
    return field(default=None, metadata={"needs": other, **limits})


def checked(default: Any, check: Callable[[str, Any], Any]) -> Any:
    """A field that becomes what `check(name, value)` returns, which may raise RecipeError."""
    return field(default=default, metadata={"check": check})


class Options:
    """Base of dataclasses of options. Raises RecipeError, naming field, value and range, where one makes no sense.

    A field that is read and left out has its default, marked, so that `dataclasses.replace` does not hand it on as if
    the user had given it. A field that is not read is None.
    """

    unknown: ClassVar[str] = "options: no option"  # how the error for an unknown name begins

    def __post_init__(self) -> None:
        for one in _fields(self):
            object.__setattr__(self, one.name, _valid(one, getattr(self, one.name)))
        for one in _fields(self):
            if "read_by" in one.metadata or "needs" in one.metadata:
                object.__setattr__(self, one.name, self._read(one.name))

    def _read(self, name: str) -> Any:
        """The value of a field that is not always read. Raises RecipeError for one that nothing reads."""
        values = vars(self)
        value, reason = values[name], unread(type(self), values, name)
        if value is None and reason is None:
            return marked(default(type(self), values, name))
        if value is not None and reason is not None:
            raise reason.refusal(name, value)
        return value

    def to_dict(self) -> dict[str, Any]:
        """The fields as plain values, in their order."""
        return {one.name: _plain(getattr(self, one.name)) for one in _fields(self)}

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> Self:
        """The options of `values`; raises RecipeError for a name that is no field."""
        known = [one.name for one in _fields(cls)]
        for name in values:
            if name not in known:
                raise RecipeError(f"{cls.unknown} is called {name!r}; there are {', '.join(known)}")
        return cls(**values)


def _fields(of: Any) -> tuple[Field[Any], ...]:
    return fields(of)


@cache
def _kind(annotation: Any) -> Any:
    """`int`, `float`, `bool` or a `Literal`, alone or beside None; None where any value may be right."""
    parts = get_args(annotation) if get_origin(annotation) in (Union, UnionType) else (annotation,)
    kinds = [part for part in parts if part is not NoneType]
    plain = len(kinds) == 1 and (kinds[0] in (int, float, bool) or get_origin(kinds[0]) is Literal)
    return kinds[0] if plain else None


def _valid(of: Field[Any], value: Any) -> Any:
    """`value` as the field `of` takes it; None for a default that another field decided on. Raises RecipeError."""
    if isinstance(value, Default):
        return None
    if "check" in of.metadata:
        return of.metadata["check"](of.name, value)
    kind = _kind(of.type)
    if kind is None or (value is None and of.default is None):
        return value
    if kind in (int, float):
        return _number(of, value, kind)
    if not (isinstance(value, bool) if kind is bool else value in get_args(kind)):
        words = "true or false" if kind is bool else f"one of {', '.join(get_args(kind))}"
        raise RecipeError(f"{of.name}: must be {words}, got {value!r}")
    return value


def _number(of: Field[Any], value: Any, kind: Callable[[Any], Any]) -> Any:
    whole = kind is int
    # bool is a number to Python; nobody means it as one.
    if isinstance(value, bool) or not isinstance(value, Real) or not isfinite(value) or (whole and value % 1):
        raise RecipeError(f"{of.name}: must be a {'whole' if whole else 'finite'} number, got {value!r}")
    for limit, (words, holds) in _BOUNDS.items():
        if limit in of.metadata and not holds(value, of.metadata[limit]):
            raise RecipeError(f"{of.name}: must be {words} {of.metadata[limit]:,}, got {value!r}")
    return kind(value)


def _plain(value: Any) -> Any:
    return list(value) if isinstance(value, tuple) else str(value) if isinstance(value, Path) else value


class UnreadError(RecipeError):
    """An option was given that nothing reads."""


class Unread(NamedTuple):
    """Why an option is not read: the option `reader` has `value`, and only `readers` read it; () any that is given."""

    reader: str
    value: Any
    readers: tuple[Any, ...]

    def __str__(self) -> str:
        if self.readers == (None,):
            return f"beside {option(self.reader, self.value)}"
        by = f"the {self.reader} {self.value}"
        if self.reader != "optimizer":
            return f"by {by if isinstance(self.value, str) else f'a {self.reader} that is given as an object'}"
        if not isinstance(self.value, str):
            return "by an optax transformation, which brings its own"
        return f"by {by}{', which brings its own' if user_file.is_reference(self.value) else ''}"

    def refusal(self, name: str, value: Any) -> UnreadError:
        """The error for the option `name` that was given as `value` all the same."""
        shown = value if isinstance(value, str) else repr(value)
        if not self.readers:
            reader = option(self.reader)
            return UnreadError(
                f"{name}: {shown} is not read without {reader}; give that as well, or leave {option(name)} out"
            )
        remedy = f"leave {option(name)} out"
        if self.readers != (None,):
            remedy = f"give {' or '.join(option(self.reader, reader) for reader in self.readers)}, or {remedy}"
        return UnreadError(f"{name}: {shown} is not read {self}; {remedy}")


def unread(of: type, values: Mapping[str, Any], name: str) -> Unread | None:
    """What keeps the field `name` of a dataclass from being read where its fields have `values`; None where it is read.

    A value that is missing, or None, is the default.
    """
    if (needed := _metadata(of, name).get("needs")) is not None:
        return None if values.get(needed) else Unread(needed, values.get(needed), ())
    for other, defaults in _read_by(of, name).items():
        above = unread(of, values, other)
        value = values.get(other)
        value = default(of, values, other) if value is None else value
        if above is not None:
            return above
        if not isinstance(value, str | None) or value not in defaults:
            return Unread(other, value, tuple(defaults))
    return None


def default(of: type, values: Mapping[str, Any], name: str) -> Any:
    """The default of the field `name` that applies beside `values`; None where it has none, or is not read."""
    for other, defaults in _read_by(of, name).items():
        value = values.get(other)
        value = default(of, values, other) if value is None else value
        return defaults.get(value) if isinstance(value, str | None) else None
    return next(one.default for one in _fields(of) if one.name == name)


def _read_by(of: type, name: str) -> Mapping[str, Mapping[Any, Any]]:
    return _metadata(of, name).get("read_by", {})


def _metadata(of: type, name: str) -> Mapping[str, Any]:
    return next(one.metadata for one in _fields(of) if one.name == name)


class Default:
    """The mark of a default that was filled in: `dataclasses.replace` hands it on as if the user had given it."""


class _Number(Default, float):
    pass


class _Whole(Default, int):
    pass


class _Word(Default, str):
    pass


def marked(value: Any) -> Any:
    """`value`, a number or a text, as a filled-in default; equal to what it was, and of the same kind."""
    kinds: dict[type, type] = {float: _Number, int: _Whole, str: _Word}
    return kinds[type(value)](value) if type(value) in kinds else value
