"""The command that makes splits or audits them."""

import json

from nnunet_ext.cli.main import main


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


def test_other_splits_beside_the_raw_data_are_told_and_planning_refuses_them(folders, capsys):
    raw = folders / "raw" / "Dataset007_Splits" / "splits_final.json"
    command = ["splits", "-d", "7", "-np", "0", "-k", "4"]
    assert main(command) == 0
    home = folders / "preprocessed" / "Dataset007_Splits"
    raw.write_bytes((home / "splits_final.json").read_bytes())
    assert main(command) == 0
    assert "holds other folds" not in capsys.readouterr().err
    raw.write_text(json.dumps([{"train": ["p0_f0"], "val": ["p0_f1"]}]), encoding="utf-8")
    assert main(command) == 0
    assert f"{raw} holds other folds" in capsys.readouterr().err
    fingerprint = {
        "spacings": [[1, 1, 1]],
        "shapes_after_crop": [[3, 4, 5]],
        "foreground_intensity_properties_per_channel": {},
    }
    (home / "dataset_fingerprint.json").write_text(json.dumps(fingerprint), encoding="utf-8")
    assert main(["plan", "-d", "7"]) == 1
    assert f"DatasetError: {raw} holds other folds" in capsys.readouterr().err
