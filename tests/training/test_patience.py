"""The rule against the tutorials' loop, written plainly in Python as published."""

import numpy as np
import pytest

from epochal.training.patience import Patience, validation_frequency


def published(curve, steps_per_epoch, epochs, patience, increase, threshold):
    """The loop of "Getting Started", section Early-Stopping: (best iter, best wrong, updates done, validated iters)."""
    frequency = min(steps_per_epoch, patience // 2) or 1
    best, best_iter, validated, done, epoch, looping = np.inf, 0, [], 0, 0, True
    while epoch < epochs and looping:
        epoch += 1
        for minibatch in range(steps_per_epoch):
            iteration = (epoch - 1) * steps_per_epoch + minibatch
            done += 1
            if (iteration + 1) % frequency == 0:
                validated.append(iteration + 1)
                loss = curve[(iteration + 1) // frequency - 1]
                if loss < best:
                    if loss < best * threshold:
                        patience = max(patience, iteration * increase)
                    best, best_iter = loss, iteration
            if patience <= iteration:
                looping = False
                break
    return best_iter + 1, best, done, validated


def ours(curve, steps_per_epoch, epochs, patience, increase, threshold):
    rule, step, validated = Patience(patience, increase, threshold), 0, []
    frequency = validation_frequency(steps_per_epoch, patience)
    last = epochs * steps_per_epoch
    while step < last and not rule.exhausted(step):
        step = min(rule.next_look(step, frequency), last)
        if step % frequency == 0:
            validated.append(step)
            rule, _ = rule.observe(step, int(curve[step // frequency - 1]))
    return rule.best_step or 1, np.inf if rule.best is None else rule.best, step, validated


def test_the_rule_stops_and_chooses_as_the_published_loop_on_5000_noisy_curves():
    generator = np.random.default_rng(0)
    inside_an_epoch = by_patience = 0
    for _ in range(5000):
        steps_per_epoch, epochs = int(generator.integers(1, 40)), int(generator.integers(1, 30))
        patience = int(generator.integers(2, 200))
        increase = float(generator.choice([1.0, 1.5, 2.0, 3.0]))
        threshold = float(generator.choice([0.9, 0.995, 1.0]))
        length = steps_per_epoch * epochs
        noise = generator.normal(scale=generator.choice([0, 5, 30]), size=length)
        curve = np.maximum(0, 300 * np.exp(-np.arange(length) / (length / 4)) + noise).astype(int)
        arguments = (curve, steps_per_epoch, epochs, patience, increase, threshold)
        assert ours(*arguments) == published(*arguments), arguments
        done = ours(*arguments)[2]
        by_patience += done < length
        inside_an_epoch += done % steps_per_epoch != 0
    assert by_patience > 1000
    assert inside_an_epoch > 500


def test_a_tie_is_no_new_best():
    rule, better = Patience(10).observe(3, 5)
    assert better
    assert rule.observe(6, 5) == (rule, False)


def test_a_small_improvement_is_kept_but_buys_no_patience():
    rule, _ = Patience(10, 2.0, 0.5).observe(4, 100)
    rule, better = rule.observe(50, 99)
    assert better
    assert (rule.best, rule.best_step, rule.steps) == (99, 50, 10)
    assert rule.observe(60, 10)[0].steps == 2 * 59


@pytest.mark.parametrize(("steps", "patience", "expected"), [(83, 5000, 83), (2500, 100, 50), (10, 1, 1), (1, 9, 1)])
def test_validation_frequency(steps, patience, expected):
    assert validation_frequency(steps, patience) == expected
