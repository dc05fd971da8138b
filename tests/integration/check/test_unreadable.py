"""What cannot be read now, and what is not the data set's own, is told and never moved."""

import errno
import json
import os
import pickle
import shutil
from pathlib import Path

import pytest
from damage import CASES, DAMAGES, edit_json, fold, image, label, preprocessed, truncate, write_data_set

from nnunet_ext.check import facts as facts_module
from nnunet_ext.check import run as checks
from nnunet_ext.check.facts import FileJob, read_facts
from nnunet_ext.check.repair import planned, repair_dataset
from nnunet_ext.check.repairs import rewriting
from nnunet_ext.check.repairs.moving import CountCases, SetAside
from nnunet_ext.check.run import Check
from nnunet_ext.cli.main import main
from nnunet_ext.errors import CannotReadNow, DamagedFile, DatasetError, RepairError
from nnunet_ext.images import facts as image_module
from nnunet_ext.nnunet.folders import DatasetFolders
from nnunet_ext.nnunet.properties import read_properties


@pytest.fixture(scope="module")
def clean(tmp_path_factory):
    return write_data_set(tmp_path_factory.mktemp("clean"))


@pytest.fixture
def folders(clean, tmp_path):
    """A copy of the clean data set."""
    shutil.copytree(clean.raw.parent.parent, tmp_path / "nnunet")
    parts = (tmp_path / "nnunet" / part / clean.name for part in ("raw", "preprocessed", "results"))
    return DatasetFolders(clean.name, *parts)


def report_of(folders):
    return Check(folders, n_processes=0).run()


def everything(root):
    return {path: path.read_bytes() for path in root.rglob("*") if path.is_file()}


def refuse(monkeypatch, wanted, error):
    """Let the system refuse one file, as tests run by root cannot by permissions."""
    read_through = facts_module.read_through

    def read(path, n_bytes=None):
        if path == wanted:
            raise error
        return read_through(path, n_bytes)

    monkeypatch.setattr(facts_module, "read_through", read)


SOME_FILES = {
    "scan": image,
    "label": label,
    "preprocessed": lambda folders: preprocessed(folders, f"{CASES[1]}.b2nd"),
    "properties": lambda folders: preprocessed(folders, f"{CASES[1]}.pkl"),
    "copy": lambda folders: folders.preprocessed / "gt_segmentations" / f"{CASES[1]}.nii.gz",
    "checkpoint": lambda folders: fold(folders) / "checkpoint_final.pth",
    "npz": lambda folders: fold(folders) / "validation" / f"{CASES[0]}.npz",
    "plans": lambda folders: folders.preprocessed / "nnUNetPlans.json",
}


@pytest.mark.parametrize("kind", SOME_FILES)
@pytest.mark.parametrize(
    "error",
    [
        PermissionError(errno.EACCES, "Permission denied"),
        OSError(errno.EIO, "Input/output error"),
        MemoryError(),
    ],
    ids=["permission", "disk", "memory"],
)
def test_a_file_that_cannot_be_read_now_is_told_and_left_alone(folders, monkeypatch, kind, error):
    path = SOME_FILES[kind](folders)
    before = everything(folders.raw.parent.parent)
    if isinstance(error, MemoryError):
        read = facts_module._read

        def too_large(job):
            if job.path == path:
                raise error
            return read(job)

        monkeypatch.setattr(facts_module, "_read", too_large)
    else:
        refuse(monkeypatch, path, error)
    check = Check(folders, n_processes=0)
    report = check.run()
    assert [(f.kind, f.path, f.repair) for f in report.findings] == [("unreadable", path, None)]
    assert not report.ok and report.findings[0].advice
    assert repair_dataset(check, report, raw=True).journal is None
    assert everything(folders.raw.parent.parent) == before


def test_a_file_that_can_be_read_again_is_read_again(folders, monkeypatch):
    check = Check(folders, n_processes=0)
    with monkeypatch.context() as patch:
        refuse(patch, image(folders), PermissionError(errno.EACCES, "Permission denied"))
        assert not check.run().ok
    assert check.run().findings == ()


def test_damage_of_a_case_is_not_repaired_while_another_file_of_it_cannot_be_read(folders, monkeypatch):
    truncate(image(folders, channel=1))
    truncate(preprocessed(folders, f"{CASES[1]}.b2nd"))
    refuse(monkeypatch, label(folders), OSError(errno.EIO, "Input/output error"))
    report = report_of(folders)
    assert {f.kind for f in report.findings} == {"unreadable", "damaged"}
    assert planned(report, raw=True) == ()


