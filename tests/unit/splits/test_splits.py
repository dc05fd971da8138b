"""Splits by subject on sixty small cases, their audit, and the command."""

import json
from collections import Counter

import numpy as np
import pytest
from factories import write_image

from nnunet_ext.cli.main import main
from nnunet_ext.errors import UsageError
from nnunet_ext.nnunet.folders import find_dataset
from nnunet_ext.nnunet.subjects import Origin, Subjects
from nnunet_ext.splits.audit import audit
from nnunet_ext.splits.contents import CaseContent
from nnunet_ext.splits.files import find_cases, write_splits
from nnunet_ext.splits.making import k_folds, leave_one_site_out
from nnunet_ext.splits.origins import subjects_by_pattern, subjects_by_table

N_SUBJECTS, N_FRAMES = 20, 3
LABELS = {"organ": (1,), "lesion": (2,)}
WITH_LESION = {0, 2, 3, 7, 11, 12, 18, 19}  # eight of the subjects
CASES = [f"patient{s:02d}_frame{f}" for s in range(N_SUBJECTS) for f in range(N_FRAMES)]
PATTERN = r"(patient\d+)_frame\d+"


def content_of(case: str) -> CaseContent:
    subject = int(case[7:9])
    volumes = {0: 9000.0, 1: 100.0 + 10 * subject}
    return CaseContent(
        case, volumes | ({2: 5.0 + subject} if subject in WITH_LESION else {}), (f"image of {case}",)
    )


CONTENTS = [content_of(case) for case in CASES]
ORIGINS = subjects_by_pattern(CASES, PATTERN).origins(CASES)


def kinds(splits, origins=ORIGINS, contents=CONTENTS):
    return {(fault.severity, fault.kind) for fault in audit(splits, origins, contents, LABELS).faults}


@pytest.fixture
def splits():
    return k_folds(ORIGINS, CONTENTS, LABELS)


def test_no_subject_is_on_both_sides_and_the_rare_label_is_in_every_fold(splits):
    judged = audit(splits, ORIGINS, CONTENTS, LABELS)
    assert judged.faults == ()
    assert judged.n_val == (12,) * 5
    assert sorted(judged.holding["lesion"]) == [3, 3, 6, 6, 6]
    for split in splits:
        assert not {c[:9] for c in split["train"]} & {c[:9] for c in split["val"]}
        assert sorted(split["train"] + split["val"]) == CASES


def test_each_case_is_validated_once_a_repeat(splits):
    repeated = k_folds(ORIGINS, CONTENTS, LABELS, n_repeats=2)
    assert repeated[:5] == splits and repeated[5:] != splits
    assert set(Counter(case for split in repeated for case in split["val"]).values()) == {2}
    assert kinds(repeated) == set()


def test_more_folds_than_subjects_are_refused():
    with pytest.raises(UsageError, match="21 folds of 20 subjects"):
        k_folds(ORIGINS, CONTENTS, LABELS, n_folds=21)


def test_each_site_is_left_out_once():
    origins = [Origin(o.case_id, o.subject, "ABC"[int(o.subject[-2:]) % 3]) for o in ORIGINS]
    splits = leave_one_site_out(origins)
    assert [len(split["val"]) for split in splits] == [21, 21, 18]
    with pytest.raises(UsageError, match="have no site"):
        leave_one_site_out(ORIGINS)
    with pytest.raises(UsageError, match="patient00 was scanned at A and B"):
        leave_one_site_out([Origin(CASES[0], "patient00", "A"), Origin(CASES[1], "patient00", "B")])


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


def test_a_pattern_must_match_every_case():
    assert subjects_by_pattern(["ab1", "ab2"], "ab").origins(["ab1"])[0].subject == "ab"
    with pytest.raises(UsageError, match="matches 1 of 2 cases, but not other"):
        subjects_by_pattern(["patient1_x", "other"], r"(patient\d+)")
    with pytest.raises(UsageError, match="no regular expression"):
        subjects_by_pattern(["a"], "(")


