import numpy as np
import pytest
from matplotlib.colors import to_rgb
from matplotlib.image import imread

from nnunet_ext.errors import GeometryMismatch
from nnunet_ext.report.overlays import COLOURS, OverlayCase, draw_overlays

SPACING = (6.0, 2.0, 1.5)
THICK = (10.0, 2.0, 1.5)
LABELS = {"myocardium": (1,), "left_ventricle": (2,)}


def a_case(seed: int = 0, **changes) -> OverlayCase:
    scan = np.random.default_rng(seed).normal(100, 20, (6, 30, 20)).astype(np.float32)
    labels = np.zeros(scan.shape, np.uint8)
    labels[2:5, 8:20, 5:15] = 1
    labels[3:5, 10:15, 8:12] = 2
    parts = {
        "title": "heart",
        "scan": scan,
        "segmentation": labels,
        "spacing_mm": SPACING,
        "reference": labels,
    }
    return OverlayCase(**{**parts, **changes})


def drawn(tmp_path, *cases, dpi=60):
    draw_overlays(cases, LABELS, tmp_path / "overlays.png", dpi=dpi)
    return imread(tmp_path / "overlays.png")


def extent(image, box) -> tuple[int, int]:
    """Height and width of what is bright in a part of the picture."""
    bright = image[box][..., :3].max(axis=-1) > 0.2
    rows, columns = np.flatnonzero(bright.any(axis=1)), np.flatnonzero(bright.any(axis=0))
    return int(rows[-1] - rows[0] + 1), int(columns[-1] - columns[0] + 1)


def test_the_planes_have_the_proportions_of_their_size_in_mm(tmp_path):
    # Widths are 30, 30, 30 and 60 mm in 10 inches less five gaps of 0.08; the highest plane is 60 mm.
    white = np.ones((6, 30, 20), np.uint8)
    white[1] = 0  # a slice within, for a window from 0 to 1
    image = drawn(tmp_path, a_case(scan=white, reference=None, title=""), dpi=60)
    dots_a_mm = 60 * (10 - 5 * 0.08) / 150
    assert image.shape[1] == 600
    first, last = int(30 * dots_a_mm), int(60 * dots_a_mm)
    below_title = slice(18, 18 + int(60 * dots_a_mm) + 1)
    np.testing.assert_allclose(
        extent(image, (below_title, slice(0, first + 8))), (60 * dots_a_mm, first), atol=2
    )
    np.testing.assert_allclose(
        extent(image, (below_title, slice(600 - last - 6, 600))), (36 * dots_a_mm, last), atol=2
    )


def test_every_case_adds_a_row(tmp_path):
    one, two = len(drawn(tmp_path, a_case())), len(drawn(tmp_path, a_case(), a_case(1)))
    row = 60 * 60 * (10 - 5 * 0.08) / 150 + (0.3 + 0.08) * 60
    assert two - one == pytest.approx(row, abs=1)


def test_an_image_of_one_slice_has_one_plane(tmp_path):
    flat = np.zeros((1, 30, 20), np.uint8)
    flat[0, 5:20, 5:15] = 1
    image = drawn(tmp_path, a_case(scan=flat, segmentation=flat, reference=None))
    assert image.shape[1] == 600 and image.shape[0] > 300


def test_planes_go_through_the_label_or_through_the_error(tmp_path):
    labels = np.zeros((6, 30, 20), np.uint8)
    labels[1, 5:15, 5:15] = 1
    labels[4, 5:10, 5:10] = 1
    wrong = labels.copy()
    wrong[4, 5:10, 5:10] = 0
    scan = np.zeros((6, 30, 20), np.float32)
    scan[4] = 100  # the slice with the error is bright
    case = {"scan": scan, "segmentation": wrong, "reference": labels}
    bare = slice(30, 150), slice(10, 100)
    assert drawn(tmp_path, a_case(**case))[bare][..., :3].mean() < 0.1
    assert drawn(tmp_path, a_case(**case, shows_error=True))[bare][..., :3].mean() > 0.9
    flawless = case | {"segmentation": labels}
    assert drawn(tmp_path, a_case(**flawless, shows_error=True))[bare][..., :3].mean() < 0.1


def has_colour(image, colour) -> int:
    """The number of dots that have about a colour."""
    return int((np.abs(image[..., :3] - to_rgb(colour)).max(axis=-1) < 0.12).sum())


def test_a_prediction_on_its_reference_leaves_both_to_be_seen(tmp_path):
    dark = np.zeros((6, 30, 20), np.float32)
    with_reference = drawn(tmp_path, a_case(scan=dark), dpi=150)[:600]
    alone = drawn(tmp_path, a_case(scan=dark, reference=None), dpi=150)[:600]
    assert has_colour(with_reference, COLOURS[0]) > 0.7 * has_colour(alone, COLOURS[0]) > 50
    assert has_colour(with_reference, "white") > has_colour(alone, "white") + 500


def test_a_border_that_two_labels_share_shows_both_colours(tmp_path):
    scan, halves = np.zeros((6, 30, 20), np.float32), np.zeros((6, 30, 20), np.uint8)
    halves[:, :, :10], halves[:, :, 10:] = 1, 2
    image = drawn(tmp_path, a_case(scan=scan, segmentation=halves, reference=None), dpi=150)
    width = int(30 * 150 * (10 - 5 * 0.08) / 150)
    middle = int(2 * 0.08 * 150 + 1.5 * width)
    border = image[80:500, middle - 3 : middle + 4]
    for colour in COLOURS[:2]:
        assert has_colour(border, colour) > 150, colour


def test_a_stack_of_few_thick_slices_is_a_montage_of_them(tmp_path):
    image = drawn(tmp_path, a_case(scan=np.ones((6, 30, 20), np.float32), spacing_mm=THICK), dpi=60)
    assert image.shape[1] == 600
    gray = (image[..., :3].max(axis=-1) < 0.05).mean(axis=0)
    assert len(drawn(tmp_path, a_case(spacing_mm=THICK), dpi=60)) > len(drawn(tmp_path, a_case(), dpi=60))
    assert gray.max() > 0.9  # gaps between columns of slices


def test_the_picture_shows_scan_and_coloured_contours(tmp_path):
    image = drawn(tmp_path, a_case())[..., :3]
    assert image.std() > 0.1
    colourful = np.ptp(image, axis=-1) > 0.4
    assert colourful.sum() > 50
    bare = drawn(tmp_path, a_case(segmentation=np.zeros((6, 30, 20)), reference=None))[..., :3]
    assert (np.ptp(bare, axis=-1) > 0.4).sum() < colourful.sum()


def test_nothing_labelled_and_nothing_to_compare_with_is_drawn_too(tmp_path):
    empty = np.zeros((6, 30, 20), np.uint8)
    drawn(tmp_path, a_case(segmentation=empty, reference=empty), a_case(scan=empty, reference=None))


def test_volumes_must_be_alike_and_3d(tmp_path):
    with pytest.raises(GeometryMismatch, match="heart"):
        drawn(tmp_path, a_case(reference=np.zeros((5, 30, 20), np.uint8)))
    flat = np.zeros((30, 20), np.uint8)
    with pytest.raises(GeometryMismatch, match="3D"):
        drawn(tmp_path, a_case(scan=flat, segmentation=flat, reference=None))
