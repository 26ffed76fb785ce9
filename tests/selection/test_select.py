"""`epochal.select`: who is chosen, by what, and what stays closed."""

from dataclasses import replace
from xml.etree import ElementTree

import numpy as np
import pytest

import epochal
from conftest import blobs
from epochal.cli import search_space
from epochal.data.dataset import Split
from epochal.errors import DataError, RecipeError, RunError
from epochal.selection import Choosing, Range, Space, Study, parse
from epochal.selection.candidate import Candidate, Outcome, Standing, Trial, standings
from epochal.selection.folds import closed, folds
from epochal.selection.packing import ALONE, BY_SEED, TOGETHER, by_clock, by_option, by_rule, groups, if_it_fits, ways
from epochal.selection.report import csv_text, svg, text
from epochal.selection.runner import rungs
from epochal.training import ledger
from epochal.training.score import Score

BASE = epochal.Recipe(learning_rate=0.1, epochs=4, dtype="float64")
RATES = [replace(BASE, learning_rate=rate) for rate in (1e-4, 0.1, 1e308)]


def test_the_lowest_validation_error_is_chosen_and_kept(small, tmp_path):
    selected = epochal.select(epochal.logistic(), small, RATES, out=tmp_path / "s")
    alone = epochal.fit(epochal.logistic(), small, RATES[1])
    chosen = selected.chosen
    assert chosen.candidate.number == 1
    assert chosen.outcomes[0].valid == alone.best.valid
    assert [s.candidate.number for s in selected.standings] == [1, 0, 2], "one that diverges is last"
    assert selected.standings[2].stopped == "diverged"
    assert selected.fit.best == alone.best
    opened = epochal.load_run(tmp_path / "s" / "run", small)
    assert opened.parameters_sha256 == selected.fit.parameters_sha256
    np.testing.assert_allclose(opened.predict_proba(small.test.x), alone.predict_proba(small.test.x), rtol=1e-9)
    assert (opened.stopped, len(opened.epochs), opened.steps) == ("epochs", 4, 24)
    with pytest.raises(RunError, match=r"holds a selection; go on with epochal.selection.resume\("):
        epochal.select(epochal.logistic(), small, RATES, out=tmp_path / "s")


def test_no_test_row_is_touched_before_it_is_asked_for(small):
    class Sealed(Split):
        def __getattribute__(self, name):
            if name in ("x", "y"):
                raise AssertionError("the test split was opened")
            return super().__getattribute__(name)

    sealed = replace(small, test=Sealed(small.test.x, small.test.y))
    for options in ({}, {"folds": 3}, {"refit": True}, {"halving": True}):
        selected = epochal.select(epochal.logistic(), sealed, RATES[:2], **options)
        with pytest.raises(AssertionError, match="was opened"):
            selected.test()


def test_our_own_code_cannot_look_at_the_test_rows_either(small):
    for look in (lambda d: d.test.x, lambda d: len(d.test), lambda d: d.fingerprint, lambda d: d.test[:3]):
        with pytest.raises(RunError, match="closed during a selection"):
            look(closed(small))


def test_another_test_split_changes_nothing(small):
    other = replace(small, test=Split(*blobs(33, seed=77)))
    first, second = (epochal.select(epochal.logistic(), data, RATES[:2]) for data in (small, other))
    assert csv_text(first.standings) == csv_text(second.standings)
    assert first.fit.parameters_sha256 == second.fit.parameters_sha256


def test_opening_the_test_set_is_kept_for_the_life_of_the_data(small):
    selected = epochal.select(epochal.logistic(), small, RATES[:2])
    before = ledger.openings(small.ledger_keys)
    selected.test()
    selected.fit.test()
    assert ledger.openings(small.ledger_keys) == before + 2


def test_a_ledger_that_cannot_be_written_ends_nothing(small, tmp_path, monkeypatch, caplog):
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path / "file"))
    fit = epochal.fit(epochal.logistic(), small, replace(BASE, epochs=1))
    assert fit.test().of == 33
    assert "test-set ledger cannot be written" in caplog.text
    assert ledger.openings(small.ledger_keys) == 0


