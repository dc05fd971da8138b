"""When a training should stop: histories written out by hand."""

from __future__ import annotations

import math

import numpy as np
import pytest

from nnunet_ext.trainers.early_stopping import EarlyStopping, nan_safe_average

NAN = math.nan


def epochs_until_stop(policy, history, counted_from=0):
    """Epochs that a training with this history runs; None where nothing stops it."""
    for n in range(counted_from + 1, len(history) + 1):
        if policy.judge(history[:n], counted_from).stop:
            return n
    return None


def test_no_epoch_is_no_reason_to_stop():
    assert not EarlyStopping(patience=1, stop_at_dice=0.1).judge([]).stop


def test_a_training_that_rises_is_never_stopped():
    assert epochs_until_stop(EarlyStopping(patience=1), [0.1, 0.2, 0.3, 0.4]) is None


def test_patience_counts_the_epochs_after_the_best():
    assert epochs_until_stop(EarlyStopping(patience=2), [0.1, 0.5, 0.4, 0.4, 0.4]) == 4


def test_patience_of_one_stops_at_the_first_epoch_without_a_rise():
    assert epochs_until_stop(EarlyStopping(patience=1), [0.5, 0.5]) == 2


def test_an_equal_dice_is_no_rise():
    assert epochs_until_stop(EarlyStopping(patience=3), [0.5, 0.5, 0.5, 0.5]) == 4


def test_a_rise_of_exactly_min_delta_is_none():
    assert epochs_until_stop(EarlyStopping(patience=1, min_delta=0.25), [0.5, 0.75]) == 2
    assert epochs_until_stop(EarlyStopping(patience=1, min_delta=0.25), [0.5, 0.8125]) is None


def test_small_rises_count_together_against_the_last_best():
    policy = EarlyStopping(patience=3, min_delta=0.1)
    assert epochs_until_stop(policy, [0.50, 0.56, 0.62, 0.62, 0.62, 0.62]) == 6


def test_the_first_finite_dice_is_a_rise_even_if_zero():
    assert epochs_until_stop(EarlyStopping(patience=2, min_delta=0.5), [NAN, 0.0, 0.0]) is None


def test_nan_is_never_a_rise_but_an_epoch_of_waiting():
    assert epochs_until_stop(EarlyStopping(patience=2), [0.5, NAN, NAN]) == 3


def test_nan_does_not_hide_a_later_rise():
    assert epochs_until_stop(EarlyStopping(patience=2), [0.5, NAN, 0.6, NAN, 0.7]) is None


def test_a_training_without_any_finite_dice_stops_after_its_patience():
    policy = EarlyStopping(patience=3)
    assert epochs_until_stop(policy, [NAN] * 9) == 3
    assert policy.judge([NAN] * 3).reason == "no finite Dice so far, 3 of 3 epochs without a rise"


@pytest.mark.parametrize("min_epochs", [0, 1, 4, 5, 6])
def test_nothing_stops_before_min_epochs(min_epochs):
    policy = EarlyStopping(patience=2, min_epochs=min_epochs)
    assert epochs_until_stop(policy, [0.5] * 9) == max(3, min_epochs)
    enough = EarlyStopping(patience=9, min_epochs=min_epochs, stop_at_dice=0.4)
    assert epochs_until_stop(enough, [0.5] * 9) == max(1, min_epochs)


def test_a_dice_that_is_enough_stops_at_once_and_says_so():
    verdict = EarlyStopping(patience=9, stop_at_dice=0.8).judge([0.1, 0.8])
    assert (verdict.stop, verdict.cause) == (True, "stop_at_dice")
    assert verdict.reason == "Dice 0.8000 has reached stop_at_dice 0.8"


def test_a_dice_that_was_enough_but_fell_is_not_enough():
    assert not EarlyStopping(patience=9, stop_at_dice=0.8).judge([0.9, 0.7]).stop


def test_nan_is_not_enough():
    assert not EarlyStopping(patience=9, stop_at_dice=0.8).judge([0.1, NAN]).stop


def test_a_verdict_names_best_epoch_and_patience():
    verdict = EarlyStopping(patience=2).judge([0.25, 0.5, 0.25, 0.25])
    assert (verdict.stop, verdict.cause) == (True, "patience")
    assert verdict.reason == "best 0.5000 at epoch 1, 2 of 2 epochs without a rise"


def test_a_verdict_to_go_on_has_no_cause():
    verdict = EarlyStopping(patience=2).judge([0.5, 0.25])
    assert (verdict.stop, verdict.cause) == (False, None)
    assert verdict.reason == "best 0.5000 at epoch 0, 1 of 2 epochs without a rise"


def test_waiting_counts_anew_from_a_given_epoch():
    policy = EarlyStopping(patience=2)
    history = [0.5, 0.4, 0.4, 0.4, 0.4, 0.4]
    assert policy.judge(history[:3]).stop
    assert not policy.judge(history[:3], counted_from=3).stop
    assert epochs_until_stop(policy, history, counted_from=3) == 5


def test_counting_anew_keeps_the_best_to_rise_over():
    policy = EarlyStopping(patience=2)
    assert epochs_until_stop(policy, [0.5, 0.1, 0.1, 0.2, 0.3], counted_from=3) == 5
    assert epochs_until_stop(policy, [0.5, 0.1, 0.1, 0.2, 0.6, 0.1], counted_from=3) is None


def test_a_best_after_the_given_epoch_starts_the_waiting():
    policy = EarlyStopping(patience=2)
    assert epochs_until_stop(policy, [0.5, 0.1, 0.1, 0.6, 0.1, 0.1], counted_from=2) == 6


def test_more_patience_lets_a_stopped_history_go_on():
    history = [0.5, 0.4, 0.4]
    assert EarlyStopping(patience=2).judge(history).stop
    assert not EarlyStopping(patience=3).judge(history).stop


def nnunets_average(dices):
    """nnU-Net's `MetaLogger.log`, word for word."""
    history = []
    for value in dices:
        history.append(history[-1] * 0.9 + 0.1 * value if len(history) > 0 else value)
    return history


@pytest.mark.parametrize("dtype", [float, np.float32, np.float64])
def test_the_average_of_finite_dices_is_nnunets_to_the_last_bit(dtype):
    dices = [dtype(value) for value in np.random.default_rng(3).uniform(0, 1, 200)]
    ours, theirs = nan_safe_average(dices), nnunets_average(dices)
    assert ours == theirs
    assert {type(value) for value in ours} == {type(value) for value in theirs}


def test_an_epoch_without_a_dice_keeps_the_average():
    assert nan_safe_average([0.5, NAN, NAN, 1.0]) == [0.5, 0.5, 0.5, 0.5 * 0.9 + 0.1 * 1.0]


def test_the_average_is_nan_until_the_first_finite_dice():
    average = nan_safe_average([NAN, math.inf, 0.5, 0.25])
    assert [math.isnan(value) for value in average] == [True, True, False, False]
    assert average[2] == 0.5


def test_the_average_of_nothing_is_nothing():
    assert nan_safe_average([]) == []
