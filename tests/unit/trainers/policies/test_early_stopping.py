"""When a training should stop: histories written out by hand."""

from __future__ import annotations

import math

import numpy as np
import pytest

from nnunet_ext.trainers.policies.early_stopping import EarlyStopping, earned_average, nan_safe_average

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
    assert nan_safe_average([]) == earned_average([]) == []


# The average by which a training is judged, and what patience makes of it


def test_the_earned_average_begins_at_zero_and_each_epoch_weighs_the_same_when_it_comes():
    assert earned_average([0.5, 1.0, 0.0]) == pytest.approx([0.05, 0.145, 0.1305])


def test_the_earned_average_is_nnunets_less_what_the_first_epoch_weighs_too_much():
    dices = list(np.random.default_rng(5).uniform(0, 1, 60))
    excess = [dices[0] * 0.9 ** (epoch + 1) for epoch in range(60)]
    assert earned_average(dices) == pytest.approx(np.subtract(nnunets_average(dices), excess))


def test_an_epoch_without_a_dice_keeps_the_earned_average():
    average = earned_average([NAN, 0.5, NAN, 0.0])
    assert math.isnan(average[0])
    assert average[1:] == pytest.approx([0.05, 0.05, 0.045])


def judged(dices, patience):
    """After how many epochs a training with these Dice stops, and its best epoch then."""
    policy, history = EarlyStopping(patience), earned_average(dices)
    stopped = epochs_until_stop(policy, history)
    seen = history[:stopped]
    return stopped, int(np.argmax(seen))


def test_a_lucky_first_epoch_is_not_the_best():
    # Nothing is found for 9 epochs after the first; then 0.3, of which an epoch adds 0.03 to the average:
    # epoch 10 has 0.02236 * 0.9^10 + 0.03 = 0.0378. nnU-Net's own is 0.2236 * 0.9^10 + 0.03 = 0.1080 then,
    # and no higher than its first value before epoch 19.
    dices = [0.2236, *[0.0] * 9, *[0.3] * 30]
    assert earned_average(dices)[10] == pytest.approx(0.0378, abs=5e-5)
    assert nan_safe_average(dices)[10] == pytest.approx(0.1080, abs=5e-5)
    assert judged(dices, patience=12) == (None, 39)
    theirs = nan_safe_average(dices)
    assert epochs_until_stop(EarlyStopping(12), theirs) == 13
    assert int(np.argmax(theirs[:13])) == 0


def test_a_slow_rise_is_not_stopped():
    # 0.0002 an epoch: the average follows 9 epochs behind, and rises in every epoch.
    assert judged([0.0002 * epoch for epoch in range(400)], patience=1) == (None, 399)


def test_a_plateau_is_stopped_after_its_patience():
    # 60 epochs of 0.8 make the average 0.8 (1 - 0.9^60) = 0.7986; the first of 0.79 makes it
    # 0.9 * 0.7986 + 0.079 = 0.7977, and none of those to come lifts it above 0.79.
    dices = [0.8] * 60 + [0.79] * 40
    assert earned_average(dices)[59:61] == pytest.approx([0.7986, 0.7977], abs=5e-5)
    assert judged(dices, patience=20) == (80, 59)


def test_a_good_start_that_stays_is_waited_for_until_the_average_is_there():
    # After n epochs of 0.8 the average lacks 0.8 * 0.9^n. Once that is below 0.001, after 64 epochs, it
    # cannot rise by more than 0.001 any more; the rise before that may come 10 epochs later, and then
    # patience runs out in 10.
    policy = EarlyStopping(patience=10, min_delta=0.001)
    assert 64 <= epochs_until_stop(policy, earned_average([0.8] * 200)) <= 84
