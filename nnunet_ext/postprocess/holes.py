"""Fill holes that a label encloses."""

from __future__ import annotations

from collections.abc import Sequence

import fill_voids
import numpy as np
from numpy.typing import NDArray

from nnunet_ext.nnunet.dataset_json import BACKGROUND
from nnunet_ext.postprocess.components import Group, Segmentation


def fill_holes(
    segmentation: Segmentation, groups: Sequence[Group], slice_by_slice: bool = False
) -> Segmentation:
    """Give background that a group of labels encloses to the group's first label.

    A voxel is filled only where it was background: other labels are never overwritten, also not
    those inside the hole.

    Args:
        segmentation: labels, `(Z, Y, X)` or `(Y, X)`; a single slice is treated as 2D.
        groups: labels of one group enclose together; groups are filled in their order.
        slice_by_slice: fill each slice along the first axis as a 2D image, so that a ring encloses
            its inside although the volume is open at the ends.

    Returns:
        A new array.
    """
    result = segmentation.copy()
    for group in groups:
        mask = np.isin(result, group)
        if not mask.any():
            continue
        box = bounding_slices(mask)  # a hole lies strictly inside the box of what encloses it
        inside = mask[box]
        filled = _fill_slices(inside) if slice_by_slice or len(inside) == 1 else _fill(inside)
        part = result[box]
        part[filled & (part == BACKGROUND)] = group[0]
    return result


def bounding_slices(mask: NDArray[np.bool_]) -> tuple[slice, ...]:
    """Return the smallest box, as slices, that holds every true voxel; there must be one."""
    box = []
    for axis in range(mask.ndim):
        along = np.flatnonzero(mask.any(axis=tuple(other for other in range(mask.ndim) if other != axis)))
        box.append(slice(int(along[0]), int(along[-1]) + 1))
    return tuple(box)


def _fill(mask: NDArray[np.bool_]) -> NDArray[np.bool_]:
    # Without a margin fill_voids 2.1.2 now and then fills voids that are open at a face of the volume.
    inner = (slice(1, -1),) * mask.ndim
    return fill_voids.fill(np.pad(mask, 1))[inner].astype(bool)


def _fill_slices(mask: NDArray[np.bool_]) -> NDArray[np.bool_]:
    return _fill(mask) if mask.ndim == 2 else np.stack([_fill(plane) for plane in mask])
