import zipfile

import numpy as np
import pytest
from factories import geometry, labels, write_image

from nnunet_ext.geometry import Geometry
from nnunet_ext.labels import Dataset
from nnunet_ext.submission.verify import verify_archive

DATASET = Dataset(labels(), ".nii.gz")
GOOD = np.random.default_rng(0).integers(0, 4, (5, 7, 9)).astype(np.uint8)


@pytest.fixture
def scans(tmp_path):
    names = ("a", "b")
    return {
        n: write_image(tmp_path / "imagesTs" / f"{n}_0000.nii.gz", GOOD.astype(np.float32)) for n in names
    }


def make_zip(folder, entries):
    path = folder / "submission.zip"
    with zipfile.ZipFile(path, "w") as archive:
        for name, content in entries:
            is_array = isinstance(content, np.ndarray)
            archive.writestr(
                name, write_image(folder / "one.nii.gz", content).read_bytes() if is_array else content
            )
    return path


def messages(path, scans):
    return [str(finding) for finding in verify_archive(path, DATASET, scans).findings]


def test_a_right_zip_has_no_findings(tmp_path, scans):
    path = make_zip(tmp_path, [("a.nii.gz", GOOD), ("b.nii.gz", GOOD)])
    verification = verify_archive(path, DATASET, scans)
    assert verification.ok and verification.n_cases == 2 and verification.findings == ()


OTHERS = GOOD.astype(np.float64) * 1.00000002
WIDE = GOOD.astype(np.int16)
STRANGE = np.where(GOOD == 3, 9, GOOD)


@pytest.mark.parametrize(
    ("entry", "parts"),
    [
        (("b.nii.gz", OTHERS), ["float64", "1.00000002"]),
        (("b.nii.gz", WIDE), ["int16"]),
        (("b.nii.gz", STRANGE), ["holds 9"]),
        (("b.nii.gz", b"no image"), ["cannot be read"]),
        (("folder/b.nii.gz", GOOD), ["lies in a folder"]),
        (("folder\\b.nii.gz", GOOD), ["lies in a folder"]),
        (("b.nrrd", GOOD), ["does not end in .nii.gz", "b: the case is missing"]),
        (("c.nii.gz", GOOD), ["no case of the scans", "b: the case is missing"]),
    ],
)
def test_each_fault_is_named_once_with_its_file(tmp_path, scans, entry, parts):
    path = make_zip(tmp_path, [("a.nii.gz", GOOD), entry])
    found = messages(path, scans)
    for part in parts:
        assert sum(part in message for message in found) == 1, found
    assert all(message.startswith("error: ") for message in found)
    assert not verify_archive(path, DATASET, scans).ok


def test_several_faults_of_one_file_are_all_listed(tmp_path, scans):
    path = make_zip(tmp_path, [("a.nii.gz", GOOD), ("x/b.nii.gz", np.where(GOOD == 3, 9.5, GOOD))])
    found = "\n".join(messages(path, scans))
    for part in ("lies in a folder", "float64", "9.5"):
        assert part in found


def test_junk_and_folder_entries_are_named(tmp_path, scans):
    good = [("a.nii.gz", GOOD), ("b.nii.gz", GOOD)]
    path = make_zip(tmp_path, [*good, ("__MACOSX/._a.nii.gz", b"x"), ("._b.nii.gz", b"x"), ("empty/", b"")])
    found = messages(path, scans)
    assert len(found) == 3
    assert sum("macOS" in message for message in found) == 2
    assert sum("it is a folder" in message for message in found) == 1


def test_an_empty_zip_and_one_that_lacks_a_case(tmp_path, scans):
    assert any("empty" in m for m in messages(make_zip(tmp_path, []), scans))
    assert messages(make_zip(tmp_path, [("a.nii.gz", GOOD)]), scans) == ["error: b: the case is missing"]


def test_a_file_that_is_no_zip_or_not_there(tmp_path, scans):
    path = tmp_path / "submission.zip"
    assert "does not exist" in messages(path, scans)[0]
    path.write_bytes(b"PK nothing")
    assert "no readable zip" in messages(path, scans)[0]


def test_a_damaged_member_is_named(tmp_path, scans):
    path = make_zip(tmp_path, [("a.nii.gz", GOOD), ("b.nii.gz", GOOD)])
    whole = bytearray(path.read_bytes())
    whole[len(whole) // 4] ^= 0xFF
    path.write_bytes(whole)
    assert [m for m in messages(path, scans) if "a.nii.gz: it cannot be read" in m]


def test_another_geometry_is_told_with_both_values(tmp_path, scans):
    moved = write_image(tmp_path / "moved.nii.gz", GOOD, Geometry.of_array((5, 7, 9), (3.0, 0.8, 0.7)))
    path = make_zip(tmp_path, [("a.nii.gz", GOOD), ("b.nii.gz", moved.read_bytes())])
    (found,) = messages(path, scans)
    assert "origin (0, 0, 0) and (-12.5, 30.25, 7)" in found and "direction" in found


def test_an_all_background_case_is_a_warning(tmp_path, scans):
    path = make_zip(tmp_path, [("a.nii.gz", GOOD), ("b.nii.gz", np.zeros_like(GOOD))])
    verification = verify_archive(path, DATASET, scans)
    assert verification.ok
    assert "all background" in str(verification.findings[0])


def test_geometry_helper_is_what_the_scans_have(scans):
    from nnunet_ext.volumes import read_geometry

    assert read_geometry(scans["a"]).differences(geometry()) == []
