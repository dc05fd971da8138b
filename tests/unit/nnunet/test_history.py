from dataclasses import replace

import pytest
from training_logs import best_stated, epochs

from nnunet_ext.nnunet.history import Epoch, History, epoch_differences, joined_epochs


def history(*dice, averages=None):
    """A history of one label."""
    stated = averages or [None] * len(dice)
    return History(
        ("organ",),
        tuple(
            Epoch(number=i, dice=(d,), average=a) for i, (d, a) in enumerate(zip(dice, stated, strict=True))
        ),
    )


def test_the_average_goes_on_by_nnunets_rule_and_an_epoch_without_a_dice_leaves_it():
    assert history(0.5, 1.0, None, 0.0).averages == pytest.approx((0.5, 0.55, 0.55, 0.495))
    assert history(None, 0.5, 1.0).averages == pytest.approx((None, 0.5, 0.55))


def test_the_best_epoch_is_the_one_that_the_training_judged_best_where_it_says_so():
    lucky = history(0.9, 0.1, 0.2, averages=[0.9, 0.82, 0.758])
    assert lucky.best == 0
    assert replace(lucky, judged_best=2).best == 2
    assert replace(lucky, judged_best=7).best == 0


def test_the_mean_of_an_epoch_is_over_the_labels_that_were_seen():
    assert Epoch(number=0, dice=(0.5, None, 0.7)).dice_mean == pytest.approx(0.6)
    assert Epoch(number=0, dice=(None,)).dice_mean is None
    assert Epoch(number=0).dice_mean is None


def test_an_average_is_unknown_until_it_is_stated_where_the_first_epochs_are_lost():
    late = History(
        ("organ",),
        tuple(Epoch(number=i, dice=(0.5,), average=0.8 if i == 52 else None) for i in range(50, 54)),
    )
    assert late.averages == pytest.approx((None, None, 0.8, 0.77))
    gap = History(("organ",), (Epoch(number=0, dice=(0.5,)), Epoch(number=2, dice=(0.5,))))
    assert gap.averages == (0.5, None)


def test_the_best_epoch_is_the_first_of_equal_ones():
    assert history(0.2, 0.4, 0.4).best == 2
    assert history(0.4, 0.4, 0.4).best == 0
    assert history(None, None).best is None and history().best is None
    assert history(None, None).best_average is None


def test_an_average_that_is_better_by_a_rounded_hair_is_not_the_best():
    assert history(0.4, 0.41, 0.4015, averages=[0.4, 0.4010, None]).best == 1
    assert history(None, 0.4015, averages=[0.4010, None]).best == 0


def test_an_average_that_is_better_by_more_is_the_best_although_the_log_says_nothing():
    # As where a trainer judges its epochs by something else and is silent on the average.
    assert history(0.4, 0.41, 0.9, averages=[0.4, 0.4010, None]).best == 2


def test_stated_averages_are_as_good_as_those_reckoned():
    reckoned = History(("a", "b"), tuple(epochs(30)))
    stated = History(("a", "b"), tuple(best_stated(epochs(30))))
    assert stated.averages == pytest.approx(reckoned.averages, abs=2e-4)
    assert stated.best == reckoned.best


def test_a_label_that_fell_below_half_of_its_peak_is_lost():
    assert history(*[0.6] * 5, *[0.1] * 5).lost_labels() == ("organ",)
    assert history(*[0.6] * 5, *[0.1] * 2).lost_labels() == ()  # two bad epochs are no loss yet
    assert history(*[0.1] * 5, *[0.0] * 5).lost_labels() == ()  # was never learnt
    assert history(*[0.6] * 5, *[None] * 5).lost_labels() == ()  # was not looked at
    assert history(0.0, 0.0, 0.1, 0.3, 0.6).lost_labels() == ()  # is being learnt


def test_seconds_are_medians_and_sums_over_what_is_known():
    known = History(
        (),
        (
            Epoch(number=0, seconds=100),
            Epoch(number=1, seconds=10),
            Epoch(number=2),
            Epoch(number=3, seconds=12),
        ),
    )
    assert known.epoch_s() == 12 and known.epoch_s(2) == 11 and known.total_s == 122
    assert History((), (Epoch(number=0),)).epoch_s() is None


def test_of_two_sources_the_newer_has_the_epoch():
    assert joined_epochs(epochs(3), epochs(2, first=2, shift=0.1)) == (
        *epochs(2),
        *epochs(2, first=2, shift=0.1),
    )


def test_what_a_log_rounds_is_no_difference_and_anything_else_is():
    some = epochs(3)
    exact = [replace(some[0], train_loss=0.90003, seconds=12.504), *some[1:]]
    assert epoch_differences(some, exact) == []
    assert epoch_differences(some, []) == []
    other = [
        replace(some[0], train_loss=0.8),
        replace(some[1], dice=(0.1, 0.45)),
        replace(some[2], dice=(0.4, 0.5)),
    ]
    found = epoch_differences(some, other)
    assert [text.partition(":")[0] for text in found] == ["epoch 0", "epoch 1", "epoch 2"]
    assert "train_loss 0.9 and 0.8" in found[0]
