"""The steps of post-processing as values: what to do to which labels, in which order."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from nnunet_ext.geometry import Geometry
from nnunet_ext.postprocess.components import (
    Group,
    Segmentation,
    drop_below,
    keep_largest,
    remove_small,
)
from nnunet_ext.postprocess.holes import fill_holes


@dataclass(frozen=True)
class KeepLargest:
    """Keep the largest component of each group of labels."""

    groups: tuple[Group, ...]
    connectivity: int = 26

    def apply(self, segmentation: Segmentation, voxel_mm3: float) -> Segmentation:
        """A new segmentation."""
        return keep_largest(segmentation, self.groups, self.connectivity)


@dataclass(frozen=True)
class RemoveSmall:
    """Remove components of less than a volume in mm3 (in 2D mm2)."""

    groups: tuple[Group, ...]
    min_volume_mm3: float
    connectivity: int = 26

    def apply(self, segmentation: Segmentation, voxel_mm3: float) -> Segmentation:
        """A new segmentation."""
        return remove_small(segmentation, self.groups, self.min_volume_mm3 / voxel_mm3, self.connectivity)


@dataclass(frozen=True)
class FillHoles:
    """Fill background that a group of labels encloses."""

    groups: tuple[Group, ...]
    slice_by_slice: bool = False

    def apply(self, segmentation: Segmentation, voxel_mm3: float) -> Segmentation:
        """A new segmentation."""
        return fill_holes(segmentation, self.groups, self.slice_by_slice)


@dataclass(frozen=True)
class VolumeFloor:
    """Take a group of labels for absent in a case that has less than a volume in mm3 of it (in 2D mm2)."""

    groups: tuple[Group, ...]
    min_volume_mm3: float

    def apply(self, segmentation: Segmentation, voxel_mm3: float) -> Segmentation:
        """A new segmentation."""
        return drop_below(segmentation, self.groups, self.min_volume_mm3 / voxel_mm3)


Step = KeepLargest | RemoveSmall | FillHoles | VolumeFloor


@dataclass(frozen=True)
class Applied:
    """A segmentation after its steps, and how many voxels each of them changed."""

    segmentation: Segmentation
    n_voxels_changed: tuple[int, ...]


def apply_steps(segmentation: Segmentation, steps: Sequence[Step], geometry: Geometry) -> Applied:
    """Apply steps one after the other.

    Args:
        segmentation: labels, `(Z, Y, X)` or `(Y, X)`; it is not changed.
        steps: in order.
        geometry: the scan's grid, for volumes in mm3.
    """
    changed = []
    for step in steps:
        after = step.apply(segmentation, geometry.voxel_mm3)
        changed.append(int(np.count_nonzero(after != segmentation)))
        segmentation = after
    return Applied(segmentation, tuple(changed))
