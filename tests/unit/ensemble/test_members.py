from pathlib import Path

from nnunet_ext.ensemble.members import find_member_cases
from nnunet_ext.ensemble.plan import Member, Plan, equal_plan


def touch(folder: Path, *names: str) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    for name in names:
        (folder / name).touch()
    return folder


def find(plan, expected=()):
    return find_member_cases(plan, ".nii.gz", expected)


def test_both_names_of_a_file_are_one_case(tmp_path):
    a = touch(tmp_path / "a", "case.npz")
    b = touch(tmp_path / "b", "case.nii.gz.npz", "case.nii.gz.pkl")
    (case,) = find(equal_plan({"a": [a], "b": [b]})).cases
    assert case.case_id == "case"
    assert case.fault is None
    assert [file.path.name for file in case.files] == ["case.npz", "case.nii.gz.npz"]
    assert case.files[1].beside(".pkl", "case").name == "case.nii.gz.pkl"
    assert case.files[1].beside(".nii.gz", "case").name == "case.nii.gz"


def test_junk_is_named_and_no_case(tmp_path):
    a = touch(tmp_path / "a", "case.npz", "._case.npz", ".part-1-case.npz")
    found = find(equal_plan({"a": [a]}))
    assert [case.case_id for case in found.cases] == ["case"]
    assert found.junk == (a / "._case.npz",)


def test_folds_share_their_members_weight(tmp_path):
    folds = tuple(touch(tmp_path / name, "case.npz") for name in ("f0", "f1"))
    (case,) = find(Plan(members=(Member(name="2d", folders=folds, folder_weights=(1.0, 3.0)),))).cases
    assert [file.share for file in case.files] == [0.25, 0.75]


def test_validation_folders_hold_each_case_once_at_full_weight(tmp_path):
    folds = (touch(tmp_path / "f0", "a.npz"), touch(tmp_path / "f1", "b.npz"))
    found = find(Plan(members=(Member(name="2d", folders=folds, folder_weights=(1.0, 3.0)),))).cases
    assert [(case.case_id, case.fault, case.files[0].share) for case in found] == [
        ("a", None, 1),
        ("b", None, 1),
    ]


def test_a_fold_that_lacks_a_case_is_named(tmp_path):
    folds = (touch(tmp_path / "f0", "a.npz", "b.npz"), touch(tmp_path / "f1", "a.npz"))
    a, b = find(equal_plan({"2d": folds})).cases
    assert a.fault is None
    assert str(folds[1]) in b.fault and "2d" in b.fault


def test_a_case_that_a_member_or_all_members_lack_is_named(tmp_path):
    a, b = touch(tmp_path / "a", "x.npz", "y.npz"), touch(tmp_path / "b", "x.npz")
    found = find(equal_plan({"a": [a], "b": [b]}), expected=["x", "y", "z"]).cases
    assert [case.case_id for case in found] == ["x", "y", "z"]
    assert [bool(case.fault) for case in found] == [False, True, True]
    assert "member b" in found[1].fault


def test_one_case_under_two_names_in_one_folder_is_a_fault(tmp_path):
    a = touch(tmp_path / "a", "x.npz", "x.nii.gz.npz")
    (case,) = find(equal_plan({"a": [a]})).cases
    assert "twice" in case.fault
