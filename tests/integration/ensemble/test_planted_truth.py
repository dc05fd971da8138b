"""Planted truth: weights are found where there is something to find, and not in noise."""

import numpy as np
import planted
import pytest
from factories import labels

from nnunet_ext.metrics.objective import Objective
from nnunet_ext.tuning.candidates import (
    EQUAL,
    LABEL_WEIGHTS,
    MIN_POSITIVE,
    SINGLE,
    make_candidates,
)
from nnunet_ext.tuning.recommendation import rate, recommend
from nnunet_ext.tuning.scoring import Scorer

GOOD, POOR = 1.0, 3.0
OBJECTIVE = Objective()


def tuned(scorer, n_members):
    folds = [f"fold {case % 5}" for case in range(scorer.n_cases)]
    candidates = make_candidates(scorer, OBJECTIVE, folds, [f"m{m}" for m in range(n_members)])
    held_out = [one.held_out for one in candidates]
    rated = rate(held_out, OBJECTIVE, [True] * len(candidates))
    chosen = recommend(rated, [one.complexity for one in candidates], [True] * len(candidates))
    return candidates, rated, chosen


def test_each_label_goes_to_the_member_that_is_right_about_it():
    noises = [{1: GOOD, 2: GOOD, 3: POOR}, {1: POOR, 2: POOR, 3: GOOD}]
    scorer = planted.scorer(0, noises, labels())
    candidates, rated, chosen = tuned(scorer, 2)
    assert candidates[chosen].complexity == LABEL_WEIGHTS
    a, b = candidates[chosen].weights
    assert (a[1:3] > b[1:3]).all()
    assert b[3] > a[3]
    oracle = np.array([[0.5, 1, 1, 0], [0.5, 0, 0, 1]])
    assert rated[chosen].score > OBJECTIVE.score(scorer.counts(oracle)) - 0.002


@pytest.mark.parametrize("seed", range(20))
def test_noise_is_not_fitted(seed):
    noise = dict.fromkeys((1, 2, 3), (1.5, 2.0, 3.0)[seed % 3])
    candidates, _, chosen = tuned(
        planted.scorer(seed, [noise] * (2 + seed % 2), labels(), n_cases=12), 2 + seed % 2
    )
    assert candidates[chosen].complexity in (SINGLE, EQUAL)


def rare_scorer(seed, n_cases=40, n_holding=4):
    """The label 3 is in few cases, and the second member sees it in nearly all others, too."""
    rng = np.random.default_rng(seed)
    cases = []
    for number in range(n_cases):
        holds = number % (n_cases // n_holding) == 0
        truth = planted.reference(rng, (1, 2, 3) if holds else (1, 2))
        imagined = planted.reference(rng)
        imagined[(imagined != 3) | (truth != 0)] = 0
        members = [
            planted.probabilities(truth, rng, {1: 1.5, 2: 1.5, 3: 1.0}),
            planted.probabilities(np.maximum(truth, imagined), rng, {1: 1.4, 2: 1.4, 3: 1.0}),
        ]
        cases.append(planted.scored(str(number), members, truth, labels())[0])
    return Scorer(cases, labels())


def test_a_rare_label_that_one_member_imagines_costs_nothing():
    candidates, rated, chosen = tuned(rare_scorer(0), 2)
    singles = [one.score for one, c in zip(rated, candidates, strict=True) if c.complexity == SINGLE]
    assert rated[chosen].score >= max(singles)
    alarms = (candidates[1].held_out[:, 2, 0] == 0) & (candidates[1].held_out[:, 2, 1] > 0)
    assert alarms.sum() > 20  # the test is of what it says


def test_a_label_with_few_positive_cases_keeps_the_weights_per_member():
    candidates, _, _ = tuned(rare_scorer(1, n_cases=12, n_holding=MIN_POSITIVE - 1), 2)
    members, by_label = candidates[-2], candidates[-1]
    np.testing.assert_array_equal(by_label.weights[:, 3], members.weights[:, 3])


def test_a_case_is_scored_with_weights_that_have_not_seen_its_fold():
    noises = [{1: GOOD, 2: GOOD, 3: POOR}, {1: POOR, 2: POOR, 3: GOOD}]
    scorer = planted.scorer(3, noises, labels(), n_cases=10)
    candidates, _, _ = tuned(scorer, 2)
    one = candidates[-1]
    for case in range(10):
        own = scorer.counts(one.by_fold[f"fold {case % 5}"])[case]
        np.testing.assert_array_equal(one.held_out[case], own)


def test_a_single_member_is_the_only_candidate():
    candidates, _, chosen = tuned(planted.scorer(0, [{}], labels(), n_cases=4), 1)
    assert [one.name for one in candidates] == ["m0"]
    assert chosen == 0
