"""Boxes around masks: margins in mm, borders of the scan, jitter that never cuts the organ, and growth."""

import numpy as np
import pytest
from factories import geometry
from hypothesis import given
from hypothesis import strategies as st

from nnunet_ext.roi.boxes import (
    Box,
    Face,
    bounding_box,
    describe_box,
    generator_of,
    grown,
    jittered,
    step_mm,
    touched_faces,
    voxels_of,
    whole_box,
    with_margin,
)

SHAPE = (20, 60, 70)  # 3 x 0.8 x 0.7 mm
GRID = geometry(SHAPE)


def mask_of(box, shape=SHAPE):
    mask = np.zeros(shape, bool)
    mask[box.slices] = True
    return mask


@st.composite
def boxes(draw, shape=SHAPE):
    ends = [sorted(draw(st.lists(st.integers(0, n), min_size=2, max_size=2, unique=True))) for n in shape]
    return Box(tuple(first for first, _ in ends), tuple(last for _, last in ends))


def test_the_box_of_a_mask_ends_at_its_outermost_voxels():
    mask = np.zeros(SHAPE, bool)
    mask[4, 10, 30] = mask[6, 40, 12] = True
    assert bounding_box(mask) == Box((4, 10, 12), (7, 41, 31))


def test_an_empty_mask_has_no_box():
    assert bounding_box(np.zeros(SHAPE, bool)) is None


@given(boxes())
def test_the_box_of_a_box_is_the_box(box):
    assert bounding_box(mask_of(box)) == box


def test_a_margin_in_mm_is_other_numbers_of_voxels_along_each_axis():
    box = with_margin(Box((8, 30, 30), (10, 40, 40)), 5.6, GRID)
    assert box == Box((6, 23, 22), (12, 47, 48))  # 5.6 mm: 2 voxels of 3, 7 of 0.8, 8 of 0.7 mm


def test_a_margin_that_is_whole_voxels_takes_no_further_one():
    assert voxels_of(3.0, 0.3) == 10
    assert voxels_of(0.0, 0.7) == 0
    assert voxels_of(0.1, 0.7) == 1


def test_a_margin_ends_at_the_border_of_the_scan():
    box = with_margin(Box((1, 1, 60), (19, 10, 70)), 6, GRID)
    assert box == Box((0, 0, 51), (20, 18, 70))
    assert with_margin(box, 1e6, GRID) == whole_box(SHAPE)


@given(boxes(), st.floats(0, 40), st.floats(0, 40), st.integers(0, 1000))
def test_jitter_never_cuts_the_organ_nor_leaves_the_scan(organ, margin_mm, jitter_mm, seed):
    box = jittered(with_margin(organ, margin_mm, GRID), organ, jitter_mm, GRID, generator_of(seed, "a"))
    inside = mask_of(box)
    assert inside[organ.slices].all()
    assert all(0 <= start < stop <= n for start, stop, n in zip(box.start, box.stop, SHAPE, strict=True))


@given(boxes(), st.floats(0, 20), st.integers(0, 1000))
def test_a_face_moves_no_further_than_the_jitter(organ, jitter_mm, seed):
    before = with_margin(organ, 10, GRID)
    after = jittered(before, organ, jitter_mm, GRID, generator_of(seed, "a"))
    for axis, spacing in enumerate(GRID.spacing):
        assert abs(after.start[axis] - before.start[axis]) * spacing <= jitter_mm + 1e-6
        assert abs(after.stop[axis] - before.stop[axis]) * spacing <= jitter_mm + 1e-6


def test_jitter_is_told_by_seed_and_case_and_differs_between_cases():
    organ = Box((8, 25, 30), (10, 35, 40))
    box = with_margin(organ, 6, GRID)

    def of(seed, case):
        return jittered(box, organ, 5, GRID, generator_of(seed, case))

    assert of(1, "liver_003") == of(1, "liver_003")
    assert len({of(1, f"liver_{n:03d}") for n in range(20)}) > 10
    assert of(2, "liver_003") != of(1, "liver_003")


def test_jitter_moves_faces_both_ways():
    organ = Box((8, 25, 30), (10, 35, 40))
    box = with_margin(organ, 6, GRID)
    moved = [
        jittered(box, organ, 5, GRID, generator_of(7, str(n))).start[2] - box.start[2] for n in range(40)
    ]
    assert min(moved) < 0 < max(moved)


def test_faces_at_the_border_of_the_scan_are_told_from_others():
    box = Box((0, 5, 5), (20, 60, 50))
    at_border = [face.name() for face in box.faces if box.is_at_border(face, SHAPE)]
    assert at_border == ["z-", "z+", "y+"]


def test_the_faces_of_a_plane_are_of_two_axes():
    assert [face.name(2) for face in Box((0, 0), (3, 4)).faces] == ["y-", "y+", "x-", "x+"]
    assert Face(0, True).name() == "z+"


def test_a_record_of_a_box_holds_voxels_mm_and_its_share():
    told = describe_box(Box((0, 0, 0), (10, 30, 35)), GRID)
    assert told["size_mm"] == [30.0, 24.0, 24.5]
    assert told["share_of_scan"] == pytest.approx(1 / 8)


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
