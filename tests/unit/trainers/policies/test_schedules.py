"""Learning rates of each epoch, without torch and without a training."""

import math

import pytest

from nnunet_ext.trainers.policies.early_stopping import EarlyStopping
from nnunet_ext.trainers.policies.schedules import CoolDown, EpochScheduler, Schedule


def rates(kind, n_epochs=8, history=(), **options):
    schedule = Schedule(schedule=kind, initial_lr=1.0, n_epochs=n_epochs, **options)
    return [schedule.lr(epoch, history[:epoch]) for epoch in range(n_epochs)]


def test_poly_is_nnunets_to_the_last_bit():
    assert [Schedule(initial_lr=1e-2).lr(epoch) for epoch in range(1000)] == [
        1e-2 * (1 - epoch / 1000) ** 0.9 for epoch in range(1000)
    ]


def test_cosine_falls_from_one_to_zero():
    assert rates("cosine", 4) == pytest.approx([1, (1 + math.sqrt(0.5)) / 2, 0.5, (1 - math.sqrt(0.5)) / 2])


def test_each_period_after_a_restart_is_longer_by_the_factor():
    lr = rates("restarts", 14, restart_epochs=2, restart_factor=2)
    assert [epoch for epoch, value in enumerate(lr) if value == 1] == [0, 2, 6]
    assert lr[6:] == pytest.approx(rates("cosine", 8))


def test_a_factor_of_one_restarts_after_equal_periods():
    lr = rates("restarts", 9, restart_epochs=3, restart_factor=1)
    assert lr[:3] == lr[3:6] == lr[6:]


def test_steps_fall_at_once_and_an_exponential_in_between():
    steps = rates("step", 6, step_epochs=2, lr_factor=0.5)
    assert steps == [1, 1, 0.5, 0.5, 0.25, 0.25]
    exponential = rates("exponential", 6, step_epochs=2, lr_factor=0.5)
    assert exponential[::2] == pytest.approx(steps[::2])
    assert exponential[1] == pytest.approx(math.sqrt(0.5))


def test_a_plateau_is_counted_anew_after_each_fall():
    history = [0.1, 0.2, 0.2, math.nan, 0.2, 0.1, 0.3, 0.3]
    assert rates("plateau", history=history, plateau_epochs=2, lr_factor=0.5) == [
        1, 1, 1, 1, 0.5, 0.5, 0.25, 0.25,
    ]  # fmt: skip


def test_a_plateau_during_the_warm_up_is_none():
    lr = rates("plateau", history=[0.2] * 8, warmup_epochs=3, plateau_epochs=2, lr_factor=0.5)
    assert lr == [0.25, 0.5, 0.75, 1, 1, 1, 0.5, 0.5]


@pytest.mark.parametrize("kind", ["poly", "cosine", "restarts", "step", "exponential", "plateau"])
def test_a_warm_up_rises_to_the_first_value_and_the_rest_is_what_it_is_without(kind):
    assert rates(kind, 8, warmup_epochs=3) == [0.25, 0.5, 0.75, *rates(kind, 5)]


# The cool-down

FALLING = [0.5, 0.4, 0.3, 0.2, 0.9, 0.95]  # with a patience of 2 it is over after 3 epochs


def cool_down(n_epochs=3, last_epoch=100, **policy):
    return CoolDown(EarlyStopping(**{"patience": 2, **policy}), n_epochs, last_epoch)


def test_a_cool_down_begins_when_patience_is_over_and_heeds_no_rise_after_it():
    assert [cool_down().began(FALLING[:length]) for length in range(7)] == [None, None, None, 3, 3, 3, 3]


def test_a_cool_down_falls_evenly_to_zero_at_its_end():
    assert [cool_down().share(epoch, 3) for epoch in range(3, 8)] == pytest.approx([0.75, 0.5, 0.25, 0, 0])
    assert cool_down().share(6, 3) == 0


def test_a_cool_down_near_the_last_epoch_is_shorter():
    late = cool_down(n_epochs=10, last_epoch=5)
    assert late.length(3) == 2
    assert [late.share(epoch, 3) for epoch in (3, 4, 5)] == pytest.approx([2 / 3, 1 / 3, 0])


def test_without_epochs_there_is_no_cool_down_and_with_more_patience_none_yet():
    assert cool_down(n_epochs=0).began(FALLING) is None
    assert cool_down(patience=5).began(FALLING) is None
    assert cool_down().began(FALLING[:4], counted_from=4) is None


# What nnU-Net calls


def test_every_group_of_parameters_gets_the_rate_of_the_epoch():
    class Optimizer:
        param_groups = ({"lr": 1.0}, {"lr": 2.0})

    scheduler = EpochScheduler(Optimizer(), lambda epoch: 0.5**epoch)
    scheduler.step(3)
    assert scheduler.get_last_lr() == [0.125, 0.125]
