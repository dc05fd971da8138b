"""Where a new data set goes, and what is never overwritten."""

import json

import pytest
from factories import write_dataset_json

from nnunet_ext.errors import DatasetError, UsageError
from nnunet_ext.roi.dataset import (
    BOXES,
    check_target,
    read_raw,
    settings_of_model,
    target_folder,
    values_of_region,
)

SOURCE = "Dataset003_Liver"


@pytest.fixture
def environment(tmp_path):
    for name in ("raw", "preprocessed", "results"):
        (tmp_path / name).mkdir()
    return {f"nnUNet_{name}": str(tmp_path / name) for name in ("raw", "preprocessed", "results")}


def test_a_number_takes_the_name_of_the_old_data_set(tmp_path, environment):
    target = target_folder("103", tmp_path / SOURCE, "ROI", environment)
    assert target == tmp_path / "raw" / "Dataset103_LiverROI"


def test_a_name_goes_below_raw_and_a_folder_anywhere(tmp_path, environment):
    named = target_folder("Dataset103_Box", tmp_path / SOURCE, "ROI", environment)
    assert named == tmp_path / "raw" / "Dataset103_Box"
    assert target_folder(str(tmp_path / "x"), tmp_path / SOURCE, "ROI", {}) == tmp_path / "x"


@pytest.mark.parametrize("base", ["raw", "preprocessed", "results"])
def test_a_number_that_another_data_set_has_is_refused(tmp_path, environment, base):
    (tmp_path / base / "Dataset103_Spleen").mkdir()
    with pytest.raises(UsageError, match="Dataset103_Spleen has that number"):
        target_folder("103", tmp_path / SOURCE, "ROI", environment)


def test_a_number_needs_the_folder_of_raw_data(tmp_path):
    with pytest.raises(UsageError, match="nnUNet_raw is not set"):
        target_folder("103", tmp_path / SOURCE, "ROI", {})
    with pytest.raises(UsageError, match="three digits"):
        target_folder("1003", tmp_path / SOURCE, "ROI", {})


def test_what_others_wrote_is_never_overwritten(tmp_path):
    (tmp_path / "notes.txt").write_text("mine", encoding="utf-8")
    with pytest.raises(UsageError, match="not written by this command"):
        check_target(tmp_path, {"margin_mm": 20})


def test_an_earlier_run_of_the_same_settings_goes_on_and_another_is_refused(tmp_path):
    record = {"settings": {"margin_mm": 20.0}, "cases": {"a": {}}}
    (tmp_path / BOXES).write_text(json.dumps(record), encoding="utf-8")
    assert check_target(tmp_path, {"margin_mm": 20.0}) == {"a": {}}
    with pytest.raises(UsageError, match=r"margin_mm: 20\.0 there, 5\.0 now"):
        check_target(tmp_path, {"margin_mm": 5.0})


def test_an_empty_folder_can_be_written_to(tmp_path):
    assert check_target(tmp_path, {}) == {}
    assert check_target(tmp_path / "new", {}) == {}


def test_a_data_set_that_lists_files_elsewhere_is_refused(tmp_path):
    path = write_dataset_json(tmp_path)
    content = json.loads(path.read_text(encoding="utf-8")) | {"dataset": {"a": {"images": ["x"]}}}
    path.write_text(json.dumps(content), encoding="utf-8")
    with pytest.raises(UsageError, match="lie elsewhere"):
        read_raw(tmp_path)


def test_a_model_tells_the_margin_of_its_data_set(tmp_path):
    path = write_dataset_json(tmp_path)
    assert settings_of_model(tmp_path) is None
    content = json.loads(path.read_text(encoding="utf-8"))
    path.write_text(json.dumps(content | {"roi": {"margin_mm": 12.5, "whole": False}}), encoding="utf-8")
    assert settings_of_model(tmp_path).margin_mm == 12.5
    path.write_text(json.dumps(content | {"roi": {"margin_mm": 12.5, "whole": True}}), encoding="utf-8")
    assert settings_of_model(tmp_path) is None
    path.write_text(json.dumps(content | {"roi": ["?"]}), encoding="utf-8")
    with pytest.raises(DatasetError, match="no readable entry 'roi'"):
        settings_of_model(tmp_path)


def test_the_region_is_of_the_labels_that_are_named():
    covered = {"liver": (1,), "tumour": (2,), "both": (1, 2)}
    assert values_of_region(covered, ()) == (1, 2)
    assert values_of_region(covered, ("tumour",)) == (2,)
    with pytest.raises(UsageError, match="tumor: the labels are liver"):
        values_of_region(covered, ("tumor",))
