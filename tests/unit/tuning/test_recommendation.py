from types import SimpleNamespace

import numpy as np

from nnunet_ext.metrics.objective import Objective
from nnunet_ext.nnunet.subjects import Units
from nnunet_ext.tuning.recommendation import SMALLEST_DIFFERENCE, rate, recommend, split_subjects

DICE = np.linspace(0.6, 0.9, 12)


def counts(dice):
    """One label of 100000 voxels a case."""
    common = np.round(np.asarray(dice) * 100_000)
    return np.stack([np.full(len(dice), 100_000), np.full(len(dice), 100_000), common], axis=-1)[
        :, None
    ].astype(int)


def chosen(*dice, complexities=(0, 1), eligible=None):
    able = eligible or [True] * len(dice)
    return recommend(rate([counts(d) for d in dice], Objective(), able), complexities, able)


def test_the_simplest_of_those_as_good_as_the_best_is_taken():
    noise = np.tile([0.03, -0.02], 6)
    assert chosen(DICE, DICE + noise) == 0


def test_a_small_gain_in_every_case_is_taken_although_the_cases_differ_by_far_more():
    assert chosen(DICE, DICE + 0.005) == 1


def test_a_gain_too_small_to_matter_is_not():
    assert chosen(DICE, DICE + 0.9 * SMALLEST_DIFFERENCE) == 0


def test_what_may_not_be_recommended_is_not_and_does_not_set_the_standard():
    assert chosen(DICE, DICE + 0.05, eligible=[True, False]) == 0
    rated = rate([counts(DICE), counts(DICE + 0.05)], Objective(), [True, False])
    assert rated[0].behind_best == 0


def test_of_equally_simple_ones_the_best_is_taken():
    assert chosen(DICE - 0.01, DICE, DICE + 0.0005, complexities=(0, 0, 1)) == 1


def test_nothing_worse_than_the_best_of_the_simplest_is_taken():
    wild = np.where(np.arange(12) % 2, 0.99, 0.4)
    assert chosen(DICE - 0.02, DICE, wild, DICE + 0.02, complexities=(0, 0, 1, 2)) == 3


def tuning(units, folds):
    return SimpleNamespace(units=units, validation=SimpleNamespace(folds=folds))


def test_subjects_whose_cases_are_in_several_folds_are_named():
    folds = ("fold 0", "fold 1", "fold 1", "fold 1")
    assert split_subjects(tuning(Units(("p1", "p1", "p2", "p2"), True), folds)) == ["p1"]
    assert split_subjects(tuning(Units(("a", "b", "c", "d")), folds)) == []
