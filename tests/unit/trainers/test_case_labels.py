import pickle

import factories
import numpy as np
import pytest

from nnunet_ext.trainers.case_labels import cases_with_labels

SOME, NONE = np.ones((3, 4), np.int64), []


@pytest.fixture
def write(tmp_path):
    def write_case(case_id, locations):
        (tmp_path / f"{case_id}.pkl").write_bytes(pickle.dumps({"class_locations": locations}))

    return write_case


def test_each_label_has_the_cases_that_hold_it_in_their_order(tmp_path, write):
    write("b", {1: SOME, 2: SOME, 3: NONE})
    write("a", {1: SOME, 2: NONE, 3: NONE})
    assert cases_with_labels(tmp_path, ["b", "a"], factories.labels()) == {
        "myocardium": ("b", "a"),
        "left_ventricle": ("b",),
        "right_ventricle": (),
    }


def test_a_region_has_the_cases_that_hold_any_of_its_labels(tmp_path, write):
    write("whole", {(1, 2, 3): SOME, (2, 3): NONE, (3,): NONE})
    write("all", {(1, 2, 3): SOME, (2, 3): SOME, 3: SOME})
    write("by_label", {1: NONE, 2: SOME, 3: NONE})
    assert cases_with_labels(tmp_path, ["whole", "all", "by_label"], factories.region_labels()) == {
        "whole": ("whole", "all", "by_label"),
        "core": ("all", "by_label"),
        "enhancing": ("all",),
    }


def test_what_is_sampled_for_an_ignore_label_is_no_label(tmp_path, write):
    write("a", {1: SOME, 2: NONE, 3: NONE, (-1, 0, 1, 2, 3): SOME})
    found = cases_with_labels(tmp_path, ["a"], factories.labels())
    assert [name for name, cases in found.items() if cases] == ["myocardium"]


def test_cases_that_cannot_be_read_hold_nothing_and_are_told(tmp_path, write):
    write("good", {1: SOME})
    (tmp_path / "junk.pkl").write_bytes(b"junk")
    (tmp_path / "bare.pkl").write_bytes(pickle.dumps({}))
    faults = []
    found = cases_with_labels(tmp_path, ["junk", "good", "gone", "bare"], factories.labels(), faults.append)
    assert found["myocardium"] == ("good",)
    assert [fault.split(" holds is")[0] for fault in faults] == [
        f"Which labels case {case_id}" for case_id in ("junk", "gone", "bare")
    ]
