from dataclasses import replace

import pytest
from factories import geometry

from nnunet_ext.check.rules.grids import (
    describe_difference,
    has_unusual_axes,
    is_oblique,
    rounding_mm,
    shift_mm,
    tolerance_mm,
)
from nnunet_ext.images.geometry import Geometry

PLAIN = Geometry((6, 11, 9), (3.0, 0.8, 0.7), (-12.5, 30.0, 7.0), (1.0, 0, 0, 0, 1.0, 0, 0, 0, 1.0))


def turned(direction):
    return replace(PLAIN, direction=tuple(map(float, direction)))


@pytest.mark.parametrize(
    ("direction", "said"),
    [
        ((-1, 0, 0, 0, 1, 0, 0, 0, 1), "flipped along x;"),
        ((-1, 0, 0, 0, -1, 0, 0, 0, 1), "flipped along x and y;"),
        ((0, 1, 0, 1, 0, 0, 0, 0, 1), "another order: yxz"),
        ((0.8, -0.6, 0, 0.6, 0.8, 0, 0, 0, 1), "rotated by 36.9 degrees"),
    ],
)
def test_flips_and_turns_are_called_by_their_names(direction, said):
    assert said in describe_difference(PLAIN, turned(direction))


def test_the_shift_is_that_of_the_corner_farthest_away():
    assert shift_mm(PLAIN, replace(PLAIN, origin=(-12.5, 33.0, 11.0))) == pytest.approx(5)
    assert shift_mm(PLAIN, replace(PLAIN, spacing=(3.0, 0.8, 0.71))) == pytest.approx(0.08)
    assert shift_mm(PLAIN, PLAIN) == 0


def test_the_tolerance_is_never_more_than_a_tenth_of_a_voxel():
    assert tolerance_mm(PLAIN, 0.01) == 0.01
    assert tolerance_mm(PLAIN, 5) == pytest.approx(0.07)


def test_what_single_precision_rounds_is_no_difference_a_long_way_from_the_origin():
    assert rounding_mm(replace(PLAIN, origin=(1000.0, 0, 0))) > 1000 * 2**-24
    assert rounding_mm(PLAIN) < 1e-4


def test_oblique_and_unusual_axes_are_told_apart():
    assert is_oblique(geometry()) and not has_unusual_axes(geometry())
    assert not is_oblique(PLAIN) and not has_unusual_axes(PLAIN)
    assert has_unusual_axes(turned((0, 1, 0, 1, 0, 0, 0, 0, 1)))
    assert not has_unusual_axes(turned((-1, 0, 0, 0, -1, 0, 0, 0, 1)))
