"""Every way to damage a data set is found and named, nothing else is, and what can be mended is."""

import json
import shutil
from pathlib import Path

import pytest
from damage import CASES, DAMAGES, image, label, preprocessed, truncate, write_data_set

from nnunet_ext.check.findings import SEVERITIES
from nnunet_ext.check.quarantine.quarantine import undo
from nnunet_ext.check.repair import planned, repair_dataset
from nnunet_ext.check.repairs.preprocessing import Preprocess
from nnunet_ext.check.run import Check
from nnunet_ext.cli.main import main
from nnunet_ext.errors import UsageError
from nnunet_ext.nnunet.folders import DatasetFolders

MENDED = sorted(name for name, damage in DAMAGES.items() if damage.mended_by)


@pytest.fixture(scope="module")
def clean(tmp_path_factory):
    return write_data_set(tmp_path_factory.mktemp("clean"))


@pytest.fixture
def folders(clean, tmp_path):
    """A copy of the clean data set to damage."""
    shutil.copytree(clean.raw.parent.parent, tmp_path / "nnunet")
    parts = (tmp_path / "nnunet" / part / clean.name for part in ("raw", "preprocessed", "results"))
    return DatasetFolders(clean.name, *parts)


def checked(folders):
    check = Check(folders, n_processes=0)
    return check, check.run()


def state(folders):
    """Bytes and times of all files outside the quarantines."""
    parts = (folders.raw, folders.preprocessed, folders.results)
    return {
        path: (path.read_bytes(), path.stat().st_mtime_ns)
        for part in parts
        for path in part.rglob("*")
        if path.is_file() and "quarantine" not in path.parts
    }


def test_nothing_is_found_where_nothing_is_wrong(clean):
    _, report = checked(clean)
    assert report.findings == ()
    assert report.ok and report.n_files == len(state(clean)) - 1  # raw's dataset.json is no job of its own


def test_there_are_enough_ways():
    assert len(DAMAGES) >= 25


@pytest.mark.parametrize("name", DAMAGES)
def test_a_damage_is_found_and_no_other(folders, name):
    damage = DAMAGES[name]
    damage.apply(folders)
    _, report = checked(folders)
    assert {finding.kind for finding in report.findings} == damage.kinds
    assert min(report.findings, key=lambda f: SEVERITIES.index(f.severity)).severity == damage.severity
    assert report.ok == (damage.severity != "error")
    for finding in report.findings:
        assert finding.advice or finding.command or finding.severity == "note"
    assert not (folders.raw / "ran").exists()  # what the evil pickle would have made


@pytest.mark.parametrize("name", MENDED)
def test_what_can_be_mended_is_and_undoing_restores_bytes_and_times(folders, name):
    damage = DAMAGES[name]
    damage.apply(folders)
    before = state(folders)
    check, report = checked(folders)
    repaired = repair_dataset(check, report, raw=damage.mended_by == "fix_raw")
    assert repaired.failed == () and repaired.done
    assert repaired.check.findings == ()
    assert checked(folders)[1].findings == ()
    assert undo(repaired.journal).refused == ()
    assert state(folders) == before


@pytest.mark.parametrize("name", [name for name in MENDED if DAMAGES[name].mended_by == "fix_raw"])
def test_raw_images_are_left_alone_unless_told(folders, name):
    DAMAGES[name].apply(folders)
    check, report = checked(folders)
    raw = {path: content for path, content in state(folders).items() if "raw" in path.parts}
    repair_dataset(check, report, raw=False)
    now = state(folders)
    assert {path: now.get(path) for path in raw if path.name != "dataset.json"} == {
        path: content for path, content in raw.items() if path.name != "dataset.json"
    }


def test_the_messages_hold_the_values_seen(folders):
    for name in ("a_label_with_a_flipped_header", "a_label_that_nobody_named", "a_wrong_number_of_cases"):
        DAMAGES[name].apply(folders)
    seen = " ".join(finding.seen for finding in checked(folders)[1].findings)
    assert "holds 7; dataset.json knows [0, 1, 2]" in seen
    assert "numTraining is 40, but there are 4 training cases" in seen
    DAMAGES["a_label_with_a_flipped_header"].apply(folders)
    assert "flipped along x" in " ".join(finding.seen for finding in checked(folders)[1].findings)


