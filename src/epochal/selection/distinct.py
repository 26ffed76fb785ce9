"""Candidates that are the same, model and recipe, are trained once; notes say which, and why."""

from collections.abc import Mapping, Sequence
from dataclasses import fields, replace
from typing import Any

from epochal.selection.candidate import Candidate
from epochal.training.recipe import Recipe


def distinct(candidates: Sequence[Candidate]) -> tuple[list[Candidate], list[str]]:
    """The first of each kind, numbered anew, and what there is to say."""
    kept: dict[tuple[Any, ...], Candidate] = {}
    given: dict[tuple[str, ...], list[tuple[Any, ...]]] = {}
    for candidate in candidates:
        key = _key(candidate)
        kept.setdefault(key, candidate)
        reasons = tuple(f"{name} is not read {reason}" for name, reason in candidate.unread.items())
        given.setdefault(reasons, []).append(key)
    notes = []
    for reasons, keys in given.items():
        left = len(set(keys))
        if reasons:
            merged = f": {len(keys):,} candidates are {'one' if left == 1 else f'{left:,}'}" if left < len(keys) else ""
            notes.append(" and ".join(reasons) + merged)
        elif left < len(keys):
            notes.append(
                f"{len(keys) - left:,} of {len(keys):,} candidates have the model and the recipe of an earlier one: "
                f"each is trained once"
            )
    return [replace(candidate, number=number) for number, candidate in enumerate(kept.values())], notes


def _key(candidate: Candidate) -> tuple[Any, ...]:
    """Equal for candidates that train the same; objects are the same only where they are one."""
    values = (getattr(candidate.recipe, knob.name) for knob in fields(Recipe))
    return tuple(_hashable(value) for value in (candidate.model, *values))


def _hashable(value: Any) -> Any:
    if isinstance(value, Mapping):
        return tuple((str(name), weight) for name, weight in value.items())
    return value if isinstance(value, str | int | float | None) else id(value)
