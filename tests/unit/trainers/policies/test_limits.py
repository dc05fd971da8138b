"""When a training ends whatever its Dice."""

from datetime import datetime
from math import inf, nan

import pytest

from nnunet_ext.trainers.policies.limits import Limits

NOON = datetime(2026, 3, 1, 12)


def cause(limits, losses=(0.5,), seconds=(1800.0,), now=NOON):
    verdict = limits.judge(losses, seconds, now)
    assert verdict.stop is (verdict.cause is not None)
    return verdict.cause


def test_without_limits_nothing_ends():
    assert cause(Limits(), losses=[nan] * 9, seconds=[1e9]) is None


@pytest.mark.parametrize(
    ("losses", "ends"),
    [([0.5, nan, nan], True), ([nan, -inf], True), ([nan, nan, 0.5], False), ([nan, 0.5, nan], False)],
)
def test_losses_that_are_no_numbers_end_it_once_they_follow_each_other(losses, ends):
    assert cause(Limits(nan_epochs=2), losses) == ("nan_epochs" if ends else None)


def test_an_epoch_that_would_not_fit_into_the_hours_is_not_begun():
    limits = Limits(max_hours=2)
    assert cause(limits, seconds=[1800, 1800, 1800]) is None
    assert cause(limits, seconds=[1800, 1800, 1800, 1800]) == "max_hours"
    assert cause(limits, seconds=[600, 3600]) == "max_hours"
    assert (
        "1.17 of 2 hours are used, and an epoch takes 3600 s" in limits.judge([1], [600, 3600], NOON).reason
    )


def test_an_epoch_that_would_end_after_the_deadline_is_not_begun():
    limits = Limits(deadline=datetime(2026, 3, 1, 12, 30))
    assert cause(limits, seconds=[9e9, 1799]) is None
    assert cause(limits, seconds=[1, 1801]) == "stop_at"
    assert cause(limits, seconds=[]) is None
