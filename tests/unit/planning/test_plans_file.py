import json

import pytest

from nnunet_ext.errors import DatasetError, UsageError
from nnunet_ext.planning.plans_file import check_plans_name, read_plans_if_there, set_aside

PLANNER = "UNetPlusPlusPlanner"


def write(path, planner):
    path.write_text(json.dumps({"configurations": {}, "experiment_planner_used": planner}), encoding="utf-8")
    return path


@pytest.mark.parametrize("name", ["", "a/b", "..", "a__b", "a b", "-p"])
def test_a_name_that_cannot_be_part_of_a_folders_name_is_refused(tmp_path, name):
    with pytest.raises(UsageError, match="cannot name plans"):
        check_plans_name(tmp_path, name, PLANNER)


def test_plans_of_another_planner_are_not_overwritten(tmp_path):
    write(tmp_path / "Big.json", "nnUNetPlannerResEncL")
    with pytest.raises(UsageError, match="Big are the plans of nnUNetPlannerResEncL"):
        check_plans_name(tmp_path, "Big", PLANNER)
    with pytest.raises(UsageError, match="nnU-Net's own planner"):
        check_plans_name(tmp_path, "nnUNetPlans", PLANNER)
    write(tmp_path / "nnUNetPlans.json", PLANNER)
    with pytest.raises(UsageError, match="would overwrite them"):
        check_plans_name(tmp_path, "nnUNetPlans", PLANNER)


def test_a_free_name_and_the_planners_own_plans_are_allowed(tmp_path):
    check_plans_name(tmp_path, "My_24-GB.Plans", PLANNER)
    write(tmp_path / "Mine.json", PLANNER)
    check_plans_name(tmp_path, "Mine", PLANNER)


@pytest.mark.parametrize("content", ["{", "[]", '{"spacing": 1}', '{"configurations": []}'])
def test_damaged_plans_are_told(tmp_path, content):
    path = tmp_path / "Mine.json"
    path.write_text(content, encoding="utf-8")
    with pytest.raises(DatasetError, match=r"Mine\.json"):
        read_plans_if_there(path)


def test_plans_that_are_not_there_are_none(tmp_path):
    assert read_plans_if_there(tmp_path / "none.json") is None
    assert set_aside(tmp_path / "none.json") is None


def test_plans_set_aside_take_the_next_free_name(tmp_path):
    path = tmp_path / "Mine.json"
    for content in ("first", "second"):
        path.write_text(content, encoding="utf-8")
        set_aside(path)
    assert (tmp_path / "Mine_old1.json").read_text(encoding="utf-8") == "first"
    assert (tmp_path / "Mine_old2.json").read_text(encoding="utf-8") == "second"
    assert path.exists()
