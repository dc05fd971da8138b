"""Crops keep their voxels and their places; pasting takes them back into the scan's exact geometry."""

import numpy as np
import pytest
from factories import geometry, write_image
from hypothesis import given
from hypothesis import strategies as st

from nnunet_ext.errors import GeometryMismatch, SegmentationError, UsageError
from nnunet_ext.images.image import read_geometry, read_segmentation
from nnunet_ext.roi.boxes import Box
from nnunet_ext.roi.dataset import check_ending
from nnunet_ext.roi.images import crop_file, crop_image, paste, read_image

sitk = pytest.importorskip("SimpleITK")
SHAPE = (6, 9, 11)
BOX = Box((1, 2, 4), (5, 8, 9))


def image_of(array):
    grid = geometry(array.shape)
    image = sitk.GetImageFromArray(array)
    image.SetSpacing(grid.spacing[::-1])
    image.SetOrigin(grid.origin)
    image.SetDirection(grid.direction)
    return image


@pytest.mark.parametrize("dtype", [np.int16, np.float32, np.uint8, np.float64])
def test_a_crop_keeps_voxels_type_spacing_and_direction(dtype):
    array = np.arange(np.prod(SHAPE)).reshape(SHAPE).astype(dtype)
    image = image_of(array)
    crop = crop_image(image, BOX)
    np.testing.assert_array_equal(sitk.GetArrayFromImage(crop), array[BOX.slices])
    assert sitk.GetArrayFromImage(crop).dtype == dtype
    assert crop.GetSpacing() == image.GetSpacing()
    assert crop.GetDirection() == image.GetDirection()


def test_each_voxel_of_a_crop_lies_where_it_lay_in_an_oblique_scan():
    image = image_of(np.zeros(SHAPE, np.int16))
    crop = crop_image(image, BOX)
    for index in ((0, 0, 0), (4, 5, 3), (2, 0, 1)):
        there = tuple(i + first for i, first in zip(index, BOX.start[::-1], strict=True))
        np.testing.assert_allclose(
            crop.TransformIndexToPhysicalPoint(index), image.TransformIndexToPhysicalPoint(there), atol=1e-9
        )
    assert crop.GetOrigin() != image.GetOrigin()


def test_a_crop_that_is_written_lies_where_it_lay(tmp_path):
    source = write_image(tmp_path / "scan.nii.gz", np.arange(np.prod(SHAPE), dtype=np.int16).reshape(SHAPE))
    crop_file(source, BOX, tmp_path / "crop.nii.gz")
    expected = crop_image(read_image(source), BOX)
    grid = read_geometry(tmp_path / "crop.nii.gz")
    np.testing.assert_allclose(grid.origin, expected.GetOrigin(), atol=1e-4)
    assert read_geometry(source).differences(grid)[0].startswith("shape")


def test_crops_of_the_same_scan_are_the_same_bytes(tmp_path):
    source = write_image(tmp_path / "scan.nii.gz", np.ones(SHAPE, np.int16))
    for name in ("one", "two"):
        crop_file(source, BOX, tmp_path / name / "scan.nii.gz")
    assert (tmp_path / "one" / "scan.nii.gz").read_bytes() == (tmp_path / "two" / "scan.nii.gz").read_bytes()


def test_a_flat_image_can_be_cropped():
    crop = crop_image(sitk.GetImageFromArray(np.arange(12).reshape(3, 4)), Box((1, 2), (3, 4)))
    np.testing.assert_array_equal(sitk.GetArrayFromImage(crop), [[6, 7], [10, 11]])


@given(st.integers(0, 2**32 - 1))
def test_what_is_cropped_and_pasted_is_the_scan_in_the_box_and_background_around_it(seed):
    rng = np.random.default_rng(seed)
    segmentation = rng.integers(0, 4, SHAPE).astype(np.uint8)
    start = tuple(int(rng.integers(0, n)) for n in SHAPE)
    box = Box(start, tuple(int(rng.integers(s + 1, n + 1)) for s, n in zip(start, SHAPE, strict=True)))
    crop = sitk.GetArrayFromImage(crop_image(image_of(segmentation), box))
    pasted = paste(crop, box, geometry(SHAPE))
    assert pasted.shape == SHAPE
    np.testing.assert_array_equal(pasted[box.slices], segmentation[box.slices])
    assert np.count_nonzero(pasted) == np.count_nonzero(segmentation[box.slices])


def test_a_box_outside_of_the_image_is_refused():
    with pytest.raises(GeometryMismatch, match="not inside"):
        crop_image(image_of(np.zeros(SHAPE, np.uint8)), Box((0, 0, 0), (7, 9, 11)))
    with pytest.raises(GeometryMismatch, match=r"shape \(2, 2, 2\)"):
        paste(np.zeros((2, 2, 2), np.uint8), BOX, geometry(SHAPE))


def test_a_damaged_image_is_named(tmp_path):
    (tmp_path / "scan.nii.gz").write_bytes(b"no image")
    with pytest.raises(SegmentationError, match=r"scan\.nii\.gz is no NIfTI file"):
        crop_file(tmp_path / "scan.nii.gz", BOX, tmp_path / "crop.nii.gz")
    with pytest.raises(SegmentationError, match="does not exist"):
        read_image(tmp_path / "none.nii.gz")
    assert not (tmp_path / "crop.nii.gz").exists()


def test_a_crop_of_a_truncated_scan_or_of_one_with_nan_is_refused(tmp_path):
    voxels = np.random.default_rng(0).normal(size=SHAPE).astype(np.float32)
    scan = write_image(tmp_path / "cut.nii.gz", voxels)
    scan.write_bytes(scan.read_bytes()[:-400])
    with pytest.raises(SegmentationError, match="truncated"):
        crop_file(scan, BOX, tmp_path / "crop.nii.gz")
    voxels[0, 0, 0] = np.nan
    with pytest.raises(SegmentationError, match="1 of 594 voxels are NaN or infinite"):
        crop_file(write_image(tmp_path / "nan.nii.gz", voxels), BOX, tmp_path / "crop.nii.gz")


def test_formats_without_geometry_are_refused():
    check_ending(".nii.gz")
    with pytest.raises(UsageError, match=r"\.tif hold no spacing"):
        check_ending(".tif")


def test_a_pasted_segmentation_reads_back_in_the_scans_geometry(tmp_path):
    from nnunet_ext.images.image import write_segmentation

    scan = write_image(tmp_path / "scan.nii.gz", np.zeros(SHAPE, np.int16))
    grid = read_geometry(scan)
    write_segmentation(paste(np.ones(BOX.shape, np.uint8), BOX, grid), grid, tmp_path / "out.nii.gz")
    array, written = read_segmentation(tmp_path / "out.nii.gz")
    assert written == grid
    assert array.dtype == np.uint8
