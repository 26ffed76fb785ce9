"""Why a training ends, and one of a fixed length."""

import json
import pickle

import numpy as np
import pytest

import epochal
from epochal.training.progress import Best, Stopped
from epochal.training.score import Score
from epochal.training.tracker import FixedLength
from epochal.training.training import Training

RECIPE = epochal.Recipe(batch_size=20, epochs=3, patience_steps=2)


@pytest.mark.parametrize("reason", Stopped)
def test_a_reason_is_a_word_in_json_and_a_sentence_for_people(reason):
    assert json.loads(json.dumps(reason)) == reason == str(reason) == f"{reason}"
    assert repr(reason) == repr(reason.value)
    assert pickle.loads(pickle.dumps(reason)) is Stopped(reason.value) is reason
    assert reason.sentence.endswith(".")


def test_a_training_of_a_fixed_length_keeps_its_last_parameters_under_the_score_given(small):
    score = Score(3, 141)
    training = Training(epochal.logistic(), small, RECIPE, fixed_length=FixedLength(20, score))
    epochs = list(training)
    assert (training.step, training.stopped, training.best) == (20, Stopped.REFIT, Best(4, 20, score))
    assert [epoch.step for epoch in epochs] == [6, 12, 18, 20], "neither patience nor the epochs of the recipe end it"
    assert all(0 <= epoch.validation_seconds <= epoch.seconds for epoch in epochs)
    np.testing.assert_array_equal(training.params["W"], training.variables()["W"])
    again = Training(epochal.logistic(), small, RECIPE)
    again.load_snapshot(training.snapshot(), epochs)
    assert list(again.progress()) == []
    assert (again.stopped, again.best, again.fit().parameters_sha256) == (
        training.stopped,
        training.best,
        training.fit().parameters_sha256,
    )