def test_a_table_tells_subjects_and_sites_with_either_separator(tmp_path):
    table = tmp_path / "subjects.csv"
    table.write_text("Case;Subject;Site\na;S1;Paris\nb;S1;\n", encoding="utf-8-sig")
    assert subjects_by_table(["b", "a"], table).origins(["b", "a"]) == [
        Origin("b", "S1"),
        Origin("a", "S1", "Paris"),
    ]
    with pytest.raises(UsageError, match="lacks 1 cases: c"):
        subjects_by_table(["a", "c"], table)
    table.write_text("name,subject\n", encoding="utf-8")
    with pytest.raises(UsageError, match="it needs case and subject"):
        subjects_by_table(["a"], table)


def test_without_subjects_each_case_is_its_own():
    assert {o.subject for o in Subjects().origins(CASES)} == set(CASES)


@pytest.fixture
def folders(tmp_path, monkeypatch):
    raw = tmp_path / "raw" / "Dataset007_Splits"
    for number in range(8):
        case = f"p{number // 2}_f{number % 2}"
        array = np.zeros((3, 4, 5), np.uint8)
        array[0, 0, : 1 + number % 3] = 1
        write_image(raw / "labelsTr" / f"{case}.nii.gz", array)
        write_image(raw / "imagesTr" / f"{case}_0000.nii.gz", array + np.uint8(number))
    content = {"labels": {"background": 0, "organ": 1}, "file_ending": ".nii.gz"}
    (raw / "dataset.json").write_text(json.dumps(content), encoding="utf-8")
    for part in ("raw", "preprocessed", "results"):
        (tmp_path / part).mkdir(exist_ok=True)
        monkeypatch.setenv(f"nnUNet_{part}", str(tmp_path / part))
    return tmp_path


def test_the_command_writes_keeps_the_old_warns_and_audits(folders, capsys):
    splits = folders / "preprocessed" / "Dataset007_Splits" / "splits_final.json"
    command = ["splits", "-d", "7", "-np", "0"]
    assert main([*command, "-k", "2", "--subject_pattern", r"(p\d)_", "--dry_run"]) == 0
    assert not splits.exists()
    assert main([*command, "-k", "2", "--subject_pattern", r"(p\d)_"]) == 0
    first = json.loads(splits.read_text())
    assert len(first) == 2 and not {c[:2] for c in first[0]["train"]} & {c[:2] for c in first[0]["val"]}
    fold = folders / "results" / "Dataset007_Splits" / "t__p__c" / "fold_0"
    fold.mkdir(parents=True)
    (fold / "checkpoint_best.pth").write_bytes(b"")
    capsys.readouterr()
    assert main([*command, "-k", "4"]) == 0
    shown = capsys.readouterr()
    assert "1 folds were trained on the old splits" in shown.err
    kept = [path for path in splits.parent.glob("splits_*.json") if path != splits]
    assert [json.loads(path.read_text()) for path in kept] == [first]
    picture = folders / "audit.png"
    assert main([*command, "--audit", "--subject_pattern", r"(p\d)_", "--picture", str(picture)]) in (0, 1)
    assert picture.read_bytes().startswith(b"\x89PNG")


def test_an_audit_with_errors_exits_with_one(folders, capsys):
    splits = folders / "mine.json"
    splits.write_text(json.dumps([{"train": ["p0_f0"], "val": ["p0_f1"]}]), encoding="utf-8")
    command = ["splits", "-d", "7", "-np", "0", "--audit", "-s", str(splits)]
    assert main(command) == 0
    assert main([*command, "--subject_pattern", r"(p\d)_"]) == 1
    assert "subject p0 on both sides: p0_f0 trains, p0_f1 validates" in capsys.readouterr().out


