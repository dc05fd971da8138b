"""Sampling of cases that contain rare labels often enough, and the seeds of what is drawn."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from nnunet_ext.errors import SettingsError
from nnunet_ext.trainers.policies.sampling import SeedStream, balanced, largest_rate, seed_of

CASES = [f"case_{i:02d}" for i in range(32)]
COMMON = CASES[:28]
RARE = CASES[30:]


def share(sampling, cases, holders):
    return sum(p for case, p in zip(cases, sampling.probabilities, strict=True) if case in holders)


def test_a_rare_label_is_drawn_at_the_rate_asked_for_and_all_else_alike():
    sampling = balanced(CASES, {"common": COMMON, "rare": RARE}, 0.25)
    np.testing.assert_allclose(sampling.probabilities[30:], 0.125)
    np.testing.assert_allclose(sampling.probabilities[:30], 0.75 / 30)


def test_labels_that_are_seen_often_enough_change_nothing():
    sampling = balanced(CASES, {"common": COMMON, "half": CASES[::2]}, 0.5)
    assert (sampling.probabilities == 1 / 32).all()


def test_a_common_label_is_not_drawn_less_than_a_rare_one_asks_for():
    sampling = balanced(CASES, {"common": CASES[:30], "rare": RARE}, 0.4)
    assert share(sampling, CASES, RARE) == pytest.approx(0.4, abs=1e-9)
    assert share(sampling, CASES, CASES[:30]) == pytest.approx(0.6, abs=1e-9)


def test_a_label_raised_for_another_is_let_go_again():
    # "wide" is short of the rate at first, and has it once "rare", which lies in it, has its own.
    sampling = balanced(CASES, {"wide": CASES[:4], "rare": CASES[:2]}, 0.3)
    assert share(sampling, CASES, CASES[:2]) == pytest.approx(0.3, abs=1e-9)
    np.testing.assert_allclose(sampling.probabilities[2:], 0.7 / 30)


def test_the_rate_chosen_is_a_third_for_few_labels_and_less_for_many():
    assert balanced(CASES, {"rare": RARE}).rate == 1 / 3
    assert balanced(CASES, {str(i): CASES[i : i + 2] for i in range(5)}).rate == pytest.approx(0.9 / 5)


def test_what_is_drawn_is_told_by_label():
    lines = balanced(CASES, {"common": COMMON, "rare": RARE, "none": []}, 0.25).lines()
    assert lines[0] == "Cases are drawn so that each label is in at least 25.0% of them:"
    assert "  rare: in 6.2% of the cases, 25.0% of those drawn" in lines
    assert lines[-1] == "  none: in no training case"


def test_without_any_label_all_cases_are_drawn_alike():
    assert (balanced(CASES, {"none": []}).probabilities == 1 / 32).all()


def test_a_rate_that_cannot_be_had_is_refused_with_one_that_can():
    holders = {"a": CASES[:2], "b": CASES[2:4]}
    with pytest.raises(SettingsError, match=r"case_rate is 0\.6, but no more than 0\.495 .* labels a, b"):
        balanced(CASES, holders, 0.6)
    assert share(balanced(CASES, holders, 0.495), CASES, CASES[:2]) == pytest.approx(0.495, abs=1e-9)


def test_a_rate_at_which_other_cases_are_never_drawn_is_refused():
    with pytest.raises(SettingsError, match=r"no more than 0\.99"):
        balanced(CASES, {"rare": RARE}, 1.0)


@st.composite
def held_labels(draw):
    n_cases, n_labels = draw(st.integers(2, 12)), draw(st.integers(1, 4))
    held = np.array(
        [draw(st.lists(st.booleans(), min_size=n_cases, max_size=n_cases)) for _ in range(n_labels)]
    )
    assume(held.any(axis=1).all())
    return held


def solved(held, rate):
    cases = [str(i) for i in range(held.shape[1])]
    holders = {str(i): [cases[j] for j in np.flatnonzero(of)] for i, of in enumerate(held)}
    return balanced(cases, holders, rate).probabilities


@given(held_labels())
def test_every_label_has_the_chosen_rate(held):
    p = solved(held, None)
    assert (p > 0).all() and p.sum() == pytest.approx(1, abs=1e-12)
    assert all(p[of].sum() >= min(1 / 3, 0.9 / len(held)) - 1e-8 for of in held)


@given(held_labels(), st.floats(0.05, 0.95))
def test_a_rate_below_the_largest_can_be_had(held, part):
    rate = part * largest_rate(held)
    p = solved(held, rate)
    assert all(p[of].sum() >= rate - 1e-8 for of in held)


@given(held_labels(), st.floats(0.05, 0.95))
def test_no_other_probabilities_with_the_rate_are_nearer_to_equal_ones(held, part):
    from scipy.optimize import minimize

    n = held.shape[1]
    rate = part * largest_rate(held)
    other = minimize(
        lambda p: np.sum(p * np.log(np.maximum(p, 1e-300) * n)),
        np.full(n, 1 / n),
        method="SLSQP",
        bounds=[(1e-12, 1)] * n,
        constraints=[
            {"type": "eq", "fun": lambda p: p.sum() - 1},
            {"type": "ineq", "fun": lambda p: held @ p - rate},
        ],
    )
    p = solved(held, rate)
    assert np.sum(p * np.log(p * n)) <= other.fun + 1e-5


def test_every_rank_stream_and_number_has_a_seed_of_its_own_that_stays():
    seeds = {
        key: seed_of(*key) for key in itertools.product((0, 7, 2**32 - 1), (0, 1, 5), SeedStream, range(40))
    }
    assert len(set(seeds.values())) == len(seeds)
    assert all(0 <= seed < 2**32 for seed in seeds.values())
    assert seed_of(7, 0, SeedStream.TRAINING, 3) == 4051459096