def test_bytes_that_cannot_be_read_to_the_end_are_not_called_damaged(folders, monkeypatch):
    truncate(image(folders))
    assert read_facts(FileJob(image(folders), "image")).fault
    read_through = facts_module.read_through

    def fail_at_the_end(path, n_bytes=None):
        if n_bytes is None:
            raise OSError(errno.EIO, "Input/output error")
        return read_through(path, n_bytes)

    monkeypatch.setattr(facts_module, "read_through", fail_at_the_end)
    read = read_facts(FileJob(image(folders), "image"))
    assert read.fault is None and "Input/output error" in read.refusal.reason


def test_a_file_that_grows_while_it_is_read_is_not_called_damaged(folders, monkeypatch):
    path = fold(folders) / "checkpoint_best.pth"

    def read(job):
        with job.path.open("ab") as file:
            file.write(b"more")
        raise DamagedFile("it is cut short")

    monkeypatch.setattr(facts_module, "_read", read)
    found = read_facts(FileJob(path, "checkpoint"))
    assert found.fault is None and "it changed while it was read" in found.refusal.reason


@pytest.mark.parametrize(
    "text", ["Unable to open file", "Failed to allocate memory for image", "Could not open it for reading"]
)
def test_what_a_library_says_of_a_file_that_it_did_not_get_is_no_damage(folders, monkeypatch, text):
    import SimpleITK as sitk

    class Reader(sitk.ImageFileReader):
        def ReadImageInformation(self):
            raise RuntimeError(f"Exception thrown\nITK ERROR: {text}: {image(folders)}")

    monkeypatch.setattr(sitk, "ImageFileReader", Reader)
    found = read_facts(FileJob(image(folders), "image"))
    assert found.fault is None and text in found.refusal.reason


def test_on_windows_a_name_that_itk_may_not_open_is_no_damage(folders, monkeypatch):
    import SimpleITK as sitk

    class Reader(sitk.ImageFileReader):
        def ReadImageInformation(self):
            raise RuntimeError("ITK ERROR: Unable to determine ImageIO reader")

    monkeypatch.setattr(sitk, "ImageFileReader", Reader)
    path = image(folders).with_name("fälle_0000.nii.gz")
    shutil.copy(image(folders), path)
    with pytest.raises(DamagedFile):
        image_module.read_image_facts(path, is_label=False)
    monkeypatch.setattr(image_module.sys, "platform", "win32")
    monkeypatch.setattr(image_module, "_c_library_takes_utf8", lambda: True)
    with pytest.raises(DamagedFile):
        image_module.read_image_facts(path, is_label=False)
    monkeypatch.setattr(image_module, "_c_library_takes_utf8", lambda: False)
    with pytest.raises(CannotReadNow, match="Unable to determine"):
        image_module.read_image_facts(path, is_label=False)
    with pytest.raises(DamagedFile):
        monkeypatch.setattr(image_module, "_is_name_for_itk", lambda path: True)
        image_module.read_image_facts(image(folders), is_label=False)


def test_a_worker_that_died_says_nothing_of_its_file(folders, monkeypatch):
    def run_jobs(function, jobs, n_processes):
        for job in jobs:
            died = job.path == image(folders)
            reason = "WorkerDied: it ended with exit code -9" if died else None
            yield checks.Outcome(job, None if died else function(job), reason)

    monkeypatch.setattr(checks, "run_jobs", run_jobs)
    report = report_of(folders)
    assert [(f.kind, f.repair) for f in report.findings] == [("unreadable", None)]
    assert "exit code -9" in report.findings[0].seen


def test_a_pickle_that_cannot_be_opened_is_not_called_damaged(tmp_path, monkeypatch):
    (tmp_path / "a.pkl").write_bytes(pickle.dumps({}))
    assert read_properties(tmp_path / "a.pkl") == {}

    def refuse(path):
        raise PermissionError(errno.EACCES, "Permission denied", str(path))

    monkeypatch.setattr(Path, "read_bytes", refuse)
    with pytest.raises(PermissionError):
        read_properties(tmp_path / "a.pkl")


def link(path, target):
    try:
        path.symlink_to(target)
    except OSError:
        pytest.skip("this system lets nobody make links")


@pytest.mark.parametrize("path_of", [image, label])
def test_a_link_that_leads_nowhere_is_a_file_that_is_not_there_now(folders, path_of):
    path = path_of(folders)
    path.unlink()
    link(path, "../../unmounted/file.nii.gz")
    report = report_of(folders)
    assert [(f.kind, f.path, f.repair) for f in report.findings] == [("unreadable", path, None)]
    assert "bring it back" in report.findings[0].advice