def test_subjects_are_remembered_and_used_by_the_next_command(folders, capsys):
    home = folders / "preprocessed" / "Dataset007_Splits"
    command = ["splits", "-d", "7", "-np", "0"]
    assert main([*command, "-k", "2"]) == 0
    assert "no subjects are known, so that no fold could be searched" in capsys.readouterr().out
    assert not (home / "subjects.json").exists()
    assert main([*command, "--audit", "--subject_pattern", r"(p\d)_", "--dry_run"]) in (0, 1)
    assert not (home / "subjects.json").exists()
    main([*command, "--audit", "--subject_pattern", r"(p\d)_"])
    assert f"4 subjects are remembered in {home / 'subjects.json'}" in capsys.readouterr().out
    assert main([*command, "-k", "2"]) == 0
    first = json.loads((home / "splits_final.json").read_text())[0]
    assert not {c[:2] for c in first["train"]} & {c[:2] for c in first["val"]}
    (home / "splits_final.json").write_text(json.dumps([{"train": ["p0_f0"], "val": ["p0_f1"]}]))
    capsys.readouterr()
    assert main([*command, "--audit"]) == 1
    shown = capsys.readouterr().out
    assert "subject p0 on both sides" in shown and f"subjects are those of {home / 'subjects.json'}" in shown


def test_remembered_subjects_that_do_not_fit_the_cases_any_more_are_told(folders, capsys):
    table = folders / "table.csv"
    rows = [f"p{n // 2}_f{n % 2},S{n // 2}" for n in range(8)]
    table.write_text("\n".join(["case,subject", *rows]), encoding="utf-8")
    command = ["splits", "-d", "7", "-np", "0", "-k", "2"]
    assert main([*command, "--subjects", str(table)]) == 0
    raw = folders / "raw" / "Dataset007_Splits"
    for folder, end in (("imagesTr", "_0000"), ("labelsTr", "")):
        (raw / folder / f"p0_f0{end}.nii.gz").rename(raw / folder / f"new{end}.nii.gz")
    assert main(command) == 2
    assert "says nothing of 1 of 8 cases, such as new" in capsys.readouterr().err
    main([*command, "--audit"])
    assert "new: no subject is known" in capsys.readouterr().out


def test_a_leak_that_the_names_tell_is_suspected_without_subjects():
    splits = [{"train": CASES[1:], "val": CASES[:1]}]
    faults = audit(splits, Subjects().origins(CASES), CONTENTS, LABELS, CASES).faults
    (suspected,) = [fault.message for fault in faults if fault.kind == "subjects_by_name"]
    assert "1 subjects on both sides" in suspected and "patient00_frame0 validates" in suspected
    assert r"--subject_pattern '(.+)_frame_?\d+'" in suspected


def test_labels_without_images_are_no_cases_of_a_split(folders):
    raw = folders / "raw" / "Dataset007_Splits"
    (raw / "imagesTr" / "p0_f0_0000.nii.gz").unlink()
    files, _ = find_cases(find_dataset(7), with_images=True)
    assert len(files) == 7 and "p0_f0" not in [one.case_id for one in files]


def test_nnunets_copies_of_the_labels_do_where_the_raw_ones_are_not_here(folders):
    (folders / "raw" / "Dataset007_Splits").rename(folders / "preprocessed" / "Dataset007_Splits")
    home = folders / "preprocessed" / "Dataset007_Splits"
    (home / "labelsTr").rename(home / "gt_segmentations")
    files, _ = find_cases(find_dataset(7), with_images=True)
    assert len(files) == 8


def test_the_same_splits_are_not_kept_twice(tmp_path):
    path = tmp_path / "splits_final.json"
    splits = [{"train": ["a"], "val": ["b"]}]
    assert write_splits(splits, path) is None
    assert write_splits(splits, path) is None
    assert list(tmp_path.iterdir()) == [path]
    assert write_splits([{"train": ["b"], "val": ["a"]}], path) is not None
