import pytest

from nnunet_ext.trainers.record.dataset import Split, describe_dataset, subject_of

CASES_OF_LABEL = {"organ": ("a_frame01", "a_frame02", "c"), "tumour": ()}


@pytest.mark.parametrize(
    ("case_id", "subject"),
    [
        ("patient001_frame01", "patient001"),
        ("s1_Session_2", "s1"),
        ("liver_007", "liver_007"),
        ("BraTS-GLI-00005-000", "BraTS-GLI-00005-000"),
        ("frame01", "frame01"),
        ("x_frame", "x_frame"),
    ],
)
def test_a_subject_is_told_by_a_certain_name_only(case_id, subject):
    assert subject_of(case_id) == subject


def test_subjects_on_both_sides_are_named_and_cases_counted_per_label():
    split = Split(("a_frame01", "b"), ("a_frame02", "c"), "splits_final.json")
    found = describe_dataset("Dataset001_X", split, CASES_OF_LABEL)
    assert (found["cases"], found["subjects"]) == (4, 3)
    assert found["subjects_on_both_sides"] == ["a"]
    assert found["cases_per_label"] == {
        "organ": {"training": 1, "validation": 2},
        "tumour": {"training": 0, "validation": 0},
    }
    assert "names of 2 cases" in found["subjects_are"] and "other 2" in found["subjects_are"]


def test_cases_whose_names_tell_nothing_are_subjects_each():
    found = describe_dataset("D", Split(("a", "b"), ("c",), "x"), {})
    assert found["subjects"] == 3
    assert found["subjects_are"].startswith("the cases")
    assert found["subjects_on_both_sides"] == []
