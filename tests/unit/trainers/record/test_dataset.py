from nnunet_ext.nnunet.subjects import Subjects
from nnunet_ext.trainers.policies.continuation import FoldCases
from nnunet_ext.trainers.record.dataset import describe_dataset

CASES_OF_LABEL = {"organ": ("a_frame01", "a_frame02", "c"), "tumour": ()}


def test_subjects_on_both_sides_are_named_and_cases_counted_per_label():
    cases = FoldCases(("a_frame01", "b"), ("a_frame02", "c"))
    found = describe_dataset("Dataset001_X", cases, "splits_final.json", CASES_OF_LABEL)
    assert (found["cases"], found["subjects"]) == (4, 3)
    assert found["subjects_on_both_sides"] == ["a"]
    assert found["cases_per_label"] == {
        "organ": {"training": 1, "validation": 2},
        "tumour": {"training": 0, "validation": 0},
    }
    assert "names of 2 cases" in found["subjects_are"] and "other 2" in found["subjects_are"]


def test_cases_whose_names_tell_nothing_are_subjects_each():
    found = describe_dataset("D", FoldCases(("a", "b"), ("c",)), "x", {})
    assert found["subjects"] == 3
    assert found["subjects_are"].startswith("the cases")
    assert found["subjects_on_both_sides"] == []


def test_subjects_that_splits_was_told_count_whatever_the_names_say():
    cases = FoldCases(("p1a", "p2a"), ("p1b", "x"))
    found = describe_dataset("D", cases, "splits_final.json", {}, known=Subjects(pattern=r"(p\d)"))
    assert found["subjects"] == 3 and found["subjects_on_both_sides"] == ["p1"]
    assert "the pattern (p\\d)" in found["subjects_are"] and "the 1 cases" in found["subjects_are"]