def test_a_preprocessed_case_is_made_again_for_its_configuration_alone(folders):
    truncate(preprocessed(folders, "case_1.b2nd"))
    preprocessed(folders, "case_2.pkl").unlink()
    _, report = checked(folders)
    repairs = sorted(planned(report, raw=False), key=lambda repair: repair.case_id)
    assert [(type(r), r.case_id, r.configuration) for r in repairs] == [
        (Preprocess, "case_1", "3d_fullres"),
        (Preprocess, "case_2", "3d_fullres"),
    ]


def test_nothing_is_made_of_a_case_that_is_faulty_itself(folders):
    truncate(image(folders))
    preprocessed(folders, "case_1.b2nd").unlink()
    assert planned(checked(folders)[1], raw=False) == ()


def test_a_warning_about_a_case_does_not_keep_it_from_being_mended(folders):
    DAMAGES["the_same_scan_under_two_names"].apply(folders)
    DAMAGES["a_missing_preprocessed_label"].apply(folders)
    preprocessed(folders, "case_2.pkl").unlink()
    report = checked(folders)[1]
    assert {repair.case_id for repair in planned(report, raw=False)} == {"case_1", "case_2"}


def test_a_case_set_aside_leaves_the_splits_too(folders):
    label(folders).write_bytes(b"")
    check, report = checked(folders)
    repair_dataset(check, report, raw=True)
    splits = json.loads((folders.preprocessed / "splits_final.json").read_text())
    assert [split["train"] for split in splits] == [[CASES[2], CASES[3]], [CASES[0], CASES[2]]]
    assert json.loads((folders.raw / "dataset.json").read_text())["numTraining"] == 3


def test_undoing_leaves_alone_what_lies_in_its_way(folders):
    truncate(image(folders))
    check, report = checked(folders)
    journal = repair_dataset(check, report, raw=True).journal
    image(folders).write_bytes(b"a new scan")
    undone = undo(journal)
    assert len(undone.refused) == 1 and "in the way" in undone.refused[0]
    assert image(folders).read_bytes() == b"a new scan"
    image(folders).unlink()
    assert undo(journal).restored == (image(folders),)
    with pytest.raises(UsageError, match="undone already"):
        undo(journal)


def test_preprocessed_folders_can_be_checked_without_the_raw_ones(folders):
    truncate(preprocessed(folders, "case_1.b2nd"))
    _, report = checked(DatasetFolders(folders.name, None, folders.preprocessed, None))
    assert [(f.kind, f.repair) for f in report.findings] == [("damaged", None)]


def test_images_that_dataset_json_lists_are_found_where_they_are(folders, tmp_path):
    content = json.loads((folders.raw / "dataset.json").read_text())
    content["dataset"] = {
        case: {"images": [str(image(folders, case, c)) for c in (0, 1)], "label": f"labelsTr/{case}.nii.gz"}
        for case in CASES
    }
    (folders.raw / "dataset.json").write_text(json.dumps(content))
    assert checked(folders)[1].findings == ()
    truncate(image(folders))
    check, report = checked(folders)
    assert [f.kind for f in report.findings if f.severity == "error"] == ["damaged"]
    assert repair_dataset(check, report, raw=True).check.findings == ()
    assert CASES[1] not in json.loads((folders.raw / "dataset.json").read_text())["dataset"]


def test_the_command_prints_writes_json_repairs_and_takes_back(folders, tmp_path, capsys, monkeypatch):
    for part in ("raw", "preprocessed", "results"):
        monkeypatch.setenv(f"nnUNet_{part}", str(getattr(folders, part).parent))
    DAMAGES["an_empty_label"].apply(folders)
    before = state(folders)
    report = tmp_path / "report.json"
    assert main(["check", "-d", "903", "-np", "0", "--json", str(report)]) == 1
    out = capsys.readouterr().out
    assert "error    labelsTr/case_1.nii.gz: is empty (0 bytes)." in out
    assert "nnunet_ext check -d 903 --fix_raw" in out
    content = json.loads(report.read_text(encoding="utf-8"))
    assert content["ok"] is False
    assert [finding["kind"] for finding in content["findings"]] == ["damaged"]
    assert main(["check", "-d", "903", "-np", "0", "--fix_raw", "--dry_run"]) == 1
    assert "would move all files of case case_1" in capsys.readouterr().out
    assert state(folders) == before
    assert main(["check", "-d", "903", "-np", "0", "--fix_raw"]) == 0
    journal = capsys.readouterr().out.split("--undo ")[1].splitlines()[0]
    assert main(["check", "--undo", journal]) == 0
    assert state(folders) == before


def test_a_folder_that_is_none_is_wrong_usage(capsys):
    assert main(["check", "-i", str(Path("no") / "such")]) == 2
    assert "is no folder" in capsys.readouterr().err
