import numpy as np
import pytest
from factories import geometry, write_image

from nnunet_ext.errors import GeometryMismatch, SegmentationError, UsageError
from nnunet_ext.volumes import as_labels, find_images, read_geometry, read_segmentation, write_segmentation


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


def test_cases_of_scans_lose_their_channel_and_segmentations_keep_their_digits(tmp_path):
    for name in ("p_1_0000", "p_1_0001", "p_2_0000"):
        write_image(tmp_path / f"{name}.nii.gz", np.zeros((5, 7, 9), np.float32))
    (tmp_path / "._p_1_0000.nii.gz").touch()
    assert find_images(tmp_path, ".nii.gz") == {
        "p_1": tmp_path / "p_1_0000.nii.gz",
        "p_2": tmp_path / "p_2_0000.nii.gz",
    }
    assert sorted(find_images(tmp_path, ".nii.gz", scans=False)) == ["p_1_0000", "p_1_0001", "p_2_0000"]


def test_a_folder_without_images_is_a_wrong_use(tmp_path):
    with pytest.raises(UsageError, match="no file"):
        find_images(tmp_path, ".nii.gz")
    with pytest.raises(UsageError, match="no folder"):
        find_images(tmp_path / "none", ".nii.gz")
