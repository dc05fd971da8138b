"""Makes phantom scans: a heart in a chest as a short-axis stack of a scanner, from a random seed."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from nnunet_ext.images.geometry import Geometry

LABELS = {"background": 0, "myocardium": 1, "left_ventricle": 2, "right_ventricle": 3}
BLOOD, MUSCLE, CHEST, LUNG, FAT, LIVER, AIR = 190.0, 105.0, 62.0, 30.0, 150.0, 130.0, 8.0
EDGE_MM = 2.5
NOISE = 11.0
Volume = NDArray[np.float32]
Scan = tuple[Volume, NDArray[np.uint8], Geometry]


@dataclass(frozen=True, kw_only=True)
class Heart:
    """The size and position of one heart.

    Attributes:
        centre_mm: its centre from the middle of the scan, `(z, y, x)`.
        rotation: `(3, 3)`; its rows are the heart's axes in those of the scan: apex to base, septum to free
            wall of the left ventricle, and across.
        cavity_mm: half axes of the left ventricle's cavity along the heart's axes.
        wall_mm: thickness of the myocardium.
        base_mm: position of the base, where the ventricles end, along the first axis.
    """

    centre_mm: NDArray[np.float64]
    rotation: NDArray[np.float64]
    cavity_mm: tuple[float, float, float]
    wall_mm: float
    base_mm: float


def phantom(seed: int, with_right_ventricle: bool) -> Scan:
    """Make one scan of the heart with its segmentation.

    Noise is Rician. Brightness varies over the field of view and from slice to slice. Papillary muscles
    belong to the left ventricle; the aorta is as bright as the ventricles but has no label.

    Args:
        seed: the random seed.
        with_right_ventricle: whether the heart has a right ventricle.

    Returns:
        The scan (arbitrary units) and the segmentation (`LABELS`), both `(Z, Y, X)`, and their geometry:
        thick slices, axes of unequal length, rotated against the scanner's axes.
    """
    rng = np.random.default_rng(seed)
    geometry = _random_geometry(rng)
    heart = _random_heart(rng)
    axes = _axes_mm(geometry)
    scan = _chest(rng, geometry, axes)
    segmentation = np.zeros(geometry.shape, np.uint8)
    for label, tissue, inside in _ventricles(heart, axes, with_right_ventricle):
        _paint(scan, tissue, inside)
        segmentation[inside > 0] = label
    for muscle in _papillary_muscles(heart, axes):
        _paint(scan, MUSCLE, muscle)
    return _as_scanned(rng, scan, axes), segmentation, geometry


def _random_geometry(rng: np.random.Generator) -> Geometry:
    shape = tuple(int(rng.integers(low, high)) for low, high in ((14, 17), (86, 99), (70, 83)))
    in_plane = round(float(rng.uniform(1.65, 1.85)), 3)
    direction = _rotation(rng.uniform(-0.5, 0.5, 3))
    origin = rng.uniform(-150, 150, 3).round(2)
    return Geometry(
        shape,
        (8.0, in_plane, in_plane),
        tuple(float(value) for value in origin),
        tuple(float(value) for value in direction.ravel()),
    )


def _random_heart(rng: np.random.Generator) -> Heart:
    tilt, turn = rng.uniform(-0.2, 0.2, 2), rng.uniform(-0.8, 0.8)
    width = rng.uniform(19, 26)
    return Heart(
        centre_mm=rng.uniform(-1, 1, 3) * (6, 10, 10) + (8, 0, 0),
        rotation=_rotation((turn, *tilt)),
        cavity_mm=(rng.uniform(38, 46), width, width * rng.uniform(0.9, 1.1)),
        wall_mm=rng.uniform(7, 10),
        base_mm=rng.uniform(18, 26),
    )


def _rotation(angles: Sequence[float] | NDArray[np.float64]) -> NDArray[np.float64]:
    """The rotation about the three axes, one after the other; angles are in radians."""
    turned = np.eye(3)
    for axis, angle in enumerate(angles):
        first, second = (axis + 1) % 3, (axis + 2) % 3
        one = np.eye(3)
        one[first, first] = one[second, second] = np.cos(angle)
        one[first, second], one[second, first] = -np.sin(angle), np.sin(angle)
        turned = turned @ one
    return turned


def _axes_mm(geometry: Geometry) -> list[Volume]:
    """The position of each voxel from the middle in mm, as three arrays that broadcast to the shape."""
    lines = [
        (np.arange(n, dtype=np.float32) - (n - 1) / 2) * np.float32(s)
        for n, s in zip(geometry.shape, geometry.spacing, strict=True)
    ]
    return list(np.meshgrid(*lines, indexing="ij", sparse=True))


def _ellipsoid(axes: Sequence[Volume], centre: Sequence[float], radii: Sequence[float]) -> Volume:
    """Approximate mm to an ellipsoid's surface, positive inside; an infinite radius makes a tube."""
    squares = sum(((a - c) / r) ** 2 for a, c, r in zip(axes, centre, radii, strict=True))
    return np.asarray((1 - np.sqrt(squares)) * min(radii), np.float32)


