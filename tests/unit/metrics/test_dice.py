import numpy as np
import pytest

from nnunet_ext.errors import GeometryMismatch
from nnunet_ext.metrics.dice import DiceSummary, Overlap, mean_over_labels, summarize
from nnunet_ext.metrics.overlap import case_dice
from nnunet_ext.nnunet.dataset_json import labels_of

LABELS = labels_of({"labels": {"background": 0, "liver": 1, "tumour": 2}})


def test_dice_is_twice_the_common_voxels_over_both():
    found = case_dice(np.array([1, 1, 2, 0]), np.array([1, 0, 2, 2]), LABELS)
    assert found["liver"] == Overlap(n_reference=1, n_predicted=2, n_common=1)
    assert found["liver"].dice == pytest.approx(2 / 3)
    assert found["tumour"].dice == pytest.approx(2 / 3)
    assert list(found) == ["liver", "tumour"]


def test_a_label_that_is_missed_has_dice_0():
    assert case_dice(np.array([0, 0]), np.array([1, 0]), LABELS)["liver"].dice == 0


def test_a_label_absent_from_the_reference_has_no_dice():
    absent = case_dice(np.array([0, 1]), np.array([0, 1]), LABELS)["tumour"]
    assert absent.dice is None
    assert not absent.is_false_alarm


def test_a_label_predicted_where_there_is_none_is_a_false_alarm_without_a_dice():
    alarm = case_dice(np.array([2, 1]), np.array([0, 1]), LABELS)["tumour"]
    assert alarm.dice is None
    assert alarm.is_false_alarm


def test_a_region_counts_all_its_parts():
    regions = labels_of(
        {"labels": {"background": 0, "whole": [1, 2], "core": 2}, "regions_class_order": [1, 2]}
    )
    found = case_dice(np.array([1, 2, 0]), np.array([2, 2, 0]), regions)
    assert found["whole"].dice == 1
    assert found["core"].dice == pytest.approx(2 / 3)


def test_shapes_must_agree():
    with pytest.raises(GeometryMismatch, match=r"\(2,\).*\(3,\)"):
        case_dice(np.zeros(2, int), np.zeros(3, int), LABELS)


def test_the_mean_is_over_the_cases_that_hold_the_label():
    cases = [{"tumour": Overlap(2, 2, 1)}, {"tumour": Overlap(0, 5, 0)}, {"tumour": Overlap(2, 2, 2)}]
    assert summarize(cases) == {"tumour": DiceSummary(mean=0.75, n_cases=3, n_holding=2, n_false_alarms=1)}


def test_a_label_that_no_case_holds_has_no_mean():
    summary = summarize([{"tumour": Overlap(0, 0, 0)}])
    assert summary["tumour"].mean is None
    assert mean_over_labels(summary) is None


def test_labels_without_a_mean_do_not_count_in_the_mean_of_labels():
    summaries = summarize([{"liver": Overlap(1, 1, 1), "tumour": Overlap(0, 0, 0)}])
    assert mean_over_labels(summaries) == 1


def test_no_cases_no_labels():
    assert summarize([]) == {}
