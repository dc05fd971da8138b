import numpy as np
import pytest

from nnunet_ext.postprocess.steps import FillHoles, KeepLargest, RemoveSmall, VolumeFloor
from nnunet_ext.tuning.postprocess_tables import component_sizes, tabulate

# Two pieces of label 1, of four and one voxels, a hole in the first, and one voxel of label 2.
SEGMENTATION = np.array([[1, 1, 1, 0, 0, 0], [1, 0, 1, 0, 0, 1], [1, 1, 1, 0, 2, 0]])
REFERENCE = np.array([[1, 1, 1, 0, 0, 0], [1, 1, 1, 0, 0, 0], [1, 1, 1, 0, 2, 0]])


@pytest.mark.parametrize(
    ("step", "predicted", "common"),
    [
        (KeepLargest(((1,),)), 8, 8),
        (RemoveSmall(((1,),), 4.0), 8, 8),
        (RemoveSmall(((1,),), 2.0), 9, 8),
        (VolumeFloor(((1,),), 19.0), 0, 0),
        (VolumeFloor(((1,),), 18.0), 9, 8),
        (FillHoles(((1,),)), 10, 9),
    ],
)
def test_steps_are_counted_from_the_tables(step, predicted, common):
    joint = tabulate(SEGMENTATION, REFERENCE, [(1,), (2,)], voxel_mm3=2.0, n_values=3).after(step)
    assert (joint[1].sum(), joint[1, 1]) == (predicted, common)
    assert joint.sum() == SEGMENTATION.size


def test_groups_may_overlap_as_regions_do():
    table = tabulate(SEGMENTATION, REFERENCE, [(1, 2), (2,)], voxel_mm3=1.0, n_values=3)
    assert sorted(table.groups[1, 2].sizes) == [2, 8]
    assert table.groups[2,].sizes.tolist() == [1]


def test_an_empty_prediction_is_changed_by_no_step():
    table = tabulate(np.zeros_like(REFERENCE), REFERENCE, [(1,)], voxel_mm3=1.0, n_values=3)
    for step in (KeepLargest(((1,),)), FillHoles(((1,),)), VolumeFloor(((1,),), 5.0)):
        np.testing.assert_array_equal(table.after(step), table.joint)


def test_sizes_of_components_are_by_group():
    sizes = component_sizes(SEGMENTATION, [(1,), (2,), (3,)])
    assert [sorted(found.tolist()) for found in sizes.values()] == [[1, 8], [1], []]
