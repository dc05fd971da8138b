"""nnU-Net's plans files and what configurations inherit."""

import json

import pytest

from nnunet_ext.errors import DatasetError, UsageError
from nnunet_ext.nnunet.plans import (
    Plans,
    configuration_differences,
    read_plans,
    read_plans_if_there,
    with_inherited,
)

CONFIGURATIONS = {
    "a": {"batch_size": 2, "spacing": [1.0, 1.0]},
    "b": {"inherits_from": "a", "batch_size": 4},
    "c": {"inherits_from": "b", "patch_size": [8, 8]},
    "lost": {"inherits_from": "none", "batch_size": 1},
    "loop": {"inherits_from": "pool", "batch_size": 1},
    "pool": {"inherits_from": "loop", "spacing": [2.0, 2.0]},
}


def plans_in(tmp_path):
    path = tmp_path / "nnUNetPlans.json"
    path.write_text(json.dumps({"configurations": CONFIGURATIONS}), encoding="utf-8")
    return path


def test_the_nearest_configuration_wins_and_both_readings_agree(tmp_path):
    plans = read_plans(plans_in(tmp_path))
    assert plans.resolve("c") == with_inherited(CONFIGURATIONS, "c")
    assert plans.resolve("c") | {"inherits_from": ""} == {
        "batch_size": 4, "spacing": [1.0, 1.0], "patch_size": [8, 8], "inherits_from": "",
    }  # fmt: skip


@pytest.mark.parametrize(("name", "fault"), [("lost", "'none', which is not there"), ("loop", "in a circle")])
def test_a_missing_parent_or_a_circle_is_refused_or_ends_the_inheritance(tmp_path, name, fault):
    with pytest.raises(UsageError, match=fault):
        read_plans(plans_in(tmp_path)).resolve(name)
    assert with_inherited(CONFIGURATIONS, name)["batch_size"] == 1


def test_differences_name_nested_keys_by_dots_and_what_one_lacks(tmp_path):
    one, other = {"n": {"x": 1, "y": 2}, "z": 0}, {"n": {"x": 1, "y": 3}}
    assert configuration_differences(one, other) == [("n.y", "2", "3"), ("z", "0", "-")]


def test_missing_plans_are_wrong_usage_or_none_and_damaged_ones_an_error(tmp_path):
    assert read_plans_if_there(tmp_path / "none.json") is None
    with pytest.raises(UsageError, match="plans there: nnUNetPlans"):
        read_plans(plans_in(tmp_path).with_name("none.json"))
    (tmp_path / "odd.json").write_text("{}", encoding="utf-8")
    with pytest.raises(DatasetError, match=r"holds no plans.*Mend it"):
        read_plans_if_there(tmp_path / "odd.json")


def test_a_copied_plans_file_is_warned_of(tmp_path):
    plans = Plans(tmp_path / "Copy.json", {"plans_name": "nnUNetPlans", "configurations": {}})
    assert (plans.name, plans.stated_name) == ("Copy", "nnUNetPlans")
    assert "Set plans_name to Copy" in plans.about_name
    assert Plans(tmp_path / "nnUNetPlans.json", plans.content).about_name == ""
