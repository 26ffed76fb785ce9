"""From words of the command line, or values of a TOML file, to numbers: refused in words, never rounded."""

from collections.abc import Callable, Sequence
from types import NoneType, UnionType
from typing import Any, Union, get_args, get_origin

import cyclopts


def convert(kind: Any, tokens: Sequence[cyclopts.Token]) -> Any:
    """The value of an option of type `kind`. Raises ValueError, which becomes an error of usage."""
    # Cyclopts would round 1.5 to a whole number, and name the types of Python in its errors.
    only = [of for of in get_args(kind) if of is not NoneType] if get_origin(kind) in (Union, UnionType) else [kind]
    if len(only) == 1 and only[0] in _KINDS:
        make, words = _KINDS[only[0]]
        try:
            return make(tokens[0].value)
        except (ValueError, OverflowError):
            raise ValueError(f"must be {words}, got {tokens[0].value!r}") from None
    return cyclopts.convert(kind, tokens)


def usage(error: cyclopts.CycloptsError) -> str:
    """The message of an error of usage."""
    if isinstance(error, cyclopts.CoercionError) and error.target_type is bool and error.token:
        return f"Invalid value for {error.token.keyword}: must be true or false, got {error.token.value!r}"
    return str(error)


def _whole(text: str) -> int:
    try:
        return int(text)
    except ValueError:
        number = float(text)
        if number % 1:
            raise
        return int(number)


_KINDS: dict[Any, tuple[Callable[[str], Any], str]] = {
    int: (_whole, "a whole number"),
    float: (float, "a number"),
}