def _standing(number, *wrongs, stopped="epochs"):
    return [Outcome(Trial(number, i, 0), Score(w, 50), 3, 6, 3, stopped) for i, w in enumerate(wrongs)]


def test_ties_go_to_the_earlier_recipe_and_the_mean_over_seeds_counts():
    recipes = [replace(BASE, seed=i) for i in range(4)]
    candidates = [Candidate(i, epochal.logistic(), recipe) for i, recipe in enumerate(recipes)]
    outcomes = [*_standing(3, 0, 0, stopped="diverged"), *_standing(2, 4, 6), *_standing(1, 5, 5), *_standing(0, 1, 11)]
    found = standings(candidates, outcomes)
    assert [standing.candidate.number for standing in found] == [1, 2, 0, 3]
    assert found[1].mean == pytest.approx(10)
    assert found[1].deviation == pytest.approx(np.std([8, 12], ddof=1))
    assert found[2].spread == (2, 22)
    assert found[1].best_trial().trial.seed == 0
    assert found[0].best_trial().trial.seed == 0, "of equal seeds the earlier"


def test_seeds_are_members_and_each_is_its_recipe_with_that_seed(small):
    recipe = replace(BASE, seed=5)
    selected = epochal.select(epochal.mlp(4), small, recipe, seeds=3, vectorize="always")
    outcomes = selected.chosen.outcomes
    alone = [epochal.fit(epochal.mlp(4), small, replace(recipe, seed=5 + i)) for i in range(3)]
    assert [outcome.valid for outcome in outcomes] == [fit.best.valid for fit in alone]
    assert selected.fit.best.valid == min(fit.best.valid for fit in alone)
    assert selected.chosen.deviation == pytest.approx(np.std([f.best.valid.percent for f in alone], ddof=1))


def test_halving_finds_the_winner_of_the_grid_in_a_third_of_the_steps():
    data = epochal.load({"train": blobs(120), "valid": blobs(200, seed=1), "test": blobs(40, seed=2)})
    recipes = [replace(BASE, learning_rate=rate, epochs=9) for rate in np.geomspace(1e-4, 3, 9).tolist()]
    grid = epochal.select(epochal.logistic(), data, recipes)
    halved = epochal.select(epochal.logistic(), data, recipes, halving=True)
    best, found = grid.chosen.score, halved.chosen.score
    p = best.wrong / best.of
    assert found.wrong - best.wrong <= (p * (1 - p) * best.of) ** 0.5, "at most one standard error behind"
    assert halved.steps <= 0.37 * grid.steps
    whole = next(s for s in grid.standings if s.candidate.number == halved.chosen.candidate.number)
    assert halved.chosen.outcomes[0].valid == whole.outcomes[0].valid, "a pause changes nothing"
    assert halved.chosen.outcomes[0].steps == whole.outcomes[0].steps
    assert [s.stopped for s in halved.standings].count("halving") == 8


@pytest.mark.parametrize("candidates", [1, 2, 3, 9, 27, 100])
@pytest.mark.parametrize("epochs", [1, 2, 9, 100])
def test_rungs_grow_to_the_whole_training(candidates, epochs):
    found = rungs(candidates, epochs, 3)
    assert found[-1] == epochs
    assert found == sorted(set(found))
    assert found[0] >= 1
    assert len(found) == 1 or candidates >= 3 ** (len(found) - 2)


def test_folds_validate_every_row_once_and_hold_every_class():
    data = epochal.load({"train": blobs(50), "valid": blobs(13, seed=1), "test": blobs(9, seed=2)})
    views = folds(data, 4, 0)
    seen = np.concatenate([view.valid.x for view in views])
    both = np.concatenate([data.train.x, data.valid.x])
    assert sorted(map(tuple, seen.tolist())) == sorted(map(tuple, both.tolist()))
    for view in views:
        assert len(view.train) + len(view.valid) == 63
        assert len(view.valid) in (15, 16)
        counts = np.bincount(view.valid.y, minlength=3)
        assert counts.max() - counts.min() <= 2
        assert not {tuple(row) for row in view.train.x.tolist()} & {tuple(row) for row in view.valid.x.tolist()}
    with pytest.raises(DataError, match="60 folds are too many"):
        folds(replace(data, train=data.train[:3], valid=data.valid[:2]), 60, 0)


