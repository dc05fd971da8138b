"""Distance and difference of two grids of one shape, and kinds of axes."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from nnunet_ext.images.geometry import Geometry

TOLERANCE_MM = 0.1
VOXEL_SHARE = 0.1  # of the finest voxel, which the tolerance never exceeds
SAME_AXIS = 1 - 1e-4  # least cosine of two axes that are the same
AXES = "xyz"
LEAST_ROUNDING_MM = 1e-5
SINGLE_PRECISION = 2.5e-7


def tolerance_mm(geometry: Geometry, wanted_mm: float = TOLERANCE_MM) -> float:
    """The largest harmless shift: the wanted one, but at most a tenth of the finest voxel."""
    return min(wanted_mm, VOXEL_SHARE * min(geometry.spacing))


def shift_mm(one: Geometry, other: Geometry) -> float:
    """The largest distance between the positions of one corner voxel in two grids of one shape."""
    return float(np.linalg.norm(_corners(one) - _corners(other), axis=1).max())


def rounding_mm(geometry: Geometry) -> float:
    """The shift that comes from files alone, which store positions in single precision."""
    return max(LEAST_ROUNDING_MM, SINGLE_PRECISION * float(np.abs(_corners(geometry)).max()))


def spacings_agree(one: Geometry, other: Geometry) -> bool:
    """Whether nnU-Net's readers accept two channels with these spacings.

    Source: `BaseReaderWriter._check_all_same`, numpy's `allclose` with its defaults.
    """
    return len(one.spacing) == len(other.spacing) and bool(np.allclose(one.spacing, other.spacing))


def describe_difference(one: Geometry, other: Geometry) -> str:
    """The differences of the second grid from the first, with flips and rotations named as such."""
    parts = one.differences(other)
    if len(one.direction) == len(other.direction) and any(part.startswith("direction") for part in parts):
        parts.insert(0, _turn(one, other))
    return "; ".join(parts)


def is_oblique(geometry: Geometry) -> bool:
    """Whether an axis is not parallel to one of the scanner's axes."""
    return bool((np.abs(_matrix(geometry)).max(axis=0) < SAME_AXIS).any())


def has_unusual_axes(geometry: Geometry) -> bool:
    """Whether order and direction of the axes are neither of the two that most scans have."""
    matrix = np.rint(_matrix(geometry))
    usual = (np.eye(len(matrix)), np.diag([-1.0, -1.0, 1.0][: len(matrix)]))
    return not is_oblique(geometry) and not any(np.array_equal(matrix, one) for one in usual)


def _turn(one: Geometry, other: Geometry) -> str:
    between = _matrix(one).T @ _matrix(other)
    if (np.abs(np.abs(between).max(axis=0)) < SAME_AXIS).any():
        trace = np.clip((np.trace(between) - (len(between) - 2)) / 2, -1, 1)
        return f"its header is rotated by {np.degrees(np.arccos(trace)):.3g} degrees"
    order = np.abs(between).argmax(axis=0)
    if (order != np.arange(len(order))).any():
        return "its axes are in another order: " + "".join(AXES[i] for i in order)
    flipped = [AXES[i] for i in range(len(order)) if between[i, i] < 0]
    return f"its header is flipped along {' and '.join(flipped)}"


def _matrix(geometry: Geometry) -> NDArray[np.float64]:
    n = len(geometry.origin)
    return np.asarray(geometry.direction, np.float64).reshape(n, n)


def _corners(geometry: Geometry) -> NDArray[np.float64]:
    """Positions of the corner voxels in mm, `(2 ** axes, axes)`."""
    last = np.asarray(geometry.shape[::-1]) - 1
    corners = np.indices((2,) * len(last)).reshape(len(last), -1).T * last
    scaled = corners * np.asarray(geometry.spacing[::-1])
    return np.asarray(scaled @ _matrix(geometry).T + np.asarray(geometry.origin))
