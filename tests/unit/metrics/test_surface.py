import numpy as np
import pytest

from nnunet_ext.metrics.surface import Surface, compare_surfaces

SPACING = (3.0, 0.8, 0.7)


def block(shift=0):
    mask = np.zeros((12, 30, 33), bool)
    mask[3:8, 5 + shift : 18 + shift, 6:25] = True
    return mask


def test_equal_surfaces_have_no_distance():
    assert compare_surfaces(block(), block(), SPACING, 0.0) == Surface(0.0, 1.0)


def test_a_shift_is_told_in_mm_of_its_axis():
    found = compare_surfaces(block(shift=2), block(), SPACING, 1.6)
    assert found.hd95_mm == pytest.approx(1.6)
    assert found.surface_dice == 1
    assert compare_surfaces(block(shift=2), block(), SPACING, 1.5).surface_dice < 1


def test_a_missed_label_has_no_distance_and_a_surface_dice_of_0():
    assert compare_surfaces(np.zeros_like(block()), block(), SPACING, 1.0) == Surface(None, 0.0)


def test_a_label_that_the_reference_lacks_has_neither():
    assert compare_surfaces(block(), np.zeros_like(block()), SPACING, 1.0) == Surface(None, None)


def test_a_single_slice_is_compared_as_a_plane():
    flat = compare_surfaces(block(shift=2)[4:5], block()[4:5], SPACING, 1.0)
    plane = compare_surfaces(block(shift=2)[4], block()[4], SPACING[1:], 1.0)
    assert flat == plane
    assert plane.hd95_mm == pytest.approx(1.6)