def test_folds_keep_groups_whole(tmp_path):
    x, y = blobs(120, features=2)
    groups = np.random.default_rng(0).permutation(np.repeat(np.arange(20), 6))
    lines = [
        f"{a},{b},{g},{'xyz'[label]}" for (a, b), g, label in zip(x.tolist(), groups.tolist(), y.tolist(), strict=True)
    ]
    (tmp_path / "t.csv").write_text("\n".join(["a,b,who,label", *lines]) + "\n")
    data = epochal.load(tmp_path / "t.csv", label="label", group="who")
    assert len(data.groups) == len(data.train) + len(data.valid)
    row_of = {
        tuple(row): g for row, g in zip(np.concatenate([data.train.x, data.valid.x]).tolist(), data.groups, strict=True)
    }
    for view in folds(data, 3, 0):
        train, valid = ({row_of[tuple(row)] for row in split.x.tolist()} for split in (view.train, view.valid))
        assert not train & valid
        assert len(view.valid) > 10


def test_cross_validation_counts_all_rows_and_the_chosen_is_trained_as_a_run(small):
    selected = epochal.select(epochal.logistic(), small, RATES[:2], folds=3)
    assert selected.chosen.score.of == 141
    by_hand = 0
    for view in folds(small, 3, 0):
        by_hand += epochal.fit(epochal.logistic(), view, RATES[1]).best.valid.wrong
    assert selected.chosen.wrong == by_hand
    assert selected.fit.best == epochal.fit(epochal.logistic(), small, RATES[1]).best


@pytest.mark.filterwarnings("ignore:.*valid rows are identical to a train row")  # the oracle trains on both
def test_a_refit_trains_on_both_splits_for_a_stated_number_of_steps(small, tmp_path):
    selected = epochal.select(epochal.logistic(), small, RATES[1], refit_steps=11, out=tmp_path / "s")
    whole = epochal.load({"train": [np.concatenate(p) for p in zip(small.train, small.valid, strict=True)],
                          "valid": tuple(small.valid), "test": tuple(small.test)})  # fmt: skip
    training = epochal.train(epochal.logistic(), whole, replace(RATES[1], patience_steps=1000))
    for _ in training.loop.run(until=11):
        pass
    np.testing.assert_array_equal(selected.fit.params["W"], training.variables()["W"])
    assert (selected.fit.steps, selected.fit.stopped, selected.fit.best.step) == (11, "refit", 11)
    assert selected.fit.best.valid == selected.chosen.score
    assert epochal.load_run(tmp_path / "s" / "run", small).test().of == 33
    scaled = epochal.select(epochal.logistic(), small, RATES[1], refit=True)
    assert scaled.fit.steps == round(scaled.chosen.outcomes[0].step / 6 * 8)


def test_groups_are_of_one_shape_and_ways_deal_every_trial_once():
    recipes = [BASE, replace(BASE, learning_rate=1.0), replace(BASE, l2=0.1), replace(BASE, batch_size=10)]
    models = [epochal.logistic(), epochal.mlp(3)]
    candidates = [Candidate(i, m, r) for i, (m, r) in enumerate((m, r) for m in models for r in recipes)]
    trials = [Trial(number, seed, 0) for number in range(8) for seed in range(2)]
    found = groups(candidates, trials)
    assert [{trial.candidate for trial in group} for group in found] == [{0, 1}, {2}, {3}, {4, 5}, {6}, {7}]
    dealt = ways(candidates, found[0])
    assert [len(parts) for parts in dealt.values()] == [1, 2, 4]
    for parts in dealt.values():
        assert sorted(trial for part in parts for trial in part) == sorted(found[0])
    assert list(ways(candidates, found[1])) == [TOGETHER, ALONE]
    assert BY_SEED in dealt


def test_trials_that_do_not_fit_together_are_trained_one_after_another():
    found = {TOGETHER: [[Trial(0, 0, 0), Trial(0, 1, 0)]], ALONE: [[Trial(0, 0, 0)], [Trial(0, 1, 0)]]}

    def make(trials):
        if len(trials) > 1:
            raise epochal.CapacityError("too much; grant more")
        raise AssertionError("measured")

    assert if_it_fits(by_option(found, "always"), found, make) == (ALONE, "2 one after another: too much; grant more")
    assert if_it_fits(by_rule(found, "gpu", 10), found, make) == (ALONE, "2 one after another: too much; grant more")
    with pytest.raises(AssertionError, match="measured"):
        by_clock(found, make, 3)
    assert if_it_fits(by_option(found, "never"), found, make).way == ALONE