def test_a_folder_that_leads_nowhere_or_cannot_be_listed_stops_the_check(folders, capsys):
    shutil.move(folders.raw / "labelsTr", folders.raw / "away")
    link(folders.raw / "labelsTr", "unmounted")
    with pytest.raises(DatasetError, match="labelsTr cannot be listed now"):
        report_of(folders)
    assert main(["check", "-i", str(folders.raw), "-np", "0", "--fix_raw"]) == 1
    assert "Nothing was checked" in capsys.readouterr().err


@pytest.mark.skipif(os.name == "nt", reason="Windows has no such file")
def test_a_pipe_is_not_waited_for(folders):
    image(folders).unlink()
    os.mkfifo(image(folders))
    assert [(f.kind, f.repair) for f in report_of(folders).findings] == [("unreadable", None)]


def test_a_name_that_is_too_long_is_no_damage(folders):
    edit_json(
        folders.raw / "dataset.json",
        numTraining=1,
        dataset={CASES[0]: {"images": ["x" * 400 + ".nii.gz"], "label": f"labelsTr/{CASES[0]}.nii.gz"}},
    )
    (found,) = [f for f in report_of(folders).findings if f.kind == "unreadable"]
    assert found.repair is None


def test_pointers_of_git_lfs_are_named_and_not_repaired_away(folders):
    for path in (image(folders), label(folders)):
        path.write_bytes(b"version https://git-lfs.github.com/spec/v1\noid sha256:4d7a\nsize 12345678\n")
    findings = report_of(folders).findings
    assert {(one.kind, one.repair) for one in findings} == {("unreadable", None)}
    assert all("pointer of Git LFS" in one.seen for one in findings)


def test_labels_of_nnunet_v1_are_told_as_such(folders):
    edit_json(folders.raw / "dataset.json", labels={"0": "background", "1": "liver", "2": "tumour"})
    (found,) = [one for one in report_of(folders).findings if one.kind == "labels"]
    assert 'with the values first: write "background": 0 instead of' in found.seen


def test_nothing_is_repaired_while_dataset_json_cannot_be_read(folders):
    for path in (folders.raw / "imagesTr").iterdir():
        path.rename(path.with_name(path.name.replace(".nii.gz", ".nrrd")))
    (fold(folders) / "Thumbs.db").touch()
    assert planned(report_of(folders), raw=False)
    truncate(folders.raw / "dataset.json")
    report = report_of(folders)
    assert planned(report, raw=True) == ()
    assert "orphan" not in {f.kind for f in report.findings}


def test_no_count_of_none_is_written(folders):
    shutil.rmtree(folders.raw / "imagesTr")
    report = report_of(folders)
    assert "num_training" in {f.kind for f in report.findings}
    assert not any(isinstance(f.repair, CountCases) for f in report.findings)


def test_files_that_dataset_json_lists_elsewhere_are_checked_and_never_moved(folders, tmp_path, capsys):
    home = tmp_path / "home"
    home.mkdir()
    (home / "key").write_text("secret", encoding="utf-8")
    (home / "thesis.docx").write_text("mine", encoding="utf-8")
    listed = {
        case: {
            "images": [f"imagesTr/{case}_{channel:04d}.nii.gz" for channel in (0, 1)],
            "label": f"labelsTr/{case}.nii.gz",
        }
        for case in CASES
    }
    evil = {"images": [str(home / "key"), "../../../home/key"], "label": "../../../home/thesis.docx"}
    edit_json(folders.raw / "dataset.json", numTraining=5, dataset={**listed, "evil": evil})
    before = everything(home)
    assert main(["check", "-i", str(folders.raw), "-np", "0", "--fix_raw", "--yes"]) == 1
    out = capsys.readouterr().out
    assert str(home / "key") in out and "lists files outside of the data set" in out
    assert everything(home) == before
    assert json.loads((folders.raw / "dataset.json").read_text(encoding="utf-8"))["dataset"]["evil"] == evil


def test_cases_that_dataset_json_lists_without_images_are_told(folders):
    edit_json(folders.raw / "dataset.json", dataset={"a": None, "b": {"images": "x"}, "c": []}, numTraining=0)
    seen = [f.seen for f in report_of(DatasetFolders("x", folders.raw, None, None)).findings]
    assert "dataset lists no images for 3 cases, such as 'a'" in seen


