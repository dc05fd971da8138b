import numpy as np
import pytest
from factories import geometry, labels, region_labels

from nnunet_ext.errors import PlanError
from nnunet_ext.postprocess.steps import (
    FillHoles,
    KeepLargest,
    RemoveSmall,
    VolumeFloor,
    apply_steps,
    resolve_steps,
)


def test_a_step_without_labels_treats_each_foreground_label():
    assert resolve_steps(["keep_largest"], labels()) == (KeepLargest(((1,), (2,), (3,))),)


def test_labels_are_named_or_numbered_and_a_union_is_one_group():
    steps = resolve_steps(
        [
            {"keep_largest": {"labels": ["myocardium", 3], "union": True, "connectivity": 6}},
            {"remove_small": {"labels": "right_ventricle", "min_volume_mm3": 50}},
            {"fill_holes": {"labels": [2], "slice_by_slice": True}},
            {"volume_floor": {"labels": [1, 2], "min_volume_mm3": 7}},
        ],
        labels(),
    )
    assert steps == (
        KeepLargest(((1, 3),), 6),
        RemoveSmall(((3,),), 50.0),
        FillHoles(((2,),), slice_by_slice=True),
        VolumeFloor(((1,), (2,)), 7.0),
    )


def test_a_region_stands_for_all_its_labels_and_fills_with_its_own():
    assert resolve_steps([{"fill_holes": {"labels": "core"}}], region_labels()) == (FillHoles(((2, 3),)),)


@pytest.mark.parametrize(
    ("entry", "part"),
    [
        ("polish", "'polish' is unknown"),
        ({"keep_largest": {"labels": ["liver"]}}, "liver"),
        ({"keep_largest": {"labels": ["background"]}}, "background"),
        ({"keep_largest": {"labels": []}}, "no foreground"),
        ({"keep_largest": {"connectivity": 8}}, "connectivity.*8"),
        ({"keep_largest": {"label": 1}}, "label"),
        ({"remove_small": {}}, "min_volume_mm3"),
        ({"remove_small": {"min_volume_mm3": -1}}, "-1"),
        ({"fill_holes": {}, "keep_largest": {}}, "is no step"),
        (7, "is no step"),
    ],
)
def test_a_step_that_cannot_be_carried_out_is_refused_with_what_was_written(entry, part):
    with pytest.raises(PlanError, match=part):
        resolve_steps([entry], labels())


def test_all_faults_are_told_at_once():
    with pytest.raises(PlanError) as caught:
        resolve_steps(["polish", {"remove_small": {}}, {"fill_holes": {"labels": ["liver"]}}], labels())
    assert len(str(caught.value).splitlines()) == 4


def test_steps_are_applied_in_order_and_count_the_voxels_they_changed():
    segmentation = np.zeros((5, 7, 9), np.uint8)
    segmentation[1:4, 1:4, 1:4] = 1
    segmentation[2, 2, 2] = 0
    segmentation[0, 6, 8] = 1
    steps = resolve_steps(["keep_largest", "fill_holes"], labels())
    applied = apply_steps(segmentation, steps, geometry())
    assert applied.n_voxels_changed == (1, 1)
    assert (applied.segmentation == 1).sum() == 27


def test_a_small_volume_is_measured_in_mm3():
    segmentation = np.zeros((5, 7, 9), np.uint8)
    segmentation[0, 0, :3] = 1  # 3 voxels of 1.68 mm3
    keep, remove = RemoveSmall(((1,),), 5.0), RemoveSmall(((1,),), 5.1)
    assert apply_steps(segmentation, [keep], geometry()).n_voxels_changed == (0,)
    assert apply_steps(segmentation, [remove], geometry()).n_voxels_changed == (3,)


def test_a_label_below_its_floor_is_taken_for_absent_with_all_its_pieces():
    segmentation = np.array([[1, 0, 1, 2], [0, 0, 0, 2], [1, 3, 0, 2]])
    after = VolumeFloor(((1,), (2,)), 6.0).apply(segmentation, voxel_mm3=2.0)
    assert after.tolist() == segmentation.tolist()  # exactly the floor stays
    after = VolumeFloor(((1,), (2,)), 6.1).apply(segmentation, voxel_mm3=2.0)
    assert after.tolist() == [[0, 0, 0, 0], [0, 0, 0, 0], [0, 3, 0, 0]]
    together = VolumeFloor(((1, 2),), 12.0).apply(segmentation, voxel_mm3=2.0)
    assert together.tolist() == segmentation.tolist()
