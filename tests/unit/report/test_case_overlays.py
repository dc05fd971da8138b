import numpy as np
import pytest
from factories import geometry, write_image
from reported import SHAPE, labels, scan

from nnunet_ext.errors import GeometryMismatch, SegmentationError
from nnunet_ext.images.geometry import Geometry
from nnunet_ext.report.case_overlays import OverlayFiles, read_overlay


@pytest.fixture
def files(tmp_path):
    scan_path = write_image(tmp_path / "scan.nii.gz", scan(), geometry(SHAPE))
    return OverlayFiles("heart", scan_path, write_image(tmp_path / "seg.nii.gz", labels(), geometry(SHAPE)))


def test_a_case_is_read_with_its_spacing(files):
    case = read_overlay(files)
    assert case.spacing_mm == pytest.approx((3.0, 0.8, 0.7)) and case.scan.shape == SHAPE
    assert not case.shows_error and case.reference is None


def test_with_a_reference_the_error_is_shown(files, tmp_path):
    reference = write_image(tmp_path / "ref.nii.gz", labels(1).astype(np.float32), geometry(SHAPE))
    case = read_overlay(OverlayFiles("heart", files.scan, files.segmentation, reference))
    assert case.shows_error and np.array_equal(case.reference, labels(1))


def test_another_grid_and_a_missing_file_are_refused(files, tmp_path):
    other = write_image(tmp_path / "other.nii.gz", labels(), Geometry.of_array(SHAPE))
    with pytest.raises(GeometryMismatch, match="spacing"):
        read_overlay(OverlayFiles("heart", files.scan, other))
    with pytest.raises(SegmentationError, match="does not exist"):
        read_overlay(OverlayFiles("heart", tmp_path / "none.nii.gz", files.segmentation))


def test_a_2d_image_in_colours_becomes_a_gray_slice(tmp_path):
    import SimpleITK as sitk

    colours = sitk.GetImageFromArray(np.full((8, 6, 3), (10, 20, 30), np.uint8), isVector=True)
    sitk.WriteImage(colours, str(tmp_path / "a.png"))
    sitk.WriteImage(sitk.GetImageFromArray(np.ones((8, 6), np.uint8)), str(tmp_path / "b.png"))
    case = read_overlay(OverlayFiles("flat", tmp_path / "a.png", tmp_path / "b.png"))
    assert case.scan.shape == case.segmentation.shape == (1, 8, 6)
    assert np.allclose(case.scan, 20)
