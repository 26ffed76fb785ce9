"""What the rows of a class count in the loss, as a recipe has it: balanced, or weights by class name, also as text."""

import csv
import io
from collections.abc import Mapping
from math import isfinite
from numbers import Real
from typing import Any

from epochal.errors import RecipeError


def checked(value: Any) -> Any:
    """None, "balanced", or a mapping: text like `ash=2,oak=0.5` becomes one."""
    if value is None or value == "balanced":
        return value
    if isinstance(value, str):
        value = _parsed(value)
    if not isinstance(value, Mapping):
        raise RecipeError(f"class_weight: must be 'balanced', or weights by class name, got {value!r}")
    for name, weight in value.items():
        if isinstance(weight, bool) or not isinstance(weight, Real) or not isfinite(weight) or weight < 0:
            raise RecipeError(f"class_weight: {name}: must be a finite number of at least 0, got {weight!r}")
    return value


def text(weights: Mapping[Any, Any]) -> str:
    """The weights as text that `checked` reads."""
    line = io.StringIO()
    csv.writer(line, lineterminator="").writerow(f"{name}={float(weight)!r}" for name, weight in weights.items())
    return line.getvalue()


def _parsed(written: str) -> dict[str, float]:
    """The weights in `ash=2,oak=0.5`; a part with a comma in its name stands in quotation marks, as in CSV."""
    weights: dict[str, float] = {}
    for part in next(csv.reader([written])):
        name, equals, weight = part.rpartition("=")
        try:
            number = float(weight)
        except ValueError:
            number = None
        if number is None or not equals or not name or name in weights:
            raise RecipeError(
                f"class_weight: must be balanced, or weights by class name like ash=2,oak=0.5, each class once, "
                f"got {written!r}"
            )
        weights[name] = number
    return weights
