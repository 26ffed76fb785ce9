"""Which trials can share a program, and in which ways they can be dealt into loops."""

from collections.abc import Mapping, Sequence
from dataclasses import fields

from epochal.selection.candidate import Candidate, Trial
from epochal.training.recipe import Recipe

NUMBERS = tuple(field.name for field in fields(Recipe) if "traced" in field.metadata)
"""Fields of a recipe that are data of a program, or that the host alone reads: members of a loop may differ in them."""

TOGETHER, BY_SEED, ALONE = "together", "by seed", "one after another"


def signature(candidate: Candidate) -> tuple[object, ...]:
    """What trials in one program have in common: the model, and every field of the recipe that is no number of it."""
    recipe = candidate.recipe
    static = [getattr(recipe, field.name) for field in fields(Recipe) if field.name not in NUMBERS]
    static = [tuple(value.items()) if isinstance(value, Mapping) else value for value in static]
    rate = isinstance(recipe.optimizer, str)
    return (candidate.model, *static, bool(recipe.l1 or recipe.l2), bool(recipe.label_smoothing), rate)


def groups(candidates: Sequence[Candidate], trials: Sequence[Trial]) -> list[list[Trial]]:
    """The trials on each fold that can share a program, in the order in which they first occur."""
    found: dict[tuple[object, ...], list[Trial]] = {}
    for trial in sorted(trials, key=lambda trial: trial.fold):
        found.setdefault((trial.fold, *signature(candidates[trial.candidate])), []).append(trial)
    return list(found.values())


def ways(candidates: Sequence[Candidate], group: Sequence[Trial]) -> dict[str, list[list[Trial]]]:
    """How a group can be dealt into loops. Trials of one seed share their minibatches, others gather their own."""
    by_seed: dict[int, list[Trial]] = {}
    for trial in group:
        by_seed.setdefault(candidates[trial.candidate].seeded(trial.seed).seed, []).append(trial)
    found = {TOGETHER: [list(group)]}
    if 1 < len(by_seed) < len(group):
        found[BY_SEED] = list(by_seed.values())
    return found | {ALONE: [[trial] for trial in group]}
