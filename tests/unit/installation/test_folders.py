import shutil
from types import SimpleNamespace

import pytest

from nnunet_ext.installation import folders
from nnunet_ext.installation.folders import GIB, check_folder, check_folders


@pytest.fixture(autouse=True)
def room(monkeypatch):
    """A disk with plenty of room, or with as much as a test says."""

    def leave(gib):
        monkeypatch.setattr(shutil, "disk_usage", lambda _: SimpleNamespace(free=gib * GIB))

    leave(500)
    monkeypatch.setattr(folders, "IS_WINDOWS", False)
    return leave


def test_each_of_the_three_has_its_finding(tmp_path):
    found = check_folders({"nnUNet_raw": str(tmp_path)})
    assert [(finding.subject, finding.severity) for finding in found] == [
        ("nnUNet_raw", "ok"), ("nnUNet_preprocessed", "warning"), ("nnUNet_results", "warning"),
    ]  # fmt: skip


@pytest.mark.parametrize("value", [None, "", "  "])
def test_an_unset_or_blank_folder_is_a_warning(value):
    finding = check_folder("nnUNet_raw", value)
    assert finding.severity == "warning"
    assert "nnunet_ext env" in finding.advice


@pytest.mark.parametrize("form", ['"{}"', "'{}'", " {}", "{} ", '"{}', ' "{}" '])
def test_quotes_and_blanks_around_a_path_are_an_error_that_gives_the_right_path(form, tmp_path):
    finding = check_folder("nnUNet_raw", form.format(tmp_path))
    assert finding.severity == "error"
    assert f"Set it to {tmp_path} only" in finding.advice


def test_a_folder_not_made_yet_is_a_warning_but_one_beside_none_is_an_error(tmp_path):
    assert check_folder("nnUNet_results", str(tmp_path / "new")).severity == "warning"
    assert check_folder("nnUNet_results", str(tmp_path / "no" / "new")).severity == "error"


def test_a_file_is_no_folder(tmp_path):
    (tmp_path / "file").touch()
    finding = check_folder("nnUNet_results", str(tmp_path / "file"))
    assert (finding.severity, "is no folder" in finding.seen) == ("error", True)


@pytest.mark.parametrize(("name", "severity"), [("nnUNet_raw", "ok"), ("nnUNet_results", "error")])
def test_only_raw_data_may_be_read_only(name, severity, tmp_path, monkeypatch):
    monkeypatch.setattr(folders.os, "access", lambda _, mode: not mode & folders.os.W_OK)
    assert check_folder(name, str(tmp_path)).severity == severity


@pytest.mark.parametrize(("gib", "severity"), [(20, "ok"), (19, "warning"), (0.5, "error")])
def test_little_room_is_a_warning_and_none_an_error(gib, severity, tmp_path, room):
    room(gib)
    assert check_folder("nnUNet_preprocessed", str(tmp_path)).severity == severity
    assert check_folder("nnUNet_raw", str(tmp_path)).severity == "ok"


def test_windows_is_warned_of_letters_at_which_nnunet_fails(monkeypatch):
    odd = {"nnUNet_raw": "C:\\Müller\\raw", "nnUNet_results": "C:\\plain", "nnUNet_preprocessed": "D:\\é"}
    assert len(check_folders(odd)) == 3
    monkeypatch.setattr(folders, "IS_WINDOWS", True)
    *_, finding = check_folders(odd)
    assert (finding.subject, finding.severity) == ("nnUNet_raw and nnUNet_preprocessed", "warning")
    assert "Müller" in finding.seen
    assert len(check_folders({"nnUNet_raw": "C:\\plain"})) == 3
