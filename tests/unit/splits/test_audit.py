"""Faults that an audit of splits finds."""

from split_cases import CASES, CONTENTS, LABELS, ORIGINS, WITH_LESION, kinds

from nnunet_ext.nnunet.subjects import Subjects
from nnunet_ext.splits.audit import audit
from nnunet_ext.splits.contents import CaseContent


def test_the_audit_names_a_subject_on_both_sides(splits):
    splits[0]["train"].append(splits[0]["val"].pop())
    assert ("error", "subject") in kinds(splits)


def test_the_audit_names_a_case_on_both_sides(splits):
    splits[1]["train"].append(splits[1]["val"][0])
    assert ("error", "both_sides") in kinds(splits)


def test_the_audit_names_unknown_missing_and_doubled_cases(splits):
    splits[0]["val"].append("nobody")
    gone = splits[1]["val"].pop()
    splits[2]["val"].append(splits[2]["val"][0])
    found = kinds(splits)
    assert {("error", "unknown"), ("warning", "missing"), ("error", "twice"), ("error", "uneven")} <= found
    assert gone in " ".join(fault.message for fault in audit(splits, ORIGINS, CONTENTS, LABELS).faults)


def test_the_audit_names_files_where_cases_should_be():
    splits = [{"train": [f"{CASES[0]}_0000.nii.gz"], "val": CASES[1:]}]
    (fault,) = [one for one in audit(splits, ORIGINS, CONTENTS, LABELS).faults if one.kind == "file_names"]
    assert fault.message.endswith(f"such as {CASES[0]}_0000.nii.gz: nnU-Net wants {CASES[0]}")
    assert ("error", "unknown") not in kinds(splits)


def test_the_audit_names_copies_on_both_sides(splits):
    first, second = splits[0]["val"][0], splits[0]["train"][0]
    contents = [
        c if c.case_id != second else CaseContent(second, c.volumes_mm3, (f"image of {first}",))
        for c in CONTENTS
    ]
    assert ("error", "copy") in kinds(splits, contents=contents)


def test_the_audit_names_folds_without_a_label_or_with_little_of_it():
    with_lesion = [case for case in CASES if int(case[7:9]) in WITH_LESION]
    val = [case for case in CASES if case not in with_lesion]
    assert ("warning", "no_label") in kinds([{"train": with_lesion, "val": val}])
    assert ("warning", "few_of_label") in kinds([{"train": with_lesion[1:], "val": [*val, with_lesion[0]]}])


def test_a_leak_that_the_names_tell_is_suspected_without_subjects():
    splits = [{"train": CASES[1:], "val": CASES[:1]}]
    faults = audit(splits, Subjects().origins(CASES), CONTENTS, LABELS, CASES).faults
    (suspected,) = [fault.message for fault in faults if fault.kind == "subjects_by_name"]
    assert "1 subjects on both sides" in suspected and "patient00_frame0 validates" in suspected
    assert r"--subject_pattern '(.+)_frame_?\d+'" in suspected
