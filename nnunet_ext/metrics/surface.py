"""Compare the surfaces of a prediction and its reference: 95th percentile distance and surface Dice.

The distances are those of DeepMind's `surface-distance`, the published code of the surface Dice. Unlike
MONAI it needs no torch, and it weighs each piece of surface by its area, where the voxels of an edge
count a slanted surface too often.

Source: Nikolov et al., Journal of Medical Internet Research 23 (2021) e26151.
"""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

PERCENT = 95
Mask = NDArray[np.bool_]


@dataclass(frozen=True)
class Surface:
    """Distances between the surfaces of one label in one case.

    Attributes:
        hd95_mm: the larger of both directions' 95th percentile; None where either lacks the label.
        surface_dice: share of both surfaces that lies within the tolerance of the other, in 0..1;
            0 where only the prediction lacks the label, None where the reference lacks it.
    """

    hd95_mm: float | None
    surface_dice: float | None


def compare_surfaces(
    predicted: Mask, expected: Mask, spacing_mm: Sequence[float], tolerance_mm: float
) -> Surface:
    """Compare the surfaces of one label.

    Args:
        predicted: where the prediction holds the label, `(Z, Y, X)` or `(Y, X)`; a single slice is
            treated as 2D, since its faces are no surface.
        expected: where the reference holds the label.
        spacing_mm: spacing in the order of the axes.
        tolerance_mm: distance up to which surfaces count as the same.
    """
    if not expected.any():
        return Surface(None, None)
    if not predicted.any():
        return Surface(None, 0.0)
    if predicted.ndim == 3 and len(predicted) == 1:
        predicted, expected, spacing_mm = predicted[0], expected[0], spacing_mm[1:]
    distances = _distances(predicted, expected, spacing_mm)
    import surface_distance

    hd95 = float(surface_distance.compute_robust_hausdorff(distances, PERCENT))
    dice = float(surface_distance.compute_surface_dice_at_tolerance(distances, tolerance_mm))
    return Surface(hd95, dice)


def _distances(predicted: Mask, expected: Mask, spacing_mm: Sequence[float]) -> dict[str, Any]:
    import surface_distance

    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # it uses scipy's names from before 1.8
        return surface_distance.compute_surface_distances(expected, predicted, tuple(spacing_mm))
