import numpy as np
import pytest

from nnunet_ext.report.planes import choose_planes, chosen_slices, thin_axis

SHAPE = (10, 60, 50)
SPACING = (10.0, 1.5, 1.5)


def mask(first=3, last=7, shape=SHAPE):
    found = np.zeros(shape, bool)
    found[first : last + 1, 20:40, 10:20] = True
    return found


def planes(shown, drawn, spacing=SPACING, n_columns=4):
    return [plane for line in choose_planes(shown, drawn, spacing, n_columns) for plane in line]


@pytest.mark.parametrize(
    ("shape", "spacing", "axis"),
    [
        ((10, 256, 256), (10.0, 1.4, 1.4), 0),
        ((256, 256, 12), (0.6, 0.6, 3.6), 2),
        ((60, 70, 80), (1.0, 1.0, 1.0), None),
        ((80, 512, 512), (5.0, 0.7, 0.7), None),
        ((1, 60, 50), (10.0, 1.0, 1.0), None),
    ],
    ids=["short axis", "another axis", "isotropic", "many slices", "one slice"],
)
def test_a_thin_stack_has_few_slices_that_are_thick(shape, spacing, axis):
    assert thin_axis(shape, spacing) == axis


def test_a_montage_shows_the_bare_scan_and_every_slice_in_order():
    found = planes(mask(), mask())
    assert [plane.is_bare for plane in found] == [True] + [False] * 10
    assert [plane.index for plane in found[1:]] == list(range(10))
    assert {plane.axis for plane in found} == {0}
    assert found[1].note == "1 of 10" and found[0].note == "4 of 10, scan"
    assert [len(line) for line in choose_planes(mask(), mask(), SPACING, 4)] == [4, 4, 3]


def test_a_montage_is_cut_to_the_labels_with_a_margin():
    plane = planes(mask(), mask())[0]
    assert plane.part == ((13, 47), (3, 27))  # 10 mm are 7 pixels
    assert plane.of(np.zeros(SHAPE)).shape == plane.shape == (34, 24)
    assert planes(mask(5, 4), mask(5, 4))[0].part == ((0, 60), (0, 50))


def test_of_many_slices_an_even_choice_covers_the_labels_and_the_largest():
    held = np.zeros(24, bool)
    held[2:22] = True
    found = chosen_slices(held, largest=10)
    assert len(found) == 11 and found[0] == 2 and found[-1] == 21 and 10 in found
    assert found == sorted(set(found)) and max(np.diff(found)) <= 3
    held[4:] = False
    assert set(range(2, 4)) < set(chosen_slices(held, largest=3))
    assert len(chosen_slices(np.zeros(20, bool), largest=10)) == 11


def test_any_other_volume_has_three_planes_beside_the_bare_scan():
    found = planes(mask(), mask(), (1.0, 1.0, 1.0))
    assert [(plane.axis, plane.is_bare) for plane in found] == [(0, True), (0, False), (1, False), (2, False)]
    assert [plane.index for plane in found] == [3, 3, 20, 10]


def test_across_the_stack_the_last_slice_is_on_top():
    volume = np.arange(np.prod(SHAPE)).reshape(SHAPE)
    across = planes(mask(), mask(), (1.0, 1.0, 1.0))[2]
    np.testing.assert_array_equal(across.of(volume), volume[::-1, 20])
