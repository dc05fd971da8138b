"""Which faces of a box a segmentation reaches, and how far they move."""

import numpy as np
from factories import geometry

from nnunet_ext.roi.boxes import Box, Face, grown, step_mm, touched_faces, whole_box

SHAPE = (20, 60, 70)
BOX = Box((5, 10, 20), (15, 40, 50))


def segmentation_with(*voxels):
    segmentation = np.zeros(BOX.shape, np.uint8)
    for voxel in voxels:
        segmentation[voxel] = 2
    return segmentation


def names(segmentation, box=BOX):
    return [face.name() for face in touched_faces(segmentation, box, SHAPE)]


def test_a_segmentation_that_ends_one_voxel_before_the_faces_touches_none():
    segmentation = np.zeros(BOX.shape, np.uint8)
    segmentation[1:-1, 1:-1, 1:-1] = 1
    assert names(segmentation) == []


def test_one_voxel_at_a_face_touches_it():
    assert names(segmentation_with((0, 5, 5))) == ["z-"]
    assert names(segmentation_with((5, -1, 5))) == ["y+"]
    assert names(segmentation_with((5, 0, -1))) == ["y-", "x+"]


def test_a_face_at_the_border_of_the_scan_is_not_touched():
    everywhere = np.ones(SHAPE, np.uint8)
    assert names(everywhere, whole_box(SHAPE)) == []
    box = Box((0, 0, 0), (20, 30, 70))
    assert names(np.ones(box.shape, np.uint8), box) == ["y+"]


def test_only_the_touched_faces_move_by_mm_and_end_at_the_scan():
    grid = geometry(SHAPE)  # 3 x 0.8 x 0.7 mm
    box = grown(BOX, [Face(0, False), Face(2, True)], 9, grid)
    assert box == Box((2, 10, 20), (15, 40, 63))
    assert grown(BOX, BOX.faces, 1e6, grid) == whole_box(SHAPE)


def test_each_growth_reaches_twice_as_far_and_never_stands_still():
    assert [step_mm(20, n) for n in range(3)] == [20, 40, 80]
    assert step_mm(0, 0) == 10
