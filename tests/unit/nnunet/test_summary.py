"""nnU-Net's summary.json, written on any system."""

from pathlib import Path

import factories
import pytest
from training_logs import write_summary

from nnunet_ext.nnunet.summary import LabelCounts, label_name, read_summary_file, summary_key


def test_counts_are_read_by_case_and_key_and_a_mean_that_is_no_number_is_none(tmp_path):
    path = write_summary(tmp_path, {"a.1": {"1": (10, 9, 8), "(1, 2)": (0, 5, 0)}})
    summary = read_summary_file(path)
    assert summary.cases == {"a.1": {"1": LabelCounts(10, 9, 8), "(1, 2)": LabelCounts(0, 5, 0)}}
    assert (summary.references, summary.foreground_dice) == (Path("/gt"), 0.5)
    path.write_text(path.read_text().replace('{"Dice": 0.5}', '{"Dice": NaN}'))
    assert read_summary_file(path).foreground_dice is None


def test_files_of_windows_have_cases_and_folders_of_their_own(tmp_path):
    path = write_summary(tmp_path, {"x": {"1": (4, 4, 4)}})
    text = path.read_text()
    for old in ("/results/validation/x.nii.gz", "/gt/x.nii.gz"):
        text = text.replace(old, r"C:\\ref\\liver_7.nii.gz")
    path.write_text(text)
    summary = read_summary_file(path)
    assert list(summary.cases) == ["liver_7"]
    assert str(summary.references) == r"C:\ref"


def test_labels_and_regions_are_named_by_the_keys_that_they_are_written_under():
    regions = factories.region_labels()
    for name, covered in regions.covered_by_name.items():
        assert label_name(summary_key(covered), regions) == name
    assert label_name("7", regions) == "7" and label_name("7", None) == "7"


def test_more_common_voxels_than_predicted_ones_are_damage(tmp_path):
    with pytest.raises(ValueError, match="TP is 9"):
        read_summary_file(write_summary(tmp_path, {"a": {"1": (10, 8, 9)}}))
