import numpy as np
import pytest
from factories import labels, region_labels

from nnunet_ext.errors import GeometryMismatch, SegmentationError
from nnunet_ext.metrics.dice import Overlap
from nnunet_ext.metrics.overlap import case_dice, check_values, joint_histogram, label_counts, without_ignored

PREDICTION = np.array([[0, 1, 1, 2], [3, 3, 0, 1]], np.uint8)
REFERENCE = np.array([[0, 1, 2, 2], [3, 0, 0, 0]], np.uint8)


def test_pairs_of_values_are_counted_prediction_down_reference_to_the_right():
    joint = joint_histogram(PREDICTION, REFERENCE, 4)
    assert joint.tolist() == [[2, 0, 0, 0], [1, 1, 1, 0], [0, 0, 1, 0], [1, 0, 0, 1]]


def test_the_blocks_of_a_large_volume_add_up():
    rng = np.random.default_rng(0)
    prediction, reference = rng.integers(0, 9, (2, 50, 90, 101), np.uint8)
    joint = joint_histogram(prediction, reference)
    expected = [[np.sum((prediction == i) & (reference == j)) for j in range(9)] for i in range(9)]
    np.testing.assert_array_equal(joint, expected)


def test_types_of_prediction_and_reference_may_differ_and_labels_be_many():
    prediction, reference = np.array([300, 0], np.int64), np.array([300, 300], np.uint16)
    assert joint_histogram(prediction, reference)[300, 300] == 1


def test_labels_that_are_negative_or_absurd_are_refused():
    for value in (-1, 60000):
        with pytest.raises(SegmentationError, match=str(value)):
            joint_histogram(np.array([value]), np.array([0]))


def test_shapes_must_agree():
    with pytest.raises(GeometryMismatch, match=r"\(4,\).*\(2,\)"):
        joint_histogram(np.zeros(4, int), np.zeros(2, int))


def test_counts_are_of_reference_prediction_and_both():
    found = case_dice(PREDICTION, REFERENCE, labels())
    assert tuple(found.values()) == (Overlap(1, 3, 1), Overlap(2, 1, 1), Overlap(1, 2, 1))


def test_a_region_counts_all_its_parts():
    whole, core, enhancing = case_dice(PREDICTION, REFERENCE, region_labels()).values()
    assert whole == Overlap(4, 6, 4)
    assert core == Overlap(3, 3, 2)
    assert enhancing == Overlap(1, 2, 1)


def test_voxels_that_the_reference_leaves_open_do_not_count():
    reference = REFERENCE.copy()
    reference[0, 1:3] = 4
    joint = without_ignored(joint_histogram(PREDICTION, reference, 4), 4)
    assert joint.sum() == 6
    assert label_counts(joint, labels())[0].tolist() == [0, 1, 0]


def test_measures_of_a_label():
    one = Overlap(n_reference=4, n_predicted=6, n_common=3)
    assert one.dice == pytest.approx(0.6)
    assert one.iou == pytest.approx(3 / 7)
    assert one.volumetric_similarity == pytest.approx(0.8)


def test_a_label_that_the_reference_lacks_has_no_measure():
    alarm = Overlap(n_reference=0, n_predicted=5, n_common=0)
    assert (alarm.dice, alarm.iou, alarm.volumetric_similarity) == (None, None, None)
    assert alarm.is_false_alarm


def test_of_many_values_that_are_no_label_the_first_few_are_told():
    with pytest.raises(SegmentationError, match=r"8 \(1 voxels\) and 11 more values; labels of this"):
        check_values(np.ones(20, np.int64), labels())


def test_the_file_that_holds_an_absurd_value_is_told():
    with pytest.raises(SegmentationError, match="the reference holds 65535"):
        joint_histogram(np.array([0]), np.array([65535]))
