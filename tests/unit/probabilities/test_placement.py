import json

import numpy as np
import pytest
from factories import geometry, sitk_properties

from nnunet_ext.errors import DatasetError, GeometryMismatch
from nnunet_ext.images.geometry import Geometry
from nnunet_ext.nnunet.plans import reader_beside
from nnunet_ext.probabilities.placement import Placement, Turn, placement_by_reader, placement_of_properties

TURNED = Placement(Geometry.of_array((5, 7, 9)), Turn((2, 0, 1), (True, False, True)))


def straight(properties, shape):
    placement = placement_of_properties(properties, shape)
    assert placement is not None and placement.turn == Turn()
    return placement.file


def test_readers_that_keep_the_axes_tell_the_grid_of_the_scan():
    assert straight(sitk_properties(geometry()), (5, 7, 9)) == geometry()
    assert straight(sitk_properties(geometry((7, 9))), (1, 7, 9)) == geometry((7, 9))


def test_nibabels_affine_is_turned_to_itks_axes():
    affine = np.array([[-0.7, 0, 0, 12.5], [0, -0.8, 0, -30.25], [0, 0, 3.0, 7], [0, 0, 0, 1.0]])
    found = straight({"nibabel_stuff": {"original_affine": affine}, "spacing": [3, 0.8, 0.7]}, (5, 7, 9))
    lps = Geometry((5, 7, 9), (3.0, 0.8, 0.7), (-12.5, 30.25, 7.0), (1.0, 0, 0, 0, 1.0, 0, 0, 0, 1.0))
    assert found.differences(lps) == []


def test_a_natural_image_is_flat_and_a_tif_volume_of_one_slice_is_not():
    assert straight({"spacing": (999, 1, 1)}, (1, 7, 9)) == Geometry.of_array((7, 9))
    assert straight({"spacing": [3.0, 0.5, 0.5]}, (1, 7, 9)).shape == (1, 7, 9)


def test_an_array_comes_back_from_the_axes_of_the_file_and_its_voxels_are_the_same_ones():
    array = np.arange(5 * 7 * 9).reshape(TURNED.shape)
    of_file = TURNED.to_file(array)
    assert TURNED.shape == (7, 9, 5) and of_file.shape == (5, 7, 9)
    np.testing.assert_array_equal(TURNED.to_reader(of_file), array)
    voxels = np.array([0, 17, 200, 314])
    moved = TURNED.voxels_in_file(voxels)
    np.testing.assert_array_equal(of_file.reshape(-1)[moved], array.reshape(-1)[voxels])


def test_affines_that_contradict_each_other_tell_nothing():
    original = np.diag([-0.7, -0.8, 3.0, 1.0])
    ras = np.diag([0.7, 0.8, 3.0, 1.0])  # the first voxel of a turned scan is not the file's first
    stuff = {"original_affine": original, "reoriented_affine": ras}
    assert placement_of_properties({"nibabel_stuff": stuff, "spacing": [3, 0.8, 0.7]}, (5, 7, 9)) is None
    stuff["reoriented_affine"] = np.diag([1.4, 0.8, 3.0, 1.0])
    assert placement_of_properties({"nibabel_stuff": stuff, "spacing": [3, 0.8, 0.7]}, (5, 7, 9)) is None


def test_properties_of_somebody_elses_reader_tell_nothing():
    assert placement_of_properties({"spacing": [3, 0.8, 0.7], "my_stuff": 1}, (5, 7, 9)) is None
    itk = {**sitk_properties(geometry())["sitk_stuff"], "transposed": True}
    assert placement_of_properties({"sitk_stuff": itk, "spacing": [3, 0.8, 0.7]}, (5, 7, 9)) is None


def test_a_plane_is_turned_by_no_reader_and_a_strangers_reader_is_refused():
    assert placement_by_reader("NibabelIOWithReorient", geometry((7, 9))).turn == Turn()
    with pytest.raises(GeometryMismatch, match="MyReader is none of nnU-Net's own"):
        placement_by_reader("MyReader", geometry())


def test_the_reader_is_that_of_the_plans_before_that_of_the_dataset_json(tmp_path):
    folder = tmp_path / "fold_0" / "validation"
    folder.mkdir(parents=True)
    assert reader_beside(folder) is None
    dataset = {"overwrite_image_reader_writer": "NibabelIO"}
    (tmp_path / "dataset.json").write_text(json.dumps(dataset), encoding="utf-8")
    assert reader_beside(folder) == "NibabelIO"
    plans = {"image_reader_writer": "NibabelIOWithReorient"}
    (tmp_path / "plans.json").write_text(json.dumps(plans), encoding="utf-8")
    assert reader_beside(folder) == "NibabelIOWithReorient"
    (tmp_path / "plans.json").write_text("{", encoding="utf-8")
    with pytest.raises(DatasetError, match=r"plans\.json cannot be read"):
        reader_beside(folder)
