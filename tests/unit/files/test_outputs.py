"""Nothing of others is replaced without being asked for, and nothing is computed that cannot be written."""

import json
import sys
import zipfile

import pytest

from nnunet_ext.errors import UsageError
from nnunet_ext.files.outputs import (
    begins_with,
    check_file,
    check_segmentations,
    contains,
    has_keys,
    is_zip_of,
    make_folder,
)


def test_a_folder_is_made_and_left_empty(tmp_path):
    make_folder(tmp_path / "a" / "b")
    assert list((tmp_path / "a" / "b").iterdir()) == []


def test_a_file_in_place_of_a_folder_is_told(tmp_path):
    (tmp_path / "a").write_text("mine", encoding="utf-8")
    for folder in (tmp_path / "a", tmp_path / "a" / "b"):
        with pytest.raises(UsageError, match="Nothing can be written to"):
            make_folder(folder)
    assert (tmp_path / "a").read_text(encoding="utf-8") == "mine"


def test_segmentations_of_others_are_not_replaced(tmp_path):
    (tmp_path / "b.nii.gz").write_bytes(b"a reference")
    check_segmentations(tmp_path, ["a.nii.gz"], overwrite=False)
    with pytest.raises(UsageError, match=r"holds 1 files .*: b.nii.gz. .* --overwrite"):
        check_segmentations(tmp_path, ["a.nii.gz", "b.nii.gz"], overwrite=False)
    check_segmentations(tmp_path, ["b.nii.gz"], overwrite=True)
    (tmp_path / "ensemble_report_1_of_2.json").write_text("{}", encoding="utf-8")  # of an older version
    check_segmentations(tmp_path, ["b.nii.gz"], overwrite=False)


def test_a_run_makes_only_its_own_segmentations_ours(tmp_path):
    (tmp_path / "b.nii.gz").write_bytes(b"a prediction of nnU-Net")
    first = check_segmentations(tmp_path, ["a.nii.gz"], overwrite=False)
    (tmp_path / "a.nii.gz").write_bytes(b"ours")
    (tmp_path / "ensemble_report_1of2.json").write_text(json.dumps(first), encoding="utf-8")
    with pytest.raises(UsageError, match=r"holds 1 files .*: b\.nii\.gz\. "):
        check_segmentations(tmp_path, ["a.nii.gz", "b.nii.gz"], overwrite=False)
    second = check_segmentations(tmp_path, ["c.nii.gz"], overwrite=False)
    (tmp_path / "ensemble_report_1of2.json").write_text(json.dumps(second), encoding="utf-8")
    (tmp_path / "c.nii.gz").write_bytes(b"ours")
    check_segmentations(tmp_path, ["a.nii.gz", "c.nii.gz"], overwrite=False)
    check_segmentations(tmp_path, ["b.nii.gz"], overwrite=True)


@pytest.mark.skipif(sys.platform == "win32", reason="needs a link")
def test_a_link_that_leads_nowhere_is_a_file_of_others(tmp_path):
    (tmp_path / "a.zip").symlink_to(tmp_path / "elsewhere" / "a.zip")
    with pytest.raises(UsageError, match="is there"):
        check_file(tmp_path / "a.zip", is_zip_of([".nii.gz"]), "a submission")


def zip_of(path, *names):
    with zipfile.ZipFile(path, "w") as archive:
        for name in names:
            archive.writestr(name, b"")
    return path


def test_only_a_zip_of_segmentations_is_a_submission(tmp_path):
    ours = is_zip_of([".nii.gz"])
    assert ours(zip_of(tmp_path / "a.zip", "a.nii.gz", "b.nii.gz"))
    assert not ours(zip_of(tmp_path / "b.zip", "thesis.docx", "b.nii.gz"))
    assert not ours(zip_of(tmp_path / "c.zip", "folder/b.nii.gz"))
    (tmp_path / "scan.nii.gz").write_bytes(b"\x1f\x8b")
    assert not ours(tmp_path / "scan.nii.gz")


def test_files_of_a_verb_are_known_by_what_is_in_them(tmp_path):
    file = tmp_path / "a"
    file.write_text(json.dumps([{"a": 1, "b": 2}, {"a": 1, "b": 3, "c": 4}]), encoding="utf-8")
    assert has_keys("a", "b")(file) and not has_keys("c")(file)
    assert begins_with("[{")(file) and not begins_with("{")(file)
    assert contains('"c"')(file) and not contains("d")(file)
    check_file(file, has_keys("a"), "a list of things")
    for other in (has_keys("c"), begins_with("x"), is_zip_of([".nii.gz"])):
        with pytest.raises(UsageError, match=r"not a list of things .*--overwrite"):
            check_file(file, other, "a list of things")
    file.write_text("no json", encoding="utf-8")
    with pytest.raises(UsageError, match="not a list"):
        check_file(file, has_keys("a"), "a list of things")
    check_file(file, has_keys("a"), "a list of things", overwrite=True)
    with pytest.raises(UsageError, match="is a folder"):
        check_file(tmp_path, has_keys("a"), "a list of things", overwrite=True)
