"""Which trials share a compiled program: all in one, one program a seed, or one after another.

How they are packed changes rounding, and with it near ties of the ranking: the default must be the same twice, on a
busy machine too. So it rests on the kind of device and the size of the model alone; a clock is for who asks for it.
"""

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import fields
from typing import NamedTuple

from epochal.errors import CapacityError
from epochal.selection.candidate import Candidate, Trial
from epochal.training.loop import Loop
from epochal.training.recipe import Recipe

NUMBERS = tuple(field.name for field in fields(Recipe) if "traced" in field.metadata)
"""Fields of a recipe that are data of a program, or that the host alone reads: members of a loop may differ in them."""

TOGETHER, BY_SEED, ALONE = "together", "by seed", "one after another"

SMALL_PARAMETERS = 50_000
"""On a CPU, models of at most so many parameters gain by a common program, wider ones lose: eight recipes took 0.3 to
0.9 of the time with up to 50,890 parameters, 0.7 to 1.2 with 79,510, 1.1 to 1.6 with 397,510 (docs/selection.md)."""

MEASURED_SECONDS = 0.1
"""Steps are timed until they take this long, so that the clock is exact enough."""

WORTH_SECONDS = 5.0
"""Where all epochs together take less, no other way is tried: compiling it would cost as much as it could save."""

MakeLoop = Callable[[Sequence[Trial]], Loop]
Ways = dict[str, list[list[Trial]]]


class Decision(NamedTuple):
    """Which way a group is trained, and why, in words."""

    way: str
    why: str


def signature(candidate: Candidate) -> tuple[object, ...]:
    """What trials in one program have in common: the model, and every field of the recipe that is no number of it."""
    recipe = candidate.recipe
    static = [getattr(recipe, field.name) for field in fields(Recipe) if field.name not in NUMBERS]
    static = [tuple(value.items()) if isinstance(value, Mapping) else value for value in static]
    rate = isinstance(recipe.optimizer, str)
    return (candidate.model, *static, bool(recipe.l1 or recipe.l2), bool(recipe.label_smoothing), rate)


def groups(candidates: Sequence[Candidate], trials: Sequence[Trial]) -> list[list[Trial]]:
    """The trials on each fold that can share a program, in the order in which they first occur."""
    by_signature: dict[tuple[object, ...], list[Trial]] = {}
    for trial in sorted(trials, key=lambda trial: trial.fold):
        by_signature.setdefault((trial.fold, *signature(candidates[trial.candidate])), []).append(trial)
    return list(by_signature.values())


def ways(candidates: Sequence[Candidate], group: Sequence[Trial]) -> Ways:
    """How a group can be divided into loops. Trials of one seed share their minibatches, others gather theirs apart."""
    by_seed: dict[int, list[Trial]] = {}
    for trial in group:
        by_seed.setdefault(candidates[trial.candidate].seeded(trial.seed).seed, []).append(trial)
    divisions = {TOGETHER: [list(group)]}
    if 1 < len(by_seed) < len(group):
        divisions[BY_SEED] = list(by_seed.values())
    return divisions | {ALONE: [[trial] for trial in group]}


def by_rule(possible: Ways, platform: str, parameters: int) -> Decision:
    """The way for a model of so many parameters on a device of that kind; depends on nothing else.

    On a CPU trials of one seed go together, where there are several seeds with several trials each: they share their
    minibatches. Elsewhere small products cost the same one or many.
    """
    count = len(possible[ALONE])
    if count == 1:
        return Decision(ALONE, "")
    if platform != "cpu":
        return Decision(TOGETHER, f"{count} {TOGETHER}, as always on a {platform}")
    size = f"{parameters:,} parameters"
    if parameters > SMALL_PARAMETERS:
        return Decision(ALONE, f"{count} {ALONE}: {size}, more than {SMALL_PARAMETERS:,} are slower together on a CPU")
    way = BY_SEED if BY_SEED in possible else TOGETHER
    return Decision(way, f"{count} {way}: {size}, at most {SMALL_PARAMETERS:,} are faster so on a CPU")


def by_option(possible: Ways, vectorize: str) -> Decision:
    """The way that the option `vectorize`, always or never, names."""
    count = len(possible[ALONE])
    if count == 1:
        return Decision(ALONE, "")
    way = TOGETHER if vectorize == "always" else ALONE
    return Decision(way, f"{count} {way}, as asked")


def if_it_fits(decision: Decision, possible: Ways, make: MakeLoop) -> Decision:
    """`decision` where it fits the memory granted; else, with the reason, one after another."""
    if decision.way == ALONE:
        return decision
    try:
        make(possible[decision.way][0]).close()  # the compiled program is cached
    except CapacityError as error:
        return Decision(ALONE, f"{len(possible[ALONE])} {ALONE}: {str(error).splitlines()[0]}")
    return decision


def by_clock(possible: Ways, make: MakeLoop, epochs: int) -> Decision:
    """The way that takes least time, for `epochs` at most. Raises CapacityError where none fits."""
    count = len(possible[ALONE])
    if count == 1:
        return Decision(ALONE, "")
    refused = ""
    seconds: dict[str, float] = {}
    for way, parts in possible.items():
        try:
            seconds[way] = len(parts) * seconds_per_epoch(make, parts[0])
        except CapacityError as error:
            refused = str(error).splitlines()[0]
            if way == ALONE:
                raise
        if seconds.get(TOGETHER, WORTH_SECONDS) * epochs < WORTH_SECONDS:
            break
    best = min(seconds, key=lambda way: seconds[way])
    others = " and ".join(f"{seconds[way]:.3g} s {way}" for way in seconds if way != best)
    why = f"{count} {best}: {seconds[best]:.3g} s an epoch" + (f" against {others}" if others else "")
    return Decision(best, why + (f"; {refused}" if refused else ""))


def seconds_per_epoch(make: MakeLoop, part: Sequence[Trial]) -> float:
    """About what an epoch of `part` in one loop takes. The steps are done on a state that is thrown away."""
    loop = make(part)
    try:
        steps = loop.plan.steps
        # The first call of a program is slower; the state that it leaves serves as well as any.
        state, _ = loop.program.run_steps(loop.program.start(loop.plan), loop.placed, loop.plan, 0, 0, 1)
        loop.program.count_errors(state.variables, loop.placed_valid)
        done, counted, seconds = 0, 0, 0.0
        while seconds < MEASURED_SECONDS and done < steps:
            counted = min(steps - done, max(1, 4 * counted))
            begun = time.perf_counter()
            state, _ = loop.program.run_steps(state, loop.placed, loop.plan, 0, done, done + counted)
            seconds, done = time.perf_counter() - begun, done + counted
        begun = time.perf_counter()
        loop.program.count_errors(state.variables, loop.placed_valid)
        return steps * seconds / counted + (time.perf_counter() - begun) * max(1, steps // loop.frequency)
    finally:
        loop.close()
