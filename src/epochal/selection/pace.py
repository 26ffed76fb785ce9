"""Together or one after another: decided by a short measurement of both, and said in one line.

On a GPU small models cost the same one or many; on a CPU a batch of wide matrix products can be slower than one after
another, and members with seeds of their own gather their own minibatches.
"""

import time
from collections.abc import Callable, Sequence
from typing import NamedTuple

from epochal.errors import CapacityError
from epochal.loop import Loop
from epochal.selection.candidate import Trial
from epochal.selection.grouping import ALONE, TOGETHER

MEASURED_SECONDS = 0.1
"""Steps are done until they take this long, so that the clock tells something."""

WORTH_SECONDS = 5.0
"""Where all epochs together take less, no other way is tried: compiling it would cost as much as it could save."""

Make = Callable[[Sequence[Trial]], Loop]


class Decision(NamedTuple):
    """Which way a group is trained, and why, in words."""

    way: str
    why: str


def decide(found: dict[str, list[list[Trial]]], make: Make, together: str, epochs: int) -> Decision:
    """The way of `found` that takes least time, for `epochs` at most. Raises CapacityError where none fits."""
    many = len(found[ALONE])
    if many == 1:
        return Decision(ALONE, "")
    if together == "never":
        return Decision(ALONE, f"{many} {ALONE}, as asked")
    if together == "always":
        return _asked(many, found[TOGETHER][0], make)
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


def _asked(many: int, group: Sequence[Trial], make: Make) -> Decision:
    try:
        make(group).close()  # what it compiles is found again
    except CapacityError as error:
        return Decision(ALONE, f"{many} {ALONE}: {str(error).splitlines()[0]}")
    return Decision(TOGETHER, f"{many} {TOGETHER}, as asked")


def seconds_per_epoch(make: Make, part: Sequence[Trial]) -> float:
    """About what an epoch of `part` in one loop takes. The steps are done on a state that is thrown away."""
    loop = make(part)
    try:
        steps, pieces = loop.plan.steps, loop.placed.epoch(0)
        # The first call of a program is not its pace; the state that it leaves serves as well as any.
        state, _ = loop.program.stretch(loop.program.start(loop.plan), pieces, 0, 1)
        loop.program.count_errors(state.variables, loop.placed_valid)
        done, counted, took = 0, 0, 0.0
        while took < MEASURED_SECONDS and done < steps:
            counted = min(steps - done, max(1, 4 * counted))
            begun = time.perf_counter()
            state, _ = loop.program.stretch(state, pieces, done, done + counted)
            took, done = time.perf_counter() - begun, done + counted
        begun = time.perf_counter()
        loop.program.count_errors(state.variables, loop.placed_valid)
        return steps * took / counted + (time.perf_counter() - begun) * max(1, steps // loop.frequency)
    finally:
        loop.close()
