"""Successive halving (Jamieson and Talwalkar, AISTATS 2016): train all a little, keep the better part, go on with it.

A candidate that is kept goes on where it paused: no step is done twice, and its result is that of a full training.
"""

from collections.abc import Sequence
from math import ceil

from epochal.selection.candidate import Standing

FACTOR = 3
"""One candidate in so many is kept, where nothing else is asked for."""


def rungs(candidates: int, epochs: int, factor: int) -> list[int]:
    """After how many epochs the candidates are compared; the last is the whole training.

    >>> rungs(12, 27, 3), rungs(12, 4, 3), rungs(2, 27, 3)
    ([3, 9, 27], [1, 4], [27])
    """
    found, left = [epochs], candidates
    while left > factor - 1 and found[0] // factor >= 1:
        found.insert(0, found[0] // factor)
        left = ceil(left / factor)
    return found


def kept(standings: Sequence[Standing], factor: int) -> list[int]:
    """Numbers of the candidates that go on: the best one in `factor`, those that diverged never, one at least.

    >>> kept([], 3)
    []
    """
    sound = [standing for standing in standings if not standing.diverged]
    return sorted(standing.candidate.number for standing in sound[: ceil(len(standings) / factor)])
