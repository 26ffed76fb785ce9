"""Schemas of JSON files: a form is a function that checks a value and returns it as the type that it stands for.

    SCORE = fields(Score, wrong=whole(), of=whole(1))
    SCORE({"wrong": 3, "of": 50}, "best.valid")

Whatever does not fit is one `Unfit`, which names the key, what it holds and what it should.
"""

import math
import re
from collections.abc import Callable, Mapping
from typing import Any

from epochal.errors import EpochalError
from epochal.system.json_file import shown

Form = Callable[[Any, str], Any]
LARGEST = 2**53


class Unfit(ValueError):
    """A value that is not of the form that it has to be."""

    def __init__(self, key: str, value: Any, wanted: str):
        self.key, self.value, self.wanted = key, value, wanted
        super().__init__(f"{shown(key)} must be {wanted}, is {shown(value)}")


def text(value: Any, key: str) -> str:
    if not isinstance(value, str):
        raise Unfit(key, value, "text")
    return value


def matching(pattern: str, words: str) -> Form:
    """Text of a regular expression."""

    def form(value: Any, key: str) -> str:
        if not isinstance(value, str) or not re.fullmatch(pattern, value):
            raise Unfit(key, value, words)
        return value

    return form


sha256 = matching("[0-9a-f]{64}", "a SHA-256")


def flag(value: Any, key: str) -> bool:
    if not isinstance(value, bool):
        raise Unfit(key, value, "true or false")
    return value


def whole(least: int = 0, most: int = LARGEST) -> Form:
    def form(value: Any, key: str) -> int:
        if type(value) is not int or not least <= value <= most:
            raise Unfit(key, value, f"a whole number from {least:,} to {most:,}")
        return value

    return form


def number(value: Any, key: str) -> float:
    if type(value) not in (int, float) or abs(value) > 1.7e308 or not math.isfinite(value):
        raise Unfit(key, value, "a finite number")
    return float(value)


def one_of(*words: Any) -> Form:
    def form(value: Any, key: str) -> Any:
        if not isinstance(value, str) or value not in words:
            raise Unfit(key, value, f"one of {', '.join(words)}")
        return value

    return form


def optional(of: Form) -> Form:
    return lambda value, key: None if value is None else of(value, key)


def listed(of: Form, least: int = 0, most: int = LARGEST) -> Form:
    """A list, which becomes a tuple."""

    def form(value: Any, key: str) -> tuple:
        if not isinstance(value, (list, tuple)) or not least <= len(value) <= most:
            raise Unfit(key, value, "a list" + (f" of {least} values" if least == most else ""))
        return tuple(of(item, f"{key}.{place}") for place, item in enumerate(value))

    return form


def together(*forms: Form) -> Form:
    """A list of so many values, each of its own form."""

    def form(value: Any, key: str) -> tuple:
        listed(anything, len(forms), len(forms))(value, key)
        return tuple(of(item, f"{key}.{place}") for place, (of, item) in enumerate(zip(forms, value, strict=True)))

    return form


def mapping(of: Form) -> Form:
    def form(value: Any, key: str) -> dict[str, Any]:
        return {name: of(item, f"{key}.{name}") for name, item in _object(value, key).items()}

    return form


def anything(value: Any, key: str) -> Any:
    return value


def plain(value: Any, key: str) -> Any:
    """Text, a number, true or false, or a list of such."""
    if isinstance(value, list):
        return [plain(item, key) for item in value]
    if value is None or isinstance(value, (str, bool)):
        return value
    if type(value) is int and abs(value) <= LARGEST:
        return value
    return number(value, key)


def fields(make: Callable[..., Any], /, **forms: Form) -> Form:
    """An object with these keys and no others, from which `make` makes something. Keys of `optional` may be absent."""

    def form(value: Any, key: str) -> Any:
        items = _object(value, key)
        if unknown := sorted(set(items) - set(forms)):
            raise Unfit(f"{key}.{unknown[0]}".removeprefix("."), items[unknown[0]], "absent: no such key is known")
        inner = {name: of(items.get(name), f"{key}.{name}".removeprefix(".")) for name, of in forms.items()}
        return made(make, key, **inner)

    return form


def made(make: Callable[..., Any], key: str, *values: Any, **named: Any) -> Any:
    """What `make` makes of some values; where it refuses them, they do not fit the key. Raises Unfit."""
    try:
        return make(*values, **named)
    except Unfit as error:
        if error.key.startswith(key):
            raise
        raise Unfit(f"{key}.{error.key}", error.value, error.wanted) from None
    except (EpochalError, ValueError, TypeError, KeyError, AttributeError, OverflowError) as error:
        raise Unfit(key, f"{type(error).__name__}: {error}", "what epochal writes") from None


def _object(value: Any, key: str) -> Mapping[str, Any]:
    if not isinstance(value, Mapping):
        raise Unfit(key or "it", value, "an object")
    return value
