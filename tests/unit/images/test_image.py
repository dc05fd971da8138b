import os
import sys
from pathlib import Path

import numpy as np
import pytest
import SimpleITK as sitk
from factories import geometry, write_image

from nnunet_ext.errors import GeometryMismatch, SegmentationError
from nnunet_ext.images.geometry import Geometry
from nnunet_ext.images.image import (
    as_labels,
    read_geometry,
    read_segmentation,
    read_voxels,
    write_segmentation,
)


@pytest.mark.parametrize("ending", [".nii.gz", ".nrrd", ".mha"])
def test_export_and_read_back_is_the_same_array_and_geometry(tmp_path, ending):
    array = np.random.default_rng(0).integers(0, 4, (5, 7, 9)).astype(np.int64)
    path = tmp_path / f"case{ending}"
    write_segmentation(array, geometry(), path)
    back, grid = read_segmentation(path)
    assert back.dtype == np.uint8
    np.testing.assert_array_equal(back, array)
    assert grid.differences(geometry()) == []
    assert read_geometry(path) == grid
    assert [p.name for p in tmp_path.iterdir()] == [path.name]


def test_a_plane_is_written_in_2d_with_or_without_its_slice_axis(tmp_path):
    plane = np.arange(63).reshape(7, 9) % 3
    for name, array in (("a", plane), ("b", plane[None])):
        write_segmentation(array, geometry((7, 9)), tmp_path / f"{name}.nii.gz")
        back, grid = read_segmentation(tmp_path / f"{name}.nii.gz")
        np.testing.assert_array_equal(back, plane)
        assert grid.shape == (7, 9)


def test_labels_above_255_are_refused_unless_uint16_is_asked_for(tmp_path):
    array = np.full((5, 7, 9), 300)
    with pytest.raises(SegmentationError, match="300"):
        write_segmentation(array, geometry(), tmp_path / "a.nii.gz")
    assert list(tmp_path.iterdir()) == []
    write_segmentation(array, geometry(), tmp_path / "a.nii.gz", wide=True)
    assert read_segmentation(tmp_path / "a.nii.gz")[0].dtype == np.uint16


def test_negative_labels_and_other_shapes_are_refused(tmp_path):
    with pytest.raises(SegmentationError, match="-1"):
        write_segmentation(np.full((5, 7, 9), -1), geometry(), tmp_path / "a.nii.gz")
    with pytest.raises(GeometryMismatch, match=r"\(5, 9, 7\)"):
        write_segmentation(np.zeros((5, 9, 7), int), geometry(), tmp_path / "a.nii.gz")


def test_float_labels_next_to_integers_are_integers_and_others_are_refused():
    np.testing.assert_array_equal(as_labels(np.array([1.00000002, 0.9999, 2.0]), "x"), [1, 1, 2])
    with pytest.raises(SegmentationError, match=r"1\.2"):
        as_labels(np.array([0.0, 1.2]), "x")
    with pytest.raises(SegmentationError, match="finite"):
        as_labels(np.array([0.0, np.nan]), "x")


@pytest.mark.parametrize("ending", [".nii.gz", ".nii"])
def test_a_truncated_segmentation_is_not_read_as_one_with_zeros(tmp_path, ending):
    labels = np.random.default_rng(0).integers(0, 4, (5, 7, 9), np.uint8)
    path = write_image(tmp_path / f"case{ending}", labels)
    path.write_bytes(path.read_bytes()[:-40])
    with pytest.raises(SegmentationError, match="is truncated"):
        read_segmentation(path)


def test_damaged_and_missing_images_are_named(tmp_path):
    damaged = tmp_path / "a.nii.gz"
    damaged.write_bytes(b"no image")
    with pytest.raises(SegmentationError, match=r"a\.nii\.gz"):
        read_segmentation(damaged)
    with pytest.raises(SegmentationError, match="does not exist"):
        read_geometry(tmp_path / "b.nii.gz")


LABELS = np.random.default_rng(0).integers(0, 4, (5, 7, 9), np.uint8)


@pytest.mark.skipif(sys.platform != "linux", reason="other systems allow no such names")
def test_a_name_that_is_not_utf8_is_refused_and_does_not_end_the_process(tmp_path):
    path = tmp_path / os.fsdecode(b"M\xfcller.nii.gz")
    whole = write_image(tmp_path / "whole.nii.gz", LABELS)
    path.write_bytes(whole.read_bytes())
    for act in (read_geometry, read_segmentation, lambda p: write_segmentation(LABELS, geometry(), p)):
        with pytest.raises(
            SegmentationError, match=r"M\\xfcller\.nii\.gz has a name that is not UTF-8: rename"
        ):
            act(path)


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="this system has no named pipes")
def test_a_pipe_is_refused_before_it_is_opened(tmp_path):
    os.mkfifo(tmp_path / "a.nii.gz")
    with pytest.raises(SegmentationError, match="is a named pipe"):
        read_segmentation(tmp_path / "a.nii.gz")
    (tmp_path / "b.nii.gz").mkdir()
    with pytest.raises(SegmentationError, match="is a folder"):
        read_geometry(tmp_path / "b.nii.gz")


def test_a_label_that_is_nan_is_not_read_as_background(tmp_path):
    path = write_image(tmp_path / "a.nii.gz", np.where(LABELS == 3, np.nan, LABELS).astype(np.float32))
    with pytest.raises(SegmentationError, match=f"{(LABELS == 3).sum()} of 315 voxels are NaN"):
        read_segmentation(path)
    assert read_voxels(path)[0].shape == LABELS.shape


@pytest.mark.parametrize("ending", [".nii.gz", ".nii", ".nrrd", ".mha", ".tif"])
def test_what_a_full_disk_cuts_off_gets_no_name(tiff_folder, monkeypatch, ending):
    write = sitk.WriteImage

    def on_a_full_disk(image, name, *more):
        write(image, name, *more)
        os.truncate(name, Path(name).stat().st_size * 3 // 4)

    monkeypatch.setattr(sitk, "WriteImage", on_a_full_disk)
    path = tiff_folder / f"a{ending}"
    path.write_bytes(b"an older one")
    with pytest.raises(OSError, match=r"not written whole .* is the disk full\? \d+ bytes are free"):
        write_segmentation(LABELS, Geometry.of_array(LABELS.shape), path)
    assert path.read_bytes() == b"an older one"
    assert not [one for one in tiff_folder.iterdir() if one.name.startswith(".part")]


@pytest.mark.parametrize("name", ["a.nii.nii.gz", "b.nii.gz.nii.gz", "c.hdr.nii.gz", "d.nii.nii"])
def test_a_case_whose_name_ends_like_an_image_is_written_under_its_own(tmp_path, name):
    write_segmentation(LABELS, geometry(), tmp_path / name)
    assert [path.name for path in tmp_path.iterdir()] == [name]
    np.testing.assert_array_equal(read_segmentation(tmp_path / name)[0], LABELS)


def test_a_segmentation_in_colours_is_refused_by_name(tmp_path):
    colours = np.zeros((7, 9, 3), np.uint8)
    sitk.WriteImage(sitk.GetImageFromArray(colours, isVector=True), str(tmp_path / "a.png"))
    with pytest.raises(SegmentationError, match=r"a\.png has 3 values a voxel"):
        read_segmentation(tmp_path / "a.png")


def test_a_value_between_labels_is_told_as_a_plain_number():
    with pytest.raises(SegmentationError, match=r"^a holds 0\.9882, which is no label"):
        as_labels(np.array([0, 0.9882], np.float32), "a")
