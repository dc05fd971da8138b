import numpy as np
import pytest

from nnunet_ext.postprocess.components import keep_largest, remove_small

A = np.array(
    [
        [1, 1, 0, 2, 0],
        [0, 0, 0, 2, 0],
        [1, 0, 0, 2, 0],
        [0, 0, 2, 0, 1],
    ],
    np.uint8,
)


def volume(plane):
    return np.stack([plane, np.zeros_like(plane)])


@pytest.mark.parametrize("shape", [lambda a: a, lambda a: a[None], volume])
def test_each_label_keeps_its_own_largest_component(shape):
    result = shape(keep_largest(A, [(1,), (2,)]))
    np.testing.assert_array_equal(keep_largest(shape(A), [(1,), (2,)]), result)
    assert (result == 1).sum() == 2
    assert (result == 2).sum() == 4  # the corner counts as a neighbour


def test_faces_alone_do_not_join_over_a_corner():
    assert (keep_largest(A, [(2,)], connectivity=6) == 2).sum() == 3
    assert (keep_largest(volume(A), [(2,)], connectivity=6) == 2).sum() == 3


def test_a_union_is_one_foreground():
    joined = np.array([[1, 2, 0, 2, 2, 2], [0, 0, 0, 0, 0, 0], [1, 1, 1, 1, 0, 0]], np.uint8)
    np.testing.assert_array_equal(keep_largest(joined, [(1, 2)])[0], 0)
    assert (keep_largest(joined, [(1,), (2,)])[0] == 2).sum() == 3


def test_overlapping_groups_are_done_one_after_the_other():
    result = keep_largest(A, [(1, 2), (2,)])
    assert set(np.unique(result)) <= {0, 1, 2}
    assert (result == 2).sum() == 4


def test_labels_outside_the_groups_and_the_argument_stay():
    before = A.copy()
    result = keep_largest(A, [(1,)])
    np.testing.assert_array_equal(A, before)
    np.testing.assert_array_equal(result == 2, A == 2)


def test_an_absent_label_and_an_empty_volume_change_nothing():
    np.testing.assert_array_equal(keep_largest(A, [(7,)]), A)
    empty = np.zeros((3, 4, 5), np.uint8)
    np.testing.assert_array_equal(keep_largest(empty, [(1,), (2,)]), empty)


def test_components_below_the_size_go_and_one_of_just_that_size_stays():
    assert (remove_small(A, [(1,)], 2) == 1).sum() == 2
    assert (remove_small(A, [(1,)], 2.5) == 1).sum() == 0
    assert (remove_small(A, [(1,)], 1) == 1).sum() == 4
    assert (remove_small(A, [(1,)], 0.3 / 0.1) == 1).sum() == 0
    assert (remove_small(A, [(2,)], (0.1 * 4) / 0.1) == 2).sum() == 4
