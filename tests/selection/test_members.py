"""Many recipes in one program: each member against the same recipe trained alone."""

from dataclasses import replace

import numpy as np
import pytest

import epochal
from conftest import blobs
from epochal.errors import DivergedError
from epochal.models.parameters import flatten
from epochal.training.loop import Loop

BASE = epochal.Recipe(learning_rate=0.1, l2=1e-3, optimizer="momentum", dtype="float64", patience_steps=14, epochs=9)
TWELVE = [
    replace(BASE, **changed)
    for changed in (
        {},
        {"learning_rate": 0.01},
        {"learning_rate": 0.3, "epochs": 2},
        {"momentum": 0.5},
        {"momentum": 0.0, "l1": 1e-2},
        {"l2": 0.1},
        {"l1": 0.03, "l2": 0.0},
        {"patience_increase": 1.0},
        {"patience_increase": 4.0, "learning_rate": 0.003},
        {"improvement_threshold": 0.5},
        {"learning_rate": 1e200},
        {"epochs": 1, "improvement_threshold": None, "improvement_p": 0.1},
    )
]


def _alone(model, data, recipe, memory_bytes=None):
    training = epochal.train(model, data, recipe, memory_bytes=memory_bytes)
    try:
        for _ in training:
            pass
    except DivergedError:
        assert training.stopped == "diverged"
    return training.tracker


def _story(member):
    validations = [found for epoch in member.epochs for found in epoch.validations]
    return member.stopped, member.step, member.best, validations


def _together(model, data, recipes, memory_bytes=None):
    loop, widths = Loop(model, data, recipes, memory_bytes), []
    for _ in loop.run():
        widths.append(len(loop.active))
    return loop, widths


def test_each_of_twelve_members_is_its_recipe_trained_alone(small):
    loop, widths = _together(epochal.mlp(4), small, TWELVE)
    alone = [_alone(epochal.mlp(4), small, recipe) for recipe in TWELVE]
    assert [_story(member) for member in loop.trackers] == [_story(member) for member in alone]
    for member, other in zip(loop.trackers, alone, strict=True):
        if member.params is not None:
            for name, array in flatten(member.params).items():
                np.testing.assert_allclose(array, flatten(other.params)[name], rtol=1e-9, err_msg=str(member.recipe))
    assert {member.stopped for member in alone} == {"patience", "epochs", "diverged"}, "all ends must occur"
    assert len({member.step for member in alone}) > 4, "the members must end at different steps"
    assert (widths[0], min(widths)) == (12, 3), "the members must be compacted for this test to say anything"


def test_in_float32_counts_differ_by_rounding_alone(small):
    recipes = [replace(BASE, dtype="float32", learning_rate=rate, patience_steps=1000) for rate in (0.01, 0.1, 0.3)]
    loop, _ = _together(epochal.mlp(4), small, recipes)
    for member, recipe in zip(loop.trackers, recipes, strict=True):
        _, steps, _, validations = _story(_alone(epochal.mlp(4), small, recipe))
        assert member.step == steps
        for (step, wrong), (other_step, other) in zip(_story(member)[3], validations, strict=True):
            assert step == other_step
            assert abs(wrong - other) <= 1, "a row on the border may fall to either side, no more"


def test_members_with_seeds_of_their_own_have_orders_of_their_own(small):
    recipes = [replace(BASE, seed=seed, epochs=epochs) for seed, epochs in ((0, 2), (1, 3), (1, 5), (7, 9))]
    loop, widths = _together(epochal.mlp(4), small, recipes)
    assert min(widths) == 1, "the last one goes on alone"
    for member, recipe in zip(loop.trackers, recipes, strict=True):
        assert _story(member) == _story(_alone(epochal.mlp(4), small, recipe))
    assert loop.trackers[1].epochs[0] == replace(loop.trackers[2].epochs[0], seconds=loop.trackers[1].epochs[0].seconds)


def test_members_share_chunks(small):
    data = epochal.load({"train": blobs(600, 50), "valid": blobs(40, 50, seed=1), "test": blobs(40, 50, seed=2)})
    recipes = [replace(BASE, learning_rate=rate, epochs=3) for rate in (0.01, 0.1)]
    resident, _ = _together(epochal.logistic(), data, recipes)
    assert resident.residency.kind == "resident"
    chunked, _ = _together(epochal.logistic(), data, recipes, memory_bytes=110_000)
    assert chunked.residency.kind == "chunked"
    assert [_story(member) for member in chunked.trackers] == [_story(member) for member in resident.trackers]
    with pytest.raises(epochal.CapacityError, match="members with seeds of their own want every row at hand"):
        Loop(epochal.logistic(), data, [recipes[0], replace(recipes[1], seed=1)], memory_bytes=110_000)


def test_a_loop_goes_on_from_snapshots_in_any_company(small):
    whole, _ = _together(epochal.mlp(4), small, TWELVE[:4])
    first = Loop(epochal.mlp(4), small, TWELVE[:4])
    for _ in first.run(until=6):
        pass
    assert first.step == 6
    snapshots = first.snapshots()
    later = Loop(epochal.mlp(4), small, [TWELVE[3], TWELVE[0]])
    later.load_snapshots([snapshots[3], snapshots[0]], [first.trackers[3].epochs, first.trackers[0].epochs])
    for _ in later.run():
        pass
    assert [_story(member) for member in later.trackers] == [_story(whole.trackers[3]), _story(whole.trackers[0])]
