import numpy as np
import pytest

from nnunet_ext.metrics.intervals import NO_INTERVAL, bootstrap

NAN = np.nan


def test_the_interval_of_many_cases_is_that_of_the_normal_distribution():
    values = np.random.default_rng(1).normal(0.8, 0.1, (400, 1))
    (one,), overall = bootstrap(values)
    half = 1.96 * values.std() / np.sqrt(len(values))
    assert one.mean == pytest.approx(values.mean())
    assert one.low == pytest.approx(values.mean() - half, abs=0.001)
    assert one.high == pytest.approx(values.mean() + half, abs=0.001)
    assert overall == one


def test_it_is_the_same_each_time():
    values = np.random.default_rng(2).random((9, 3))
    assert bootstrap(values) == bootstrap(values)


def test_cases_that_do_not_count_are_left_out():
    (one, other), overall = bootstrap(np.array([[0.5, NAN], [0.7, 0.9], [NAN, NAN]]))
    assert (one.mean, other.mean) == pytest.approx((0.6, 0.9))
    assert (other.low, other.high) == pytest.approx((0.9, 0.9))
    assert overall.mean == pytest.approx(0.75)


def test_a_label_without_any_value_has_no_interval_and_does_not_count_in_the_mean():
    (one, other), overall = bootstrap(np.array([[0.5, NAN], [0.7, NAN]]))
    assert other == NO_INTERVAL
    assert overall.mean == one.mean


def test_no_cases_no_intervals():
    assert bootstrap(np.zeros((0, 2))) == ((NO_INTERVAL, NO_INTERVAL), NO_INTERVAL)


def test_cases_of_a_subject_are_drawn_together_so_that_copies_tell_nothing_new():
    values = np.random.default_rng(3).normal(0.8, 0.1, (60, 2))
    subjects = [f"s{i}" for i in range(60)]
    twice = np.repeat(values, 2, axis=0)
    once, together = bootstrap(values), bootstrap(twice, np.repeat(subjects, 2).tolist())
    for one, other in zip((*once[0], once[1]), (*together[0], together[1]), strict=True):
        assert (other.mean, other.low, other.high) == pytest.approx((one.mean, one.low, one.high), abs=0.01)
    apart = bootstrap(twice)[1]
    assert apart.high - apart.low < 0.8 * (together[1].high - together[1].low)


def test_the_mean_is_over_cases_however_many_a_subject_has():
    values = np.array([[1.0], [1.0], [1.0], [0.0]])
    (one,), _ = bootstrap(values, ["a", "a", "a", "b"])
    assert (one.mean, one.low, one.high) == (0.75, 0.0, 1.0)