@pytest.mark.parametrize("identifier", ["{home}", "../../home", ".", "", "gt_segmentations", "quarantine/x"])
def test_a_configuration_of_another_folder_is_told_and_not_looked_into(folders, tmp_path, identifier):
    home = tmp_path / "nnunet" / "home"
    home.mkdir()
    for name in ("a.pkl", "b.npz", "notes.txt"):
        (home / name).write_text("mine", encoding="utf-8")
    before = everything(tmp_path / "nnunet")
    plans = json.loads((folders.preprocessed / "nnUNetPlans.json").read_text(encoding="utf-8"))
    identifier = identifier.format(home=home)
    plans["configurations"]["x"] = {"data_identifier": identifier, "inherits_from": "3d_fullres"}
    (folders.preprocessed / "nnUNetPlans.json").write_text(json.dumps(plans), encoding="utf-8")
    before |= everything(folders.preprocessed)
    check = Check(folders, n_processes=0)
    report = check.run()
    assert [(f.kind, f.repair) for f in report.findings] == [("data_identifier", None)]
    assert repr(identifier) in report.findings[0].seen
    assert repair_dataset(check, report, raw=True).journal is None
    assert everything(tmp_path / "nnunet") == before


def test_a_folder_that_is_a_link_out_of_the_data_set_is_checked_and_not_touched(folders, tmp_path):
    shutil.move(folders.results / fold(folders).parent.name, tmp_path / "shared")
    link(folders.results / "shared", tmp_path / "shared")
    shutil.move(folders.raw / "imagesTr", tmp_path / "imagesTr")
    link(folders.raw / "imagesTr", tmp_path / "imagesTr")
    truncate(image(folders))
    before = everything(tmp_path / "imagesTr") | everything(tmp_path / "shared")
    check = Check(folders, n_processes=0)
    report = check.run()
    (found,) = [f for f in report.findings if f.kind == "damaged"]
    assert found.repair is None and "lies outside of the data set" in found.advice
    repair_dataset(check, report, raw=True)
    assert everything(tmp_path / "imagesTr") | everything(tmp_path / "shared") == before


@pytest.mark.parametrize("n_test", [0, 9])
def test_more_than_half_of_the_cases_are_set_aside_only_when_told(folders, capsys, n_test):
    for path in (folders.raw / "imagesTs").iterdir():
        path.unlink()
    for i in range(n_test):  # sound scans to test on make the loss of those to train on no smaller
        shutil.copy(image(folders, CASES[3]), folders.raw / "imagesTs" / f"test_{i}_0000.nii.gz")
    for case in CASES[:3]:
        truncate(image(folders, case))
    before = everything(folders.raw)
    check = Check(folders, n_processes=0)
    report = check.run()
    with pytest.raises(RepairError, match="3 of 4 training cases would be set aside"):
        repair_dataset(check, report, raw=True)
    assert everything(folders.raw) == before
    command = ["check", "-i", str(folders.raw), "-np", "0", "--fix_raw"]
    assert main(command) == 1
    assert "--yes" in capsys.readouterr().err
    assert everything(folders.raw) == before
    assert main([*command, "--yes"]) == 0
    assert len(list((folders.raw / "imagesTr").iterdir())) == 2


def test_a_disk_that_is_not_mounted_takes_no_preprocessed_cases_along(folders):
    shutil.rmtree(folders.raw / "imagesTr")
    (folders.raw / "imagesTr").mkdir()
    check = Check(folders, n_processes=0)
    with pytest.raises(RepairError, match="4 of 4 preprocessed cases would be set aside"):
        repair_dataset(check, check.run(), raw=False)


def test_a_repair_that_finds_splits_unreadable_is_told_and_moves_nothing(folders):
    truncate(image(folders))
    truncate(folders.preprocessed / "splits_final.json")
    check = Check(folders, n_processes=0)
    repaired = repair_dataset(check, check.run(), raw=True)
    assert len(repaired.failed) == 1 and "splits_final.json cannot be read" in repaired.failed[0]
    assert image(folders).exists() and label(folders).exists()


def test_a_damaged_checkpoint_is_still_set_aside(folders):
    truncate(fold(folders) / "checkpoint_best.pth")
    assert planned(report_of(folders), raw=False) == (SetAside(fold(folders) / "checkpoint_best.pth"),)


@pytest.mark.parametrize("share", [0.5, 0.0])
def test_a_new_file_that_is_not_whole_replaces_nothing(folders, monkeypatch, share):
    DAMAGES["a_label_of_whole_floats"].apply(folders)
    before = everything(folders.raw)
    write = rewriting.write_segmentation

    def full_disk(labels, geometry, path, *, wide):
        write(labels, geometry, path, wide=wide)
        truncate(path, share)

    monkeypatch.setattr(rewriting, "write_segmentation", full_disk)
    check = Check(folders, n_processes=0)
    repaired = repair_dataset(check, check.run(), raw=False)
    assert len(repaired.failed) == 1 and repaired.done == () and repaired.journal is None
    assert everything(folders.raw) == before
