"""Together or one after another: by a rule of what is known beforehand, or by a clock for who asks for it.

The way changes rounding, and with it near ties of the ranking: the default must be the same twice, on a busy machine
too, so it rests on the kind of device and the size of the model alone.
"""

import time
from collections.abc import Callable, Sequence
from typing import NamedTuple

from epochal.errors import CapacityError
from epochal.selection.candidate import Trial
from epochal.selection.grouping import ALONE, BY_SEED, TOGETHER
from epochal.training.loop import Loop

SMALL_PARAMETERS = 50_000
"""On a CPU, models of at most so many parameters gain by a common program, wider ones lose: eight recipes took 0.3 to
0.9 of the time with up to 50,890 parameters, 0.7 to 1.2 with 79,510, 1.1 to 1.6 with 397,510 (docs/selection.md)."""

MEASURED_SECONDS = 0.1
"""Steps are done until they take this long, so that the clock tells something."""

WORTH_SECONDS = 5.0
"""Where all epochs together take less, no other way is tried: compiling it would cost as much as it could save."""

Make = Callable[[Sequence[Trial]], Loop]
Ways = dict[str, list[list[Trial]]]


class Decision(NamedTuple):
    """Which way a group is trained, and why, in words."""

    way: str
    why: str


def ruled(found: Ways, platform: str, parameters: int) -> Decision:
    """The way of `found` for a model of so many parameters on a device of that kind: a pure matter of both.

    On a CPU trials of one seed go together, where there are several seeds with several trials each: they share their
    minibatches. Elsewhere small products cost the same one or many.
    """
    many = len(found[ALONE])
    if many == 1:
        return Decision(ALONE, "")
    if platform != "cpu":
        return Decision(TOGETHER, f"{many} {TOGETHER}, as always on a {platform}")
    size = f"{parameters:,} parameters"
    if parameters > SMALL_PARAMETERS:
        return Decision(ALONE, f"{many} {ALONE}: {size}, more than {SMALL_PARAMETERS:,} are slower together on a CPU")
    way = BY_SEED if BY_SEED in found else TOGETHER
    return Decision(way, f"{many} {way}: {size}, at most {SMALL_PARAMETERS:,} are faster so on a CPU")


def fitting(decision: Decision, found: Ways, make: Make) -> Decision:
    """The same where it fits the memory granted; else, with the reason, one after another."""
    if decision.way == ALONE:
        return decision
    try:
        make(found[decision.way][0]).close()  # what it compiles is found again
    except CapacityError as error:
        return Decision(ALONE, f"{len(found[ALONE])} {ALONE}: {str(error).splitlines()[0]}")
    return decision


def asked(found: Ways, vectorize: str) -> Decision:
    """What `vectorize`, always or never, asks for."""
    many = len(found[ALONE])
    if many == 1:
        return Decision(ALONE, "")
    way = TOGETHER if vectorize == "always" else ALONE
    return Decision(way, f"{many} {way}, as asked")


def measured(found: Ways, make: Make, epochs: int) -> Decision:
    """The way of `found` that takes least time, for `epochs` at most. Raises CapacityError where none fits."""
    many = len(found[ALONE])
    if many == 1:
        return Decision(ALONE, "")
    refused = ""
    seconds: dict[str, float] = {}
    for way, parts in found.items():
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
    why = f"{many} {best}: {seconds[best]:.3g} s an epoch" + (f" against {others}" if others else "")
    return Decision(best, why + (f"; {refused}" if refused else ""))


def seconds_per_epoch(make: Make, part: Sequence[Trial]) -> float:
    """About what an epoch of `part` in one loop takes. The steps are done on a state that is thrown away."""
    loop = make(part)
    try:
        steps = loop.plan.steps
        # The first call of a program is not its pace; the state that it leaves serves as well as any.
        state, _ = loop.program.run_steps(loop.program.start(loop.plan), loop.placed, loop.plan, 0, 0, 1)
        loop.program.count_errors(state.variables, loop.placed_valid)
        done, counted, took = 0, 0, 0.0
        while took < MEASURED_SECONDS and done < steps:
            counted = min(steps - done, max(1, 4 * counted))
            begun = time.perf_counter()
            state, _ = loop.program.run_steps(state, loop.placed, loop.plan, 0, done, done + counted)
            took, done = time.perf_counter() - begun, done + counted
        begun = time.perf_counter()
        loop.program.count_errors(state.variables, loop.placed_valid)
        return steps * took / counted + (time.perf_counter() - begun) * max(1, steps // loop.frequency)
    finally:
        loop.close()
