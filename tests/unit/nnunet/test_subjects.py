"""Subjects as they are remembered, and what is resampled by them."""

import json

import pytest

from nnunet_ext.errors import DatasetError
from nnunet_ext.nnunet.subjects import (
    SUBJECTS,
    Origin,
    Subjects,
    find_subjects,
    read_subjects,
    subject_by_name,
    units_of,
    write_subjects,
)

TABLE = Subjects({"a": Origin("a", "S1", "Köln"), "b": Origin("b", "S1")})


@pytest.mark.parametrize(
    ("case_id", "subject"),
    [
        ("patient001_frame01", "patient001"),
        ("s1_Session_2", "s1"),
        ("liver_007", None),
        ("BraTS-GLI-00005-000", None),
        ("frame01", None),
        ("x_frame", None),
    ],
)
def test_a_subject_is_told_by_a_certain_name_only(case_id, subject):
    assert subject_by_name(case_id) == subject


@pytest.mark.parametrize("subjects", [TABLE, Subjects(pattern=r"(p\d+)_")])
def test_what_is_written_is_read_back(tmp_path, subjects):
    write_subjects(subjects, tmp_path / SUBJECTS)
    assert read_subjects(tmp_path / SUBJECTS) == subjects
    assert read_subjects(tmp_path / "none.json") is None


@pytest.mark.parametrize(
    "content",
    ["", "[]", "{}", '{"cases": []}', '{"cases": {"a": {}}}', '{"cases": {"a": {"subject": 3}}}',
     '{"cases": {"a": {"subject": "S", "site": 3}}}', '{"subject_pattern": "("}', '{"subject_pattern": 3}'],
)  # fmt: skip
def test_a_file_that_names_none_is_told(tmp_path, content):
    (tmp_path / SUBJECTS).write_text(content, encoding="utf-8")
    with pytest.raises(DatasetError, match="Write it anew with nnunet_ext splits"):
        read_subjects(tmp_path / SUBJECTS)


def test_cases_of_which_nothing_is_known_are_a_subject_each():
    units = units_of(["a", "b", "new"], TABLE)
    assert units.of_cases == ("S1", "S1", "new") and (units.n, units.n_unknown) == (2, 1)
    assert units.words == "2 subjects of 3 cases, 1 of them of no known subject"
    for nothing in (None, Subjects(), Subjects(pattern="p")):
        assert not units_of(["x", "y"], nothing).are_subjects


def test_they_are_found_by_the_data_set_that_a_path_names(tmp_path):
    folder = tmp_path / "preprocessed" / "Dataset007_X"
    folder.mkdir(parents=True)
    write_subjects(TABLE, folder / SUBJECTS)
    environment = {"nnUNet_preprocessed": str(tmp_path / "preprocessed")}
    labels = tmp_path / "raw" / "Dataset007_X" / "labelsTr"
    assert find_subjects([None, labels], environment) == TABLE
    assert find_subjects([labels], {}) is None
    assert find_subjects([folder / "gt_segmentations"], {}) == TABLE
    assert find_subjects([tmp_path / "raw" / "Dataset008_Y"], environment) is None
    (tmp_path / "here").mkdir()
    (tmp_path / "here" / SUBJECTS).write_text(json.dumps({"subject_pattern": "h"}), encoding="utf-8")
    assert find_subjects([tmp_path / "here" / "dataset.json"], environment) == Subjects(pattern="h")