def _ventricles(heart: Heart, axes: list[Volume], with_right: bool) -> list[tuple[int, float, Volume]]:
    """Label, brightness and distance to the surface of each part; later parts cover earlier ones."""
    long, septal, across = _in_heart(heart, axes)
    below_base = heart.base_mm - long
    half, wide, high = heart.cavity_mm
    wall = heart.wall_mm
    local = (long, septal, across)
    cavity = _ellipsoid(local, (0, 0, 0), heart.cavity_mm)
    muscle = _ellipsoid(local, (0, 0, 0), (half + wall, wide + wall, high + wall))
    parts = [
        (LABELS["myocardium"], MUSCLE, np.minimum(muscle, below_base)),
        (LABELS["left_ventricle"], BLOOD, np.minimum(cavity, below_base)),
    ]
    if not with_right:
        return parts
    chamber = _ellipsoid(local, (4, -wide - 2, 0), (half * 0.95, wide + wall, high + wall + 2))
    return [(LABELS["right_ventricle"], BLOOD * 0.94, np.minimum(chamber, below_base)), *parts]


def _in_heart(heart: Heart, axes: list[Volume]) -> list[Volume]:
    moved = [axis - np.float32(c) for axis, c in zip(axes, heart.centre_mm, strict=True)]
    return [sum(np.float32(w) * axis for w, axis in zip(row, moved, strict=True)) for row in heart.rotation]


def _papillary_muscles(heart: Heart, axes: list[Volume]) -> list[Volume]:
    local = _in_heart(heart, axes)
    half, wide, high = heart.cavity_mm
    places = ((-8, wide * 0.35, high * 0.45), (-8, wide * 0.35, -high * 0.45))
    return [_ellipsoid(local, place, (half * 0.35, 4, 4)) for place in places]


def _chest(rng: np.random.Generator, geometry: Geometry, axes: list[Volume]) -> Volume:
    """The chest around the heart: body, fat below the skin, lungs, liver and the descending aorta."""
    depth, height, width = (n * s for n, s in zip(geometry.shape, geometry.spacing, strict=True))
    everywhere = float("inf")
    scan = np.full(geometry.shape, AIR, np.float32)
    aorta = rng.uniform(0.32, 0.37) * height, rng.uniform(0.0, 0.15) * width
    liver = -0.5 * depth, rng.uniform(0.05, 0.2) * height, -0.25 * width
    organs = [
        (FAT, (0, 0, 0), (everywhere, 0.52 * height, 0.56 * width)),
        (CHEST, (0, 0, 0), (everywhere, 0.46 * height, 0.5 * width)),
        (LUNG, (0.1 * depth, 0.05 * height, 0.36 * width), (depth, 0.34 * height, 0.2 * width)),
        (LUNG, (0.1 * depth, 0.05 * height, -0.36 * width), (depth, 0.34 * height, 0.18 * width)),
        (LIVER, liver, (0.35 * depth, 0.4 * height, 0.4 * width)),
        (BLOOD, (0, *aorta), (everywhere, 11, 11)),
    ]
    for tissue, centre, radii in organs:
        _paint(scan, tissue * rng.uniform(0.85, 1.15), _ellipsoid(axes, centre, radii))
    return scan


def _paint(scan: Volume, tissue: float, inside_mm: Volume) -> None:
    """Paint a tissue over the scan, in place; voxels at its surface are mixed."""
    share = np.clip(inside_mm / EDGE_MM + 0.5, 0, 1)
    scan += share * (np.float32(tissue) - scan)


def _as_scanned(rng: np.random.Generator, scan: Volume, axes: list[Volume]) -> Volume:
    """Add texture, uneven brightness, noise and a random gain, as a scanner does."""
    texture = 1 + 0.05 * _waves(rng, axes, length_mm=25)
    drift = 1 + 0.25 * _waves(rng, axes, length_mm=220)
    of_slice = rng.normal(1, 0.05, (len(scan), 1, 1))
    signal = scan * texture * drift * of_slice
    real, imaginary = rng.normal(0, NOISE, (2, *scan.shape))
    return np.asarray(rng.uniform(0.7, 1.6) * np.hypot(signal + real, imaginary), np.float32)


def _waves(rng: np.random.Generator, axes: list[Volume], length_mm: float) -> NDArray[np.float64]:
    """A smooth random field from -1 to 1: the mean of five waves of about a length, in random directions."""
    field = np.zeros((1, 1, 1))
    for _ in range(5):
        direction = rng.normal(size=3)
        direction *= 2 * np.pi / (length_mm * rng.uniform(0.7, 1.3) * np.linalg.norm(direction))
        phase = sum(d * axis for d, axis in zip(direction, axes, strict=True))
        field = field + np.sin(phase + rng.uniform(0, 2 * np.pi))
    return field / 5