def test_the_way_is_a_pure_matter_of_device_size_and_seeds():
    group = [Trial(number, seed, 0) for number in range(3) for seed in range(2)]
    found = {TOGETHER: [group], BY_SEED: [group[::2], group[1::2]], ALONE: [[trial] for trial in group]}
    one_seed = {TOGETHER: [group[::2]], ALONE: [[trial] for trial in group[::2]]}
    for platform, parameters, of, way in (
        ("cpu", 7_850, one_seed, TOGETHER), ("cpu", 7_850, found, BY_SEED), ("cpu", 50_001, found, ALONE),
        ("cpu", 397_510, one_seed, ALONE), ("gpu", 397_510, found, TOGETHER), ("tpu", 50, one_seed, TOGETHER),
        ("cpu", 7_850, {TOGETHER: [group[:1]], ALONE: [group[:1]]}, ALONE),
    ):  # fmt: skip
        assert by_rule(of, platform, parameters) == by_rule(of, platform, parameters)
        assert by_rule(of, platform, parameters).way == way, (platform, parameters)


def test_no_clock_decides_unless_it_is_asked_for(small, monkeypatch):
    asks = []
    monkeypatch.setattr("epochal.selection.packing.seconds_per_epoch", lambda make, part: asks.append(len(part)) or 2.0)
    selected = epochal.select("logistic", small, RATES[:2])
    assert asks == []
    assert not any("measured" in note for note in selected.notes)
    selected = epochal.select("logistic", small, RATES[:2], vectorize="measure")
    assert asks == [2, 1]
    assert "the way of training is measured: another time near ties may rank differently" in selected.notes


def test_equal_candidates_are_trained_once_and_counted(small):
    recipes = [BASE, replace(BASE, seed=1), replace(BASE), replace(BASE, class_weight={"0": 1.0}), BASE]
    selected = epochal.select(["logistic", epochal.logistic()], small, recipes)
    assert len(selected.standings) == 3
    assert "7 of 10 candidates have the model and the recipe of an earlier one: each is trained once" in selected.notes
    assert not any("earlier one" in note for note in epochal.select("logistic", small, RATES[:2]).notes)


def test_a_patience_that_cannot_run_out_is_said_where_it_is_true(small):
    steps = epochal.train("logistic", small, BASE).loop.plan.steps * BASE.epochs
    for patience, said in ((steps - 1, 0), (steps, 1)):
        recipe = replace(BASE, patience_steps=patience)
        selected = epochal.select("logistic", small, [recipe, replace(recipe, l2=0.1)])
        training = epochal.train("logistic", small, recipe)
        told = (
            f"patience of {patience:,} steps cannot run out in 4 epochs of {steps // 4} steps ({steps} steps): only the"
        )
        for notes in (training.notes, selected.notes):
            assert len(notes) == said
            assert all(note.startswith(told) and "a smaller patience_steps=…" in note for note in notes)


@pytest.mark.parametrize(
    ("choices", "asked"),
    [
        ({"optimizer": "adamw", "schedule": "inverse_time"}, ["optimizer", "schedule", "weight_decay", "decay"]),
        ({"optimizer": "sgd", "schedule": "constant"}, ["optimizer", "schedule"]),
        ({"optimizer": "own.py:lion"}, ["optimizer"]),
    ],
)
def test_a_study_is_asked_only_for_what_is_read(choices, asked):
    axes = {"weight_decay": (1e-4, 1e-3), "decay": (0.1, 1.0), "schedule": ("constant", "inverse_time"),
            "optimizer": ("sgd", "adamw", "own.py:lion")}  # fmt: skip
    study, seen = Study.__new__(Study), []  # without Optuna, which a machine may lack
    study.space = Space(axes, search_space.build, {}, search_space.unread, search_space.DECISIVE)

    class Asked:
        def suggest_categorical(self, name, values):
            seen.append(name)
            return choices.get(name, values[0])

    assert list(study._values(Asked())) == seen == asked


