"""A selection that is stopped anywhere goes on from there, and ends as if it had never been stopped."""

from dataclasses import replace

import pytest

import epochal
from conftest import blobs
from epochal.errors import DataError, RunError
from epochal.selection import CandidateList, Choosing, Session, resume
from epochal.selection.candidate import Candidate
from epochal.selection.report import csv_text
from epochal.selection.trial_loop import TrialLoop
from epochal.training.program import Program

BASE = epochal.Recipe(learning_rate=0.1, epochs=4)
RECIPES = [replace(BASE, learning_rate=rate, epochs=epochs) for rate, epochs in ((0.01, 4), (0.1, 1), (0.3, 4))]


@pytest.fixture
def steps(monkeypatch):
    """How many steps each call of the compiled stretch has done, in order."""
    done, run_steps = [], Program.run_steps

    def counted(self, *arguments):
        done.append(arguments[-1] - arguments[-2])
        return run_steps(self, *arguments)

    monkeypatch.setattr(Program, "run_steps", counted)
    return done


def _begun(data, folder, **options):
    candidates = [Candidate(i, epochal.logistic(), recipe) for i, recipe in enumerate(RECIPES)]
    choosing = Choosing(checkpoint_seconds=0, **options)
    return Session.begin(CandidateList(candidates), data, choosing, folder)


@pytest.mark.parametrize("options", [{"vectorize": "always"}, {"vectorize": "never"},
                                     {"vectorize": "always", "halving": True, "seeds": 2, "factor": 2}])  # fmt: skip
def test_stopped_after_any_stretch_it_ends_with_the_same_table_and_does_no_step_twice(small, tmp_path, steps, options):
    session = _begun(small, tmp_path / "whole", **options)
    moments = list(session.moments())
    whole = session.finish()
    session.close()
    total = sum(steps)
    for place in range(1, len(moments), 3):
        folder = tmp_path / f"at{place}"
        session = _begun(small, folder, **options)
        steps.clear()
        for seen, _ in enumerate(session.moments(), 1):
            if seen == place:
                session.stop()
        assert session.interrupted
        session.close()
        selected = resume(folder, small)
        assert csv_text(selected.standings) == csv_text(whole.standings), f"stopped after stretch {place}"
        assert selected.fit.parameters_sha256 == whole.fit.parameters_sha256
        assert sum(steps) == total, f"stopped after stretch {place}, steps are done twice or left out"


def test_the_way_that_was_taken_is_kept_whatever_the_rule_says_later(small, tmp_path, monkeypatch):
    session = _begun(small, tmp_path / "s")
    next(moments := session.moments())
    session.stop()
    list(moments)
    session.close()
    monkeypatch.setattr("epochal.selection.runner.by_rule", None)  # whoever asks it fails
    whole = _begun(small, tmp_path / "whole", vectorize="always")
    list(whole.moments())
    table = csv_text(whole.finish().standings)
    whole.close()
    assert csv_text(resume(tmp_path / "s", small).standings) == table


def test_a_loop_that_had_become_narrow_goes_on_as_narrow(small, tmp_path, monkeypatch):
    """A program of another width may round differently: its members have to be those that it had."""
    candidates = [
        Candidate(i, epochal.logistic(), replace(BASE, learning_rate=0.01 * (i + 1), epochs=epochs))
        for i, epochs in enumerate((1, 1, 1, 2, 4, 4))
    ]
    widths, loops, begin = [], [], TrialLoop.__init__

    def noted(self, loop, *rest):
        begin(self, loop, *rest)
        loops.append(loop)
        widths.append((loop.step, len(loop.active), self.alive()))

    monkeypatch.setattr(TrialLoop, "__init__", noted)
    session = Session.begin(CandidateList(candidates), small, Choosing(vectorize="always"), tmp_path / "s")
    for _ in session.moments():
        if loops[0].step > 12:
            session.stop()
    session.close()
    resume(tmp_path / "s", small)
    (first, second) = widths
    assert first == (0, 6, 6)
    assert second[1:] == (3, 2), "three are in the program, two of them go on"
    assert 12 < second[0] < 24


def test_what_cannot_go_on_is_named(small, tmp_path):
    session = _begun(small, tmp_path / "s")
    next(session.moments())
    with pytest.raises(RunError, match=r"is in use by process"):
        Session.resume(tmp_path / "s", small)
    session.close()
    other = epochal.load({"train": blobs(90), "valid": blobs(40, seed=1), "test": blobs(33, seed=2)})
    with pytest.raises(DataError, match="these are not the data of"):
        Session.resume(tmp_path / "s", other)
    with pytest.raises(RunError, match="selects on arrays of a program, which are not kept"):
        Session.resume(tmp_path / "s")
    with pytest.raises(RunError, match=r"is no selection, it has no selection.json"):
        Session.resume(tmp_path, small)
    mine = epochal.Model(epochal.logistic().init, epochal.logistic().logits)
    session = Session.begin(CandidateList([Candidate(0, mine, BASE)]), small, Choosing(), tmp_path / "own")
    next(session.moments())
    session.close()
    with pytest.raises(RunError, match=r"its model 'custom' was given by value, and is not kept"):
        Session.resume(tmp_path / "own", small)
