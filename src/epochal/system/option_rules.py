"""Options that are read only where another option has a certain value: what is given and read by nothing is refused.

A field of a dataclass declares it in its metadata, with the default that applies for each of these values:

    weight_decay: float | None = field(default=None, metadata={"read_by": {"optimizer": {"adamw": 1e-4}}})
"""

from collections.abc import Mapping
from dataclasses import fields
from typing import Any, NamedTuple

from epochal.errors import RecipeError, option
from epochal.system import user_file


class UnreadError(RecipeError):
    """An option was given that nothing reads."""


class Unread(NamedTuple):
    """Why an option is not read: the option `reader` has `value`, and only `readers` read it."""

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
        remedy = f"leave {option(name)} out"
        if self.readers != (None,):
            remedy = f"give {' or '.join(option(self.reader, reader) for reader in self.readers)}, or {remedy}"
        return UnreadError(f"{name}: {shown} is not read {self}; {remedy}")


def unread(of: type, values: Mapping[str, Any], name: str) -> Unread | None:
    """What keeps the field `name` of a dataclass from being read where its fields have `values`; None where it is read.

    A value that is missing, or None, is the default.
    """
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
    return next(knob.default for knob in fields(of) if knob.name == name)


def _read_by(of: type, name: str) -> Mapping[str, Mapping[Any, Any]]:
    return next(knob.metadata for knob in fields(of) if knob.name == name).get("read_by", {})


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
