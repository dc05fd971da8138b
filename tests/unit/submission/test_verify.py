import gzip
import os
import zipfile

import numpy as np
import pytest
from factories import geometry, labels, write_image

from nnunet_ext.images.geometry import Geometry
from nnunet_ext.nnunet.dataset_json import Dataset
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
    folder.mkdir(exist_ok=True)
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


def test_what_other_readers_refuse_is_named(tmp_path, scans):
    whole = write_image(tmp_path / "one.nii.gz", GOOD).read_bytes()
    plain = gzip.decompress(whole)
    scaled = bytearray(plain)
    scaled[112:116] = np.float32(np.nan).tobytes()
    for content, part in (
        (plain, "it is not gzipped"),
        (gzip.compress(plain + b"more"), "bytes follow behind its voxels"),
        (whole + b"more", "followed by bytes that are no gzip"),
        (gzip.compress(bytes(scaled)), "its scale is nan"),
    ):
        found = messages(make_zip(tmp_path, [("a.nii.gz", GOOD), ("b.nii.gz", content)]), scans)
        assert [message for message in found if part in message and "b.nii.gz" in message], found


@pytest.mark.parametrize(("method", "name"), [(zipfile.ZIP_LZMA, "lzma"), (zipfile.ZIP_BZIP2, "bzip2")])
def test_ways_of_compression_that_not_every_reader_knows_are_named(tmp_path, scans, method, name):
    path = make_zip(tmp_path, [("a.nii.gz", GOOD)])
    with zipfile.ZipFile(path, "a", method) as archive:
        archive.writestr("b.nii.gz", (tmp_path / "one.nii.gz").read_bytes())
    (found,) = messages(path, scans)
    assert f"({name})" in found and "store or deflate it" in found


def test_what_takes_more_than_its_scan_allows_is_not_unpacked(tmp_path, scans):
    path = make_zip(tmp_path, [("a.nii.gz", GOOD)])
    with zipfile.ZipFile(path, "a", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("b.nii.gz", bytes(2_000_000))
    (found,) = messages(path, scans)
    assert "was not unpacked: it takes 2000000 bytes; its scan allows 1051096 at most" in found


def test_an_image_that_claims_more_voxels_than_its_scan_is_not_read(tmp_path, scans):
    header = bytearray(gzip.decompress(write_image(tmp_path / "one.nii.gz", GOOD).read_bytes())[:352])
    header[40:56] = np.array([3, 30000, 30000, 3000, 1, 1, 1, 1], np.int16).tobytes()
    path = make_zip(tmp_path, [("a.nii.gz", GOOD), ("b.nii.gz", gzip.compress(bytes(header)))])
    shape, voxels = messages(path, scans)
    assert "shape (3000, 30000, 30000) and (5, 7, 9)" in shape
    assert "2700000000000 voxels were not read: 315 at most are" in voxels


def test_more_entries_than_scans_allow_are_counted_and_not_listed(tmp_path, scans):
    path = tmp_path / "many.zip"
    with zipfile.ZipFile(path, "w") as archive:
        for number in range(200):
            archive.writestr(f"t{number}.nii.gz", b"")
    (found,) = messages(path, scans)
    assert "it holds 200 entries; more than 120 are not looked at" in found


def test_a_link_is_no_segmentation(tmp_path, scans):
    path = make_zip(tmp_path, [("a.nii.gz", GOOD)])
    link = zipfile.ZipInfo("b.nii.gz")
    link.external_attr = 0o120777 << 16
    with zipfile.ZipFile(path, "a") as archive:
        archive.writestr(link, "/etc/passwd")
    (found,) = messages(path, scans)
    assert "it is a link" in found


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="this system has no named pipes")
def test_a_pipe_is_not_opened(tmp_path, scans):
    os.mkfifo(tmp_path / "a.zip")
    (found,) = messages(tmp_path / "a.zip", scans)
    assert "is a named pipe" in found


def test_nothing_is_left_beside_the_zip(tmp_path, scans):
    path = make_zip(tmp_path / "sub", [("a.nii.gz", GOOD), ("b.nii.gz", GOOD)])
    messages(path, scans)
    assert sorted(one.name for one in path.parent.iterdir()) == ["one.nii.gz", path.name]


def test_an_all_background_case_is_a_warning(tmp_path, scans):
    path = make_zip(tmp_path, [("a.nii.gz", GOOD), ("b.nii.gz", np.zeros_like(GOOD))])
    verification = verify_archive(path, DATASET, scans)
    assert verification.ok
    assert "all background" in str(verification.findings[0])


def test_geometry_helper_is_what_the_scans_have(scans):
    from nnunet_ext.images.image import read_geometry

    assert read_geometry(scans["a"]).differences(geometry()) == []
