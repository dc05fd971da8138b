from dataclasses import replace

from factories import geometry

from nnunet_ext.images.geometry import Geometry


def test_equal_grids_do_not_differ_and_rounding_to_single_precision_is_no_difference():
    grid = geometry()
    nearly = replace(grid, origin=tuple(o + 3e-6 for o in grid.origin))
    assert grid.differences(grid) == []
    assert grid.differences(nearly) == []


def test_each_difference_is_told_with_both_values():
    grid = geometry((5, 7, 9))
    other = Geometry((5, 7, 8), (3.0, 0.8, 0.75), (0.0, 0.0, 0.0), (1.0, 0, 0, 0, 1, 0, 0, 0, 1))
    found = grid.differences(other)
    assert [text.split()[0] for text in found] == ["shape", "spacing", "origin", "direction"]
    assert "(5, 7, 9) and (5, 7, 8)" in found[0]
    assert "0.7)" in found[1] and "0.75)" in found[1]


def test_a_plane_and_a_volume_differ_without_an_error():
    assert geometry((7, 9)).differences(geometry((5, 7, 9)))


def test_a_voxel_has_the_volume_of_its_spacing():
    assert abs(geometry().voxel_mm3 - 3.0 * 0.8 * 0.7) < 1e-12


def test_a_negative_zero_is_told_as_zero():
    grid = Geometry.of_array((7, 9))
    (found,) = replace(grid, direction=(1.0, -0.0, -0.0, 1.0)).differences(
        replace(grid, direction=(1, 0, 0, -1))
    )
    assert found == "direction (1, 0, 0, 1) and (1, 0, 0, -1)"
