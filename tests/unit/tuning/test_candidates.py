from dataclasses import replace

import numpy as np
import pytest
from factories import labels

from nnunet_ext.metrics.objective import Objective
from nnunet_ext.tuning.candidates import equal_weights, fit_label_weights, fit_member_weights
from nnunet_ext.tuning.scoring import ScoredCase, Scorer

KNOWN = labels({"background": 0, "a": 1, "b": 2})
ROWS = np.arange(2)


def case(right_about_a, right_about_b, n_voxels=6):
    """Two members, of which one is right about each label's voxels, and both weakly so."""
    reference = np.array([1, 2] * (n_voxels // 2))
    values = np.zeros((3, 2, n_voxels), np.float32)
    for voxel, label in enumerate(reference):
        right = right_about_a if label == 1 else right_about_b
        values[label, right, voxel] = 0.8
        values[0, 1 - right, voxel] = 0.9
    values[0] += 0.01
    return ScoredCase(
        case_id="x",
        members=(0, 1),
        shares=(1.0, 1.0),
        values=values,
        reference=reference,
        settled=np.zeros((3, 3), np.int64),
    )


def test_all_weight_goes_to_a_member_that_is_right_about_everything():
    scorer = Scorer([case(1, 1), case(1, 1)], KNOWN)
    weights = fit_member_weights(scorer, Objective(), ROWS, 2)
    assert weights[1].min() > 0.5
    assert Objective().score(scorer.counts(weights)) == 1


def test_a_label_goes_to_the_member_that_is_right_about_it():
    scorer = Scorer([case(0, 1), case(0, 1)], KNOWN)
    weights = fit_label_weights(scorer, Objective(), ROWS, equal_weights(2, 3), (1, 2))
    assert weights[0, 1] > weights[1, 1]
    assert weights[1, 2] > weights[0, 2]
    assert Objective().score(scorer.counts(weights)) > Objective().score(scorer.counts(equal_weights(2, 3)))
    assert weights.sum(axis=0) == pytest.approx(1)


def test_labels_that_may_not_change_keep_their_weights():
    scorer = Scorer([case(0, 1), case(0, 1)], KNOWN)
    start = np.array([[0.3, 0.6, 0.1], [0.7, 0.4, 0.9]])
    weights = fit_label_weights(scorer, Objective(), ROWS, start, (0, 1))
    np.testing.assert_array_equal(weights[:, 2], start[:, 2])


def test_cases_that_do_not_count_change_nothing():
    fitted = [
        fit_label_weights(
            Scorer([case(0, 1), case(0, 1), other], KNOWN), Objective(), ROWS, equal_weights(2, 3), (0, 1, 2)
        )
        for other in (case(1, 0), case(0, 1))
    ]
    np.testing.assert_array_equal(*fitted)


def test_a_thinned_case_counts_each_voxel_for_those_left_out():
    whole = case(0, 1, n_voxels=12)
    thin = whole.thinned(4)
    assert thin.values.shape == (3, 2, 4)
    counts = Scorer([thin], KNOWN).counts(equal_weights(2, 3))
    assert counts[..., 0].sum() == 12
    assert whole.thinned(12) is whole


def test_cases_with_other_sources_are_scored_together():
    one = case(1, 1)
    folds = replace(
        one, case_id="y", members=(0, 0, 1), shares=(0.5, 0.5, 1.0), values=one.values[:, [0, 0, 1]]
    )
    scorer = Scorer([case(1, 1), folds], KNOWN)
    weights = np.array([[0.2, 0.2, 0.2], [0.8, 0.8, 0.8]])
    counts = scorer.counts(weights)
    np.testing.assert_array_equal(counts[0], counts[1])
    np.testing.assert_array_equal(scorer.decided(1, weights), scorer.decided(0, weights))
