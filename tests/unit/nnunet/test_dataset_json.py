import json

import pytest
from factories import REGION_ORDER, REGIONS, labels, region_labels, write_dataset_json

from nnunet_ext.errors import DatasetError
from nnunet_ext.nnunet.dataset_json import read_dataset


def test_channels_follow_the_values_not_the_order_of_writing():
    found = labels({"b": 2, "background": 0, "a": 1})
    assert found.names == ("background", "a", "b")
    assert found.values == (0, 1, 2)
    assert not found.is_regions


def test_the_ignore_label_is_no_channel():
    assert labels({"background": 0, "a": 1, "ignore": 2}).names == ("background", "a")


def test_regions_have_no_background_channel_and_paint_in_class_order():
    found = region_labels()
    assert found.names == ("whole", "core", "enhancing")
    assert found.values == (1, 2, 3)
    assert found.covered == ((1, 2, 3), (2, 3), (3,))
    assert found.segmentation_values == {0, 1, 2, 3}


@pytest.mark.parametrize(("key", "channel"), [("a", 1), (1, 1), ("1", 1), ("z", None), (7, None)])
def test_a_label_is_found_by_name_or_value(key, channel):
    assert labels({"background": 0, "a": 1, "b": 2}).find(key) == channel


def test_a_name_that_looks_like_a_number_wins_over_the_value():
    assert labels({"background": 0, "2": 1, "b": 2}).find("2") == 1


@pytest.mark.parametrize(
    ("entries", "order", "part"),
    [
        ({"background": 0, "a": 2}, None, r"\[0, 2\]"),
        ({"background": 1, "a": 0}, None, "background"),
        ({"a": 1}, None, "background"),
        (REGIONS, None, "regions_class_order"),
        (REGIONS, [1, 2], "regions_class_order"),
    ],
)
def test_labels_that_nnunet_refuses_are_refused_with_the_values(entries, order, part):
    with pytest.raises(DatasetError, match=part):
        labels(entries, order)


def test_read_dataset_names_the_file_and_what_is_missing(tmp_path):
    with pytest.raises(DatasetError, match="does not exist"):
        read_dataset(tmp_path / "dataset.json")
    path = write_dataset_json(tmp_path, REGIONS, REGION_ORDER)
    assert read_dataset(path).labels.is_regions
    content = json.loads(path.read_text(encoding="utf-8"))
    del content["file_ending"]
    path.write_text(json.dumps(content), encoding="utf-8")
    with pytest.raises(DatasetError, match="file_ending"):
        read_dataset(path)
    path.write_text("{", encoding="utf-8")
    with pytest.raises(DatasetError, match="cannot be read as JSON"):
        read_dataset(path)
