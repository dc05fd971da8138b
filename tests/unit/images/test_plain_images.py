"""Grids of TIFF volumes, whose spacing lies in a file beside them."""

import json

import numpy as np
import pytest

from nnunet_ext.errors import SegmentationError
from nnunet_ext.images.geometry import Geometry
from nnunet_ext.images.image import (
    read_geometry,
    read_segmentation,
    write_segmentation,
)

LABELS = np.random.default_rng(0).integers(0, 4, (5, 7, 9), np.uint8)


def test_a_tif_volume_has_its_spacing_in_a_file_beside_it(tiff_folder):
    grid = Geometry.of_array((5, 7, 9), (3.0, 0.5, 0.25))
    write_segmentation(LABELS, grid, tiff_folder / "a.tif")
    assert json.loads((tiff_folder / "a.json").read_text(encoding="utf-8")) == {"spacing": [3.0, 0.5, 0.25]}
    back, found = read_segmentation(tiff_folder / "a.tif")
    np.testing.assert_array_equal(back, LABELS)
    assert found == grid
    (tiff_folder / "a.tif").rename(tiff_folder / "a_0000.tif")  # as a channel of a scan has it
    assert read_geometry(tiff_folder / "a_0000.tif") == grid
    (tiff_folder / "a.json").unlink()
    assert read_geometry(tiff_folder / "a_0000.tif") == Geometry.of_array((5, 7, 9))


def test_a_tif_volume_of_one_slice_stays_a_volume(tiff_folder):
    grid = Geometry.of_array((1, 7, 9), (3.0, 0.5, 0.25))
    write_segmentation(LABELS[:1], grid, tiff_folder / "a.tif")
    back, found = read_segmentation(tiff_folder / "a.tif")
    np.testing.assert_array_equal(back, LABELS[:1])
    assert found == grid


@pytest.mark.parametrize(
    "content", ["{", "[]", '{"spacing": [1, 1]}', '{"spacing": [1, 1, 0]}', '{"spacing": 1}']
)
def test_a_file_beside_a_tif_volume_that_holds_no_spacing_is_named(tiff_folder, content):
    write_segmentation(LABELS, Geometry.of_array((5, 7, 9)), tiff_folder / "a.tif")
    (tiff_folder / "a.json").write_text(content, encoding="utf-8")
    with pytest.raises(SegmentationError, match=r"a\.json holds"):
        read_geometry(tiff_folder / "a.tif")
