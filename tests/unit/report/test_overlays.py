import numpy as np
import pytest
from matplotlib.image import imread

from nnunet_ext.errors import GeometryMismatch
from nnunet_ext.report.overlays import OverlayCase, draw_overlays

SPACING = (8.0, 2.0, 1.5)
NAMES = {1: "myocardium", 2: "left_ventricle"}


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
    draw_overlays(cases, NAMES, tmp_path / "overlays.png", dpi=dpi)
    return imread(tmp_path / "overlays.png")


def test_the_picture_has_the_planes_size_in_mm(tmp_path):
    # 60 dots an inch and 60 mm an inch: a dot a mm. Planes are 30, 30, 30 and 60 mm wide, 4 mm apart,
    # the highest is 60 mm; 12 mm hold the title and 18 mm the legend.
    assert drawn(tmp_path, a_case()).shape[:2] == (60 + 12 + 18, 30 + 30 + 30 + 60 + 5 * 4)


def test_every_case_adds_a_row(tmp_path):
    assert len(drawn(tmp_path, a_case(), a_case(1))) == 2 * (60 + 12) + 18


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