def test_too_many_candidates_are_refused():
    with pytest.raises(RecipeError, match=r"the lists make 1,000,000 candidates, at most are 100,000; .* trials=100"):
        _space(l1=tuple(range(1000)), l2=tuple(range(1000))).grid()
    with pytest.raises(RecipeError, match="trials: must be a whole number from 1 to 100,000, got 1,000,000,000"):
        _space(l1=Range(0.1, 1.0)).draws(10**9, 0)
    assert len(_space(l1=(0.1, 0.2)).draws(100_000, 0)) == 2, "it ends where there are no more"


def test_text_becomes_lists_and_ranges_or_an_error_that_names_it():
    assert parse("1e-4..1e-1", "l2") == Range(1e-4, 0.1)
    assert parse("0.01,3", "l2") == (0.01, 3)
    for text_, told in (("3..1", "the smaller first"), ("a..b", "two numbers"), ("-1..1", "from at least 0"),
                        ("1,,2", "joined by commas"), ("1,2,1", "twice")):  # fmt: skip
        with pytest.raises(RecipeError, match=told):
            parse(text_, "l2")


def _space(**axes):
    return Space(axes, lambda values: (epochal.logistic(), replace(BASE, **values)))


def test_draws_are_reproducible_spread_on_a_log_scale_and_within_bounds():
    space = _space(learning_rate=Range(1e-4, 1e-1), batch_size=Range(5, 50), l2=(0.5, 0.9))
    drawn = [candidate.varied for candidate in space.draws(300, seed=3)]
    assert drawn == [candidate.varied for candidate in space.draws(300, seed=3)]
    assert drawn[:5] == [candidate.varied for candidate in space.draws(5, seed=3)], "more draws go on where fewer ended"
    assert drawn != [candidate.varied for candidate in space.draws(300, seed=4)]
    rates = np.array([values["learning_rate"] for values in drawn])
    assert rates.min() >= 1e-4
    assert rates.max() <= 1e-1
    assert 70 < (rates < 1e-3).sum() < 130, "a third of the draws in each decade"
    sizes = {values["batch_size"] for values in drawn}
    assert sizes <= set(range(5, 51))
    assert len(sizes) > 40
    assert len(_space(l2=(0.5, 0.9)).draws(10, 0)) == 2, "no candidate twice"
    with pytest.raises(RecipeError, match=r"learning_rate: 0.0001..0.1 is a range; say how many draws with trials=…"):
        space.grid()


def test_options_that_make_no_sense_are_refused(small):
    for options, told in (({"seeds": 0}, "seeds: must be at least 1, got 0"), ({"folds": 1}, "at least 2, got 1"),
                          ({"vectorize": "maybe"}, "auto, always, never"), ({"fold": 2}, "no option is called 'fold'"),
                          ({"checkpoint_seconds": -1}, "at least 0")):  # fmt: skip
        with pytest.raises(RecipeError, match=told):
            epochal.select(epochal.logistic(), small, BASE, **options)
    with pytest.raises(RecipeError, match="nothing to choose from"):
        epochal.select(epochal.logistic(), small, [])
    assert Choosing.from_dict(Choosing(seeds=3).to_dict()) == Choosing(seeds=3)


def test_where_all_diverge_none_is_chosen(small):
    selected = epochal.select(epochal.logistic(), small, RATES[2])
    assert selected.fit is None
    assert selected.chosen is None
    with pytest.raises(RunError, match="all of them diverged"):
        selected.test()


def test_the_table_and_the_picture_show_every_candidate(small):
    found = epochal.select(epochal.logistic(), small, RATES, seeds=2).standings
    assert len(text(found).splitlines()) == 4
    lines = csv_text(found).splitlines()
    assert len(lines) == 4
    assert lines[1].startswith("1,1,0.1,")
    picture = svg(found)
    assert ElementTree.fromstring(picture).tag.endswith("svg")
    assert picture.count("<circle") == 3 - sum(not s.scores for s in found)
    assert "learning_rate (log)" in picture
    assert isinstance(found[0], Standing)
