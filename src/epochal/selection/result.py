"""The result of a selection: all candidates, best first, and the chosen one as a Fit."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from epochal.errors import RunError
from epochal.selection import report
from epochal.selection.candidate import Standing
from epochal.selection.store import TrialStore
from epochal.training.fitted import Fit
from epochal.training.score import Score
from epochal.training.significance import mcnemar


@dataclass(frozen=True, eq=False)
class Selected:
    """The outcome of a selection: the candidates, best first, and the chosen one as a Fit.

    `fit` is None where every candidate diverged. `seconds` are those of all trials, of compiling and of measuring.
    `notes` say what is worth knowing, such as a patience that cannot run out, or candidates that are the same.
    """

    standings: Sequence[Standing]
    fit: Fit | None
    seconds: dict[str, float]
    folder: Path | None = None
    notes: tuple[str, ...] = ()

    @property
    def chosen(self) -> Standing | None:
        """The candidate with the lowest mean validation error; ties go to the earlier one."""
        return self.standings[0] if self.fit else None

    @property
    def steps(self) -> int:
        return sum(standing.steps for standing in self.standings)

    def test(self) -> Score:
        """Open the test split, for the chosen one alone; the data set's ledger counts it."""
        if self.fit is None:
            raise RunError("test: no candidate was chosen, all of them diverged; take smaller learning rates")
        return self.fit.test()

    def __str__(self) -> str:
        return report.text(self.standings)

    def __repr__(self) -> str:
        many = f"{len(self.standings):,} candidate{'s' * (len(self.standings) != 1)}, "
        best, place = self.chosen, f", in {self.folder}" if self.folder else ""
        if best is None:
            return f"Selected({many}{'all ' * (len(self.standings) > 1)}diverged{place})"
        return f"Selected({many}chosen {best.candidate}: validation {best.score}{place}; print it for the table)"


def compared(standings: Sequence[Standing], store: TrialStore) -> list[Standing]:
    """The standings, each with McNemar's p-value against the first, on the rows of the first seed."""

    def missed(standing: Standing) -> np.ndarray | None:
        of = [store.missed(outcome.trial) for outcome in standing.outcomes if outcome.trial.seed == 0]
        whole = [rows for rows in of if rows is not None]
        return np.concatenate(whole) if whole and len(whole) == len(of) else None

    first = missed(standings[0]) if standings else None
    ranked = list(standings[:1])
    for standing in standings[1:]:
        other, p = missed(standing), None
        if first is not None and other is not None and len(first) == len(other):
            p = mcnemar(int((first & ~other).sum()), int((other & ~first).sum()))
        ranked.append(replace(standing, p=p))
    return ranked
