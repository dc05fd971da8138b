import os
import time
import zipfile

import numpy as np
import pytest
from factories import geometry, labels, write_image

from nnunet_ext.errors import SubmissionError
from nnunet_ext.images.geometry import Geometry
from nnunet_ext.images.image import read_segmentation
from nnunet_ext.nnunet.dataset_json import Dataset
from nnunet_ext.nnunet.image_files import find_images
from nnunet_ext.submission.submit import submit_folder, write_archive

DATASET = Dataset(labels(), ".nii.gz")
GOOD = np.random.default_rng(0).integers(0, 4, (5, 7, 9)).astype(np.uint8)


@pytest.fixture
def scans(tmp_path):
    for name in ("a", "b"):
        write_image(tmp_path / "imagesTs" / f"{name}_0000.nii.gz", GOOD.astype(np.float32))
    return find_images(tmp_path / "imagesTs", ".nii.gz")


def submit(tmp_path, scans):
    return submit_folder(tmp_path / "segmentations", tmp_path / "out.zip", DATASET, scans)


def test_float_labels_become_exact_uint8_with_the_scans_geometry(tmp_path, scans):
    write_image(tmp_path / "segmentations" / "a.nii.gz", GOOD.astype(np.float64) * 1.00000002)
    nearly = geometry()
    nearly = Geometry(nearly.shape, nearly.spacing, tuple(o + 2e-5 for o in nearly.origin), nearly.direction)
    write_image(tmp_path / "segmentations" / "b.nii.gz", GOOD.astype(np.int16), nearly)
    assert submit(tmp_path, scans).n_cases == 2
    with zipfile.ZipFile(tmp_path / "out.zip") as archive:
        assert archive.namelist() == ["a.nii.gz", "b.nii.gz"]
        archive.extractall(tmp_path / "back")
    for name in ("a", "b"):
        array, grid = read_segmentation(tmp_path / "back" / f"{name}.nii.gz")
        assert array.dtype == np.uint8
        np.testing.assert_array_equal(array, GOOD)
        assert grid.differences(geometry(), tolerance=3e-6) == []


def test_all_faults_are_told_at_once_and_no_zip_appears(tmp_path, scans):
    write_image(tmp_path / "segmentations" / "a.nii.gz", np.where(GOOD == 3, 7, GOOD))
    write_image(tmp_path / "segmentations" / "c.nii.gz", GOOD)
    with pytest.raises(SubmissionError) as caught:
        submit(tmp_path, scans)
    text = str(caught.value)
    assert "a: SegmentationError" not in text
    for part in ("a: a.nii.gz holds [7]", "b: no segmentation in", "of the scan", "c: no scan"):
        assert part in text
    assert not list(tmp_path.glob("*.zip")) and not list(tmp_path.glob(".part*"))


def test_another_grid_is_refused(tmp_path, scans):
    write_image(tmp_path / "segmentations" / "a.nii.gz", GOOD)
    write_image(tmp_path / "segmentations" / "b.nii.gz", GOOD, Geometry.of_array((5, 7, 9)))
    with pytest.raises(SubmissionError, match=r"b: segmentation and b_0000\.nii\.gz differ: spacing"):
        submit(tmp_path, scans)


def test_the_same_inputs_give_the_same_bytes(tmp_path, scans, monkeypatch):
    for name in ("b", "a"):
        write_image(tmp_path / "segmentations" / f"{name}.nii.gz", GOOD)
    submit(tmp_path, scans)
    first = (tmp_path / "out.zip").read_bytes()
    later_s = time.time() + 60  # zip stamps have steps of two seconds
    for name in ("a", "b"):
        os.utime(tmp_path / "segmentations" / f"{name}.nii.gz", (later_s, later_s))
    monkeypatch.setattr(time, "time", lambda: later_s)
    submit(tmp_path, scans)
    assert (tmp_path / "out.zip").read_bytes() == first


def test_an_archive_is_flat_sorted_and_stamped_alike(tmp_path):
    files = []
    for name in ("b.txt", "a.txt"):
        path = tmp_path / "deep" / name
        path.parent.mkdir(exist_ok=True)
        path.write_text(name, encoding="utf-8")
        files.append(path)
    write_archive(files, tmp_path / "x.zip")
    with zipfile.ZipFile(tmp_path / "x.zip") as archive:
        assert [(info.filename, info.date_time) for info in archive.infolist()] == [
            ("a.txt", (1980, 1, 1, 0, 0, 0)),
            ("b.txt", (1980, 1, 1, 0, 0, 0)),
        ]
        assert archive.testzip() is None


def test_a_disk_that_takes_no_zip_is_told_and_nothing_is_left(tmp_path, scans, monkeypatch):
    for name in ("a", "b"):
        write_image(tmp_path / "segmentations" / f"{name}.nii.gz", GOOD)

    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("nnunet_ext.submission.submit.write_archive", full)
    with pytest.raises(SubmissionError, match="No space left on device"):
        submit(tmp_path, scans)
    assert not list(tmp_path.glob("*.zip")) and not list(tmp_path.glob(".part*"))
