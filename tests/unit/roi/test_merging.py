"""Labels that become one: consecutive values, in the order of their parts."""

import numpy as np
import pytest
from factories import REGION_ORDER, REGIONS

from nnunet_ext.errors import SegmentationError, UsageError
from nnunet_ext.nnunet.dataset_json import Dataset, labels_of
from nnunet_ext.roi.merging import merge_labels, parse_merges

LIVER = {"background": 0, "spleen": 1, "liver": 2, "tumour": 3, "vessel": 4}


def merged(merges, entries=LIVER, order=None, ignore=None):
    content = {"labels": entries, "regions_class_order": order}
    return merge_labels(Dataset(labels_of(content), ".nii.gz", ignore), merges, entries)


def test_merged_labels_are_consecutive_and_the_others_keep_their_order():
    result = merged({"liver": ("liver", "tumour")})
    assert result.labels == {"background": 0, "spleen": 1, "liver": 2, "vessel": 3}
    assert result.values == {0: 0, 1: 1, 2: 2, 3: 2, 4: 3}


def test_a_new_label_stands_where_its_lowest_part_stood():
    result = merged({"all": ("vessel", "spleen")})
    assert result.labels == {"background": 0, "all": 1, "liver": 2, "tumour": 3}


def test_without_merges_nothing_changes():
    result = merged({})
    assert result.labels == LIVER
    assert result.is_identity


def test_ignore_stays_the_last():
    entries = {**LIVER, "ignore": 5}
    result = merged({"organ": ("liver", "spleen", "tumour")}, entries, ignore=5)
    assert result.labels == {"background": 0, "organ": 1, "vessel": 2, "ignore": 3}
    assert result.values[5] == 3


def test_segmentations_get_the_new_values():
    result = merged({"liver": ("liver", "tumour")})
    array = np.array([[0, 1, 2], [3, 4, 3]], np.int16)
    np.testing.assert_array_equal(result.apply(array, "x"), [[0, 1, 2], [2, 3, 2]])
    assert result.apply(array, "x").dtype == np.uint8


def test_a_value_that_is_no_label_is_named():
    for value in (9, -1):
        with pytest.raises(SegmentationError, match=rf"case_1 holds \[{value}\]"):
            merged({}).apply(np.array([0, value]), "case_1")


def test_the_values_of_regions_are_all_known():
    result = merged({}, REGIONS, REGION_ORDER)
    np.testing.assert_array_equal(result.apply(np.array([0, 1, 2, 3]), "x"), [0, 1, 2, 3])


@pytest.mark.parametrize(
    ("merges", "message"),
    [
        ({"liver": ("liver", "tumor")}, "no label tumor"),
        ({"spleen": ("liver", "tumour")}, "spleen is taken"),
        ({"background": ("liver", "tumour")}, "background is taken"),
    ],
)
def test_impossible_merges_are_refused(merges, message):
    with pytest.raises(UsageError, match=message):
        merged(merges)


def test_regions_cannot_be_merged():
    with pytest.raises(UsageError, match="of regions"):
        merged({"a": ("whole", "core")}, REGIONS, REGION_ORDER)


def test_merges_are_read_as_they_are_typed():
    assert parse_merges(["liver=liver, tumour", "rest=spleen"]) == {
        "liver": ("liver", "tumour"),
        "rest": ("spleen",),
    }


@pytest.mark.parametrize(
    ("texts", "message"),
    [
        (["liver"], "is not NEW=A,B"),
        (["=a,b"], "is not NEW=A,B"),
        (["liver="], "is not NEW=A,B"),
        (["a=x", "a=y"], "twice"),
        (["a=x,y", "b=y,z"], "y cannot be part of two"),
    ],
)
def test_what_is_no_merge_is_refused(texts, message):
    with pytest.raises(UsageError, match=message):
        parse_merges(texts)
