"""Scans and segmentations found by nnU-Net's names."""

import numpy as np
import pytest
import SimpleITK as sitk
from factories import write_image

from nnunet_ext.errors import UsageError
from nnunet_ext.nnunet.image_files import (
    case_of_file,
    channel_fault,
    channel_of,
    find_images,
    scan_name,
    without_channel,
)


def test_the_channel_is_four_digits_behind_a_name_and_nothing_else():
    assert (channel_of("liver_7_0003"), without_channel("liver_7_0003")) == (3, "liver_7")
    for stem in ("liver_7", "liver_00003", "_0000", "liver_0000_"):
        assert (channel_of(stem), without_channel(stem)) == (None, stem)
    assert scan_name("liver_7", 3, ".nii.gz") == "liver_7_0003.nii.gz"


@pytest.mark.parametrize("path", ["/data/liver_7.nii.gz", r"C:\val\liver_7.nii", "liver_7.b2nd", "liver_7"])
def test_a_case_is_the_name_of_its_file_on_any_system(path):
    assert case_of_file(path) == "liver_7"


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


def test_channels_are_counted_as_nnunet_counts_them(tmp_path):
    for name, n_colours in (("a", 3), ("b", 4)):
        colours = np.zeros((7, 9, n_colours), np.uint8)
        sitk.WriteImage(sitk.GetImageFromArray(colours, isVector=True), str(tmp_path / f"{name}_0000.png"))
    (a, b) = ([tmp_path / f"{name}_0000.png"] for name in "ab")
    assert channel_fault("a", a, 3, ".png") is None
    assert channel_fault("a", a, 1, ".png") is None  # its reader sees that there are three
    assert channel_fault("b", b, 3, ".png") == (
        "the scan has b_0000.png; there must be _0000.png, _0001.png, _0002.png."
    )
    one = [tmp_path / "c_0000.nii.gz"]
    assert channel_fault("c", one, 1, ".nii.gz") is None
    assert "there must be _0000.nii.gz, _0001.nii.gz" in channel_fault("c", one, 2, ".nii.gz")


@pytest.mark.parametrize(
    ("names", "cases"),
    [
        (("a_0000", "a_0001", "b_0000"), {"a": "a_0000", "b": "b_0000"}),
        (("a_0000", "b_0000", "b_mask"), {"a": "a_0000", "b": "b_0000", "b_mask": "b_mask"}),
        (("a", "a_0000", "b_0000"), {"a": "a_0000", "b": "b_0000"}),
        (("IMG_0012", "other"), {"IMG_0012": "IMG_0012", "other": "other"}),
    ],
)
def test_a_file_that_strayed_among_scans_hides_none_of_them(tmp_path, names, cases):
    for name in names:
        (tmp_path / f"{name}.nii.gz").touch()
    found = find_images(tmp_path, ".nii.gz")
    assert {case: path.name for case, path in found.items()} == {
        case: f"{name}.nii.gz" for case, name in cases.items()
    }
    assert list(found) == sorted(found)
