"""nnU-Net's splits_final.json, read strictly and where it may be missing."""

import json

import pytest

from nnunet_ext.errors import DatasetError, UsageError
from nnunet_ext.nnunet.splits import SPLITS, read_splits, read_splits_if_whole

FOLDS = [{"train": ["a"], "val": ["b"]}, {"train": ["b"], "val": ["a"]}]


def test_folds_are_read_as_they_stand(tmp_path):
    (tmp_path / SPLITS).write_text(json.dumps(FOLDS), encoding="utf-8")
    assert read_splits(tmp_path / SPLITS) == read_splits_if_whole(tmp_path / SPLITS) == FOLDS


@pytest.mark.parametrize("text", ["{}", "[1]", '[{"train": ["a"]}]', '[{"train": "a", "val": ["b"]}]', "[{"])
def test_what_is_no_list_of_folds_is_damage_or_counts_as_none(tmp_path, text):
    (tmp_path / SPLITS).write_text(text, encoding="utf-8")
    with pytest.raises(DatasetError, match="is no list of folds"):
        read_splits(tmp_path / SPLITS)
    assert read_splits_if_whole(tmp_path / SPLITS) == []


def test_missing_splits_are_wrong_usage_or_count_as_none(tmp_path):
    with pytest.raises(UsageError, match="does not exist"):
        read_splits(tmp_path / SPLITS)
    assert read_splits_if_whole(tmp_path / SPLITS) == []
