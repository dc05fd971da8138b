from itertools import product

import numpy as np
import pytest

from nnunet_ext.metrics.intervals import NO_INTERVAL, bootstrap_intervals

NAN = np.nan


def test_the_interval_of_many_cases_is_that_of_the_normal_distribution():
    values = np.random.default_rng(1).normal(0.8, 0.1, (400, 1))
    (one,), overall = bootstrap_intervals(values)
    half = 1.96 * values.std() / np.sqrt(len(values))
    assert one.mean == pytest.approx(values.mean())
    assert one.low == pytest.approx(values.mean() - half, abs=0.001)
    assert one.high == pytest.approx(values.mean() + half, abs=0.001)
    assert overall == one


def test_the_interval_is_that_of_all_draws_written_out_by_hand():
    """Five cases, of which two hold the second label: all 3125 draws with replacement, one by one."""
    first, second = [0.1, 0.4, 0.5, 0.8, 0.9], [0.2, None, None, None, 0.6]
    drawn_means = {"first": [], "second": [], "both": []}
    for draw in product(range(5), repeat=5):
        held = [second[i] for i in draw if second[i] is not None]
        of_first, of_second = sum(first[i] for i in draw) / 5, sum(held) / len(held) if held else None
        drawn_means["first"].append(of_first)
        drawn_means["second"] += [of_second] if held else []
        drawn_means["both"].append((of_first + of_second) / 2 if held else of_first)
    each, overall = bootstrap_intervals(np.array([first, second], dtype=float).T)
    assert (each[0].mean, each[1].mean, overall.mean) == pytest.approx((0.54, 0.4, 0.47))
    for interval, means in zip((*each, overall), drawn_means.values(), strict=True):
        means.sort()
        low, high = means[round(0.025 * len(means))], means[round(0.975 * len(means)) - 1]
        assert (interval.low, interval.high) == pytest.approx((low, high), abs=0.02)


def test_it_is_the_same_each_time():
    values = np.random.default_rng(2).random((9, 3))
    assert bootstrap_intervals(values) == bootstrap_intervals(values)


def test_cases_that_do_not_count_are_left_out():
    (one, other), overall = bootstrap_intervals(np.array([[0.5, NAN], [0.7, 0.9], [NAN, NAN]]))
    assert (one.mean, other.mean) == pytest.approx((0.6, 0.9))
    assert (other.low, other.high) == pytest.approx((0.9, 0.9))
    assert overall.mean == pytest.approx(0.75)


def test_a_label_without_any_value_has_no_interval_and_does_not_count_in_the_mean():
    (one, other), overall = bootstrap_intervals(np.array([[0.5, NAN], [0.7, NAN]]))
    assert other == NO_INTERVAL
    assert overall.mean == one.mean


def test_no_cases_no_intervals():
    assert bootstrap_intervals(np.zeros((0, 2))) == ((NO_INTERVAL, NO_INTERVAL), NO_INTERVAL)


def test_cases_of_a_subject_are_drawn_together_so_that_copies_tell_nothing_new():
    values = np.random.default_rng(3).normal(0.8, 0.1, (60, 2))
    subjects = [f"s{i}" for i in range(60)]
    twice = np.repeat(values, 2, axis=0)
    once, together = bootstrap_intervals(values), bootstrap_intervals(twice, np.repeat(subjects, 2).tolist())
    for one, other in zip((*once[0], once[1]), (*together[0], together[1]), strict=True):
        assert (other.mean, other.low, other.high) == pytest.approx((one.mean, one.low, one.high), abs=0.01)
    apart = bootstrap_intervals(twice)[1]
    assert apart.high - apart.low < 0.8 * (together[1].high - together[1].low)


def test_the_mean_is_over_cases_however_many_a_subject_has():
    values = np.array([[1.0], [1.0], [1.0], [0.0]])
    (one,), _ = bootstrap_intervals(values, ["a", "a", "a", "b"])
    assert (one.mean, one.low, one.high) == (0.75, 0.0, 1.0)
