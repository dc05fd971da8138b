"""nnU-Net's JSON files are checked between reading and use."""

import json
import math

import pytest

from nnunet_ext.nnunet.forms import (
    check_dataset_form,
    read_dataset_form,
    read_plans_form,
    read_splits_form,
    read_summary_form,
)

DATASET = {
    "labels": {"background": 0, "liver": [1, 2], "tumour": 2, "ignore": 3},
    "regions_class_order": [1, 2],
    "channel_names": {"0": "CT"},
    "file_ending": ".nii.gz",
    "numTraining": 5,
}


def changed(content, **entries):
    return {**content, **entries}


def test_a_whole_dataset_json_is_given_as_it_is(tmp_path):
    path = tmp_path / "dataset.json"
    path.write_text(json.dumps(changed(DATASET, reference="somebody's")), encoding="utf-8")
    assert read_dataset_form(path)["reference"] == "somebody's"


@pytest.mark.parametrize(
    ("entries", "fault"),
    [
        ({"labels": []}, "labels"),
        ({"labels": {"background": "0"}}, "labels.background.*a number is needed; found"),
        ({"labels": {"background": math.nan}}, "labels.background"),
        ({"labels": {"background": 0, "a": 1.5}}, "labels.a"),
        ({"labels": {"background": 0, "a": True}}, "labels.a"),
        ({"labels": {"background": 0, "a": []}}, "labels.a"),
        ({"labels": {"background": 0, "a": 10**30}}, "labels.a"),
        ({"labels": {"background": 0, "a": {"b": 1}}}, "labels.a"),
        ({"file_ending": None}, "file_ending"),
        ({"file_ending": ""}, "file_ending"),
        ({"file_ending": "/../../x.nii.gz"}, "file_ending"),
        ({"file_ending": ".nii\0"}, "file_ending"),
        ({"regions_class_order": "12"}, "regions_class_order"),
        ({"channel_names": ["CT"]}, "channel_names"),
        ({"overwrite_image_reader_writer": 3}, "overwrite_image_reader_writer"),
    ],
)
def test_wrong_entries_of_a_dataset_json_are_named(entries, fault):
    with pytest.raises(ValueError, match=fault):
        check_dataset_form(changed(DATASET, **entries))


def test_labels_of_nnunet_v1_are_told_to_be_the_wrong_way_round():
    labels = {"0": "background", "1": "liver"}
    with pytest.raises(ValueError, match='write "background": 0 instead of "0": "background"'):
        check_dataset_form(changed(DATASET, labels=labels))


@pytest.mark.parametrize("content", [None, 3, "text", [], {"labels": None}])
def test_what_is_no_dataset_json_at_all_is_told(content):
    with pytest.raises(ValueError, match=r"labels|file|dictionary|object"):
        check_dataset_form(content)


PLANS = {"plans_name": "nnUNetPlans", "configurations": {"2d": {"patch_size": [64, 64], "batch_size": 2}}}


@pytest.mark.parametrize(
    ("content", "fault"),
    [
        (changed(PLANS, configurations=[]), "configurations"),
        (changed(PLANS, configurations={"2d": 3}), "configurations.2d"),
        (changed(PLANS, configurations={"../2d": {}}), "plain name"),
        (changed(PLANS, plans_name=["a"]), "plans_name"),
        (changed(PLANS, configurations={"2d": {"patch_size": "64"}}), "patch_size"),
        (changed(PLANS, configurations={"2d": {"patch_size": [64, math.nan]}}), "patch_size"),
        (changed(PLANS, configurations={"2d": {"patch_size": [64, 0]}}), "patch_size.1"),
        (changed(PLANS, configurations={"2d": {"batch_size": "2"}}), "batch_size"),
        (changed(PLANS, configurations={"2d": {"inherits_from": 2}}), "inherits_from"),
        (changed(PLANS, configurations={"2d": {"architecture": {"arch_kwargs": []}}}), "architecture"),
        (changed(PLANS, configurations={"2d": {"data_identifier": "a/b"}}), "data_identifier"),
    ],
)
def test_wrong_entries_of_plans_are_named(tmp_path, content, fault):
    path = tmp_path / "nnUNetPlans.json"
    path.write_text(json.dumps(PLANS), encoding="utf-8")
    assert read_plans_form(path) == PLANS
    path.write_text(json.dumps(content), encoding="utf-8")
    with pytest.raises(ValueError, match=fault):
        read_plans_form(path)


@pytest.mark.parametrize("content", [{}, [3], [{"train": ["a"]}], [{"train": [1], "val": []}], None])
def test_what_is_no_split_is_told(tmp_path, content):
    path = tmp_path / "splits_final.json"
    path.write_text(json.dumps([{"train": ["a"], "val": ["b"]}]), encoding="utf-8")
    assert read_splits_form(path) == [{"train": ["a"], "val": ["b"]}]
    path.write_text(json.dumps(content), encoding="utf-8")
    with pytest.raises(ValueError, match=r"train|val|list|object|dictionary"):
        read_splits_form(path)


def summary(**counts):
    metrics = {"1": {"n_ref": 4, "n_pred": 4, "TP": 2, "Dice": math.nan, **counts}}
    return {"metric_per_case": [{"prediction_file": "a.nii.gz", "metrics": metrics}], "mean": {}}


@pytest.mark.parametrize(
    ("counts", "fault"),
    [
        ({"n_ref": "4"}, "n_ref"),
        ({"n_ref": math.nan}, "n_ref"),
        ({"TP": -1}, "TP"),
        ({"TP": 5}, "TP is 5, more than n_ref 4"),
        ({"n_pred": 3.5}, "n_pred"),
        ({"n_pred": None}, "n_pred"),
    ],
)
def test_counts_that_cannot_be_are_told(tmp_path, counts, fault):
    path = tmp_path / "summary.json"
    path.write_text(json.dumps(summary()), encoding="utf-8")
    assert read_summary_form(path).metric_per_case[0].metrics["1"].TP == 2
    path.write_text(json.dumps(summary(**counts)), encoding="utf-8")
    with pytest.raises(ValueError, match=fault):
        read_summary_form(path)
