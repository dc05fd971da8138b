import numpy as np

from nnunet_ext.postprocess.holes import bounding_slices, fill_holes

RING = np.array(
    [
        [1, 1, 1, 1, 1, 0],
        [1, 0, 0, 2, 1, 0],
        [1, 0, 3, 0, 1, 0],
        [1, 1, 1, 1, 1, 0],
    ],
    np.uint8,
)


def test_background_in_a_ring_is_filled_and_other_labels_in_it_stay():
    filled = fill_holes(RING, [(1,)])
    assert (filled == 2).sum() == 1
    assert (filled == 3).sum() == 1
    assert (filled[:, :5] == 0).sum() == 0
    assert (filled[:, 5] == 0).all()
    assert (RING == 0).sum() > 4  # the argument is unchanged


def test_a_single_slice_is_a_plane():
    np.testing.assert_array_equal(fill_holes(RING[None], [(1,)])[0], fill_holes(RING, [(1,)]))


def test_a_tube_encloses_nothing_in_3d_but_does_slice_by_slice():
    tube = np.stack([RING, RING, RING])
    np.testing.assert_array_equal(fill_holes(tube, [(1,)]), tube)
    np.testing.assert_array_equal(fill_holes(tube, [(1,)], slice_by_slice=True)[1], fill_holes(RING, [(1,)]))


def test_a_closed_box_is_filled_in_3d():
    box = np.ones((5, 6, 7), np.uint8)
    box[1:4, 2:4, 3:5] = 0
    assert (fill_holes(box, [(1,)]) == 1).all()


def test_labels_of_a_union_enclose_together_and_the_first_fills():
    half = RING.copy()
    half[0, :] = np.where(half[0] == 1, 2, half[0])
    np.testing.assert_array_equal(fill_holes(half, [(1,)]), half)
    assert fill_holes(half, [(2, 1)])[1, 1] == 2


def test_an_absent_label_fills_nothing():
    np.testing.assert_array_equal(fill_holes(RING, [(9,)]), RING)


def test_the_bounding_box_is_tight():
    mask = np.zeros((4, 5, 6), bool)
    mask[1, 2:4, 5] = True
    assert bounding_slices(mask) == (slice(1, 2), slice(2, 4), slice(5, 6))
